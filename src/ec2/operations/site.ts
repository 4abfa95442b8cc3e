/** What the site offers: zones, regions, instance types, account attributes. */
import { Fault } from '../../lease/faults.ts';
import type { LeaseType } from '../../lease/types.ts';
import type { ZoneView } from '../../manager/types.ts';
import { vpcId } from '../../network/mirror.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import { list as inputList, shown, string } from '../inputs.ts';
import { operation } from '../operation.ts';
import { boolean, integer, list, optional, struct, text } from '../outputs.ts';
import { page, pagingInputs } from '../paging.ts';
import { ROOT_DEVICE_TYPE } from '../volume.ts';

const OPT_IN = 'opt-in-not-required';
const zoneState = (z: ZoneView): string => (z.available ? 'available' : 'unavailable');

export const describeAvailabilityZones = operation({
  name: 'DescribeAvailabilityZones',
  summary: 'Shows the site\'s zones.',
  input: { ZoneName: inputList(string()), ZoneId: inputList(string()), Filter: filters },
  ignored: ['AllAvailabilityZones'],
  output: {
    availabilityZoneInfo: list(struct({
      optInStatus: text, messageSet: list(struct({ message: text })), regionName: text, zoneName: text, zoneId: text,
      groupName: text, networkBorderGroup: text, zoneType: text, zoneState: text,
    })),
  },
  errors: ['ZoneUnknown'],
  mutates: false,
  async run({ manager }, p) {
    const region = manager.site.region();
    const zones = await manager.site.zones();
    const wanted = [...p.ZoneName, ...p.ZoneId];
    const missing = wanted.find((name) => !zones.some((z) => z.name === name));
    if (missing !== undefined) throw new Fault('ZoneUnknown', `Invalid availability zone: [${shown(missing)}]`, [`the site has ${zones.map((z) => z.name).join(', ')}`]);
    const keep = filterBy<ZoneView>(p.Filter, {
      ...absentFilters('group-long-name', 'parent-zone-id', 'parent-zone-name'),
      'group-name': () => region,
      'message': () => undefined,
      'opt-in-status': () => OPT_IN,
      'region-name': () => region,
      'state': zoneState,
      'zone-id': (z) => z.name,
      'zone-name': (z) => z.name,
      'zone-state': zoneState,
      'zone-type': () => 'availability-zone',
    });
    return {
      availabilityZoneInfo: zones.filter((z) => (wanted.length === 0 || wanted.includes(z.name)) && keep(z)).map((z) => ({
        optInStatus: OPT_IN, messageSet: [], regionName: region, zoneName: z.name, zoneId: z.name, groupName: region,
        networkBorderGroup: region, zoneType: 'availability-zone', zoneState: zoneState(z),
      })),
    };
  },
});

export const describeRegions = operation({
  name: 'DescribeRegions',
  summary: 'Shows the one region that the site is.',
  input: { RegionName: inputList(string()), Filter: filters },
  ignored: ['AllRegions'],
  output: { regionInfo: list(struct({ optInStatus: text, regionName: text, regionEndpoint: text })) },
  errors: ['ParameterInvalid'],
  mutates: false,
  async run({ manager, endpoint }, p) {
    const region = manager.site.region();
    const missing = p.RegionName.find((name) => name !== region);
    if (missing !== undefined) throw new Fault('ParameterInvalid', `Invalid region name '${shown(missing)}'; this site is ${region}`);
    const keep = filterBy<string>(p.Filter, { 'endpoint': () => endpoint, 'opt-in-status': () => OPT_IN, 'region-name': (r) => r });
    // boto 2 takes the endpoint for a host name, so it has neither scheme nor port.
    return { regionInfo: keep(region) ? [{ optInStatus: OPT_IN, regionName: region, regionEndpoint: endpoint }] : [] };
  },
});

/** Figures of AWS's machines. */
const NO_SUCH_FIGURES = absentFilters(
  'ebs-info.attachment-limit-type', 'ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps', 'ebs-info.ebs-optimized-info.baseline-iops',
  'ebs-info.ebs-optimized-info.baseline-throughput-in-mbps', 'ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps', 'ebs-info.ebs-optimized-info.maximum-iops',
  'ebs-info.ebs-optimized-info.maximum-throughput-in-mbps', 'ebs-info.maximum-ebs-attachments',
  'ebs-info.nvme-support', 'instance-storage-info.disk.count', 'instance-storage-info.disk.size-in-gb', 'instance-storage-info.disk.type',
  'instance-storage-info.encryption-support', 'instance-storage-info.nvme-support', 'network-info.bandwidth-weightings',
  'network-info.efa-info.maximum-efa-interfaces', 'network-info.ena-support', 'network-info.encryption-in-transit-supported',
  'network-info.flexible-ena-queues-support', 'network-info.ipv4-addresses-per-interface', 'network-info.ipv6-addresses-per-interface',
  'network-info.maximum-network-cards', 'network-info.network-performance', 'nitro-enclaves-support', 'nitro-tpm-info.supported-versions',
  'hypervisor', 'nitro-tpm-support', 'processor-info.supported-features', 'processor-info.sustained-clock-speed-in-ghz', 'reboot-migration-support',
  'vcpu-info.valid-cores', 'vcpu-info.valid-threads-per-core',
);

const UNSUPPORTED = 'unsupported';

const interfaces = (t: LeaseType): number => Math.max(1, t.networks.length);
const gib = (mb: number): number => Math.ceil(mb / 1024);

export const describeInstanceTypes = operation({
  name: 'DescribeInstanceTypes',
  summary: 'Shows the site\'s instance types.',
  input: { InstanceType: inputList(string()), Filter: filters, ...pagingInputs },
  ignored: ['IncludeUnsupportedInRegion'],
  output: {
    instanceTypeSet: list(struct({
      instanceType: text, currentGeneration: boolean, freeTierEligible: boolean, supportedUsageClasses: list(text),
      supportedRootDeviceTypes: list(text), supportedVirtualizationTypes: list(text), bareMetal: boolean,
      processorInfo: struct({ supportedArchitectures: list(text) }),
      vCpuInfo: struct({ defaultVCpus: integer, defaultCores: integer, defaultThreadsPerCore: integer }),
      memoryInfo: struct({ sizeInMiB: integer }),
      instanceStorageSupported: boolean,
      instanceStorageInfo: optional(struct({ totalSizeInGB: integer })),
      ebsInfo: struct({ ebsOptimizedSupport: text, encryptionSupport: text }),
      networkInfo: struct({ maximumNetworkInterfaces: integer, ipv6Supported: boolean, efaSupported: boolean }),
      hibernationSupported: boolean, burstablePerformanceSupported: boolean, dedicatedHostsSupported: boolean, autoRecoverySupported: boolean, supportedBootModes: list(text),
    })),
    nextToken: optional(text),
  },
  errors: ['TypeUnknown', 'TokenPageInvalid'],
  mutates: false,
  async run({ manager }, p) {
    const types = manager.site.types();
    const missing = p.InstanceType.find((name) => !types.some((t) => t.name === name));
    if (missing !== undefined) throw new Fault('TypeUnknown', `The following supplied instance types do not exist: [${shown(missing)}]`, [`the site offers ${types.map((t) => t.name).join(', ')}`], { ec2: 'InvalidInstanceType' });
    const keep = filterBy<LeaseType>(p.Filter, {
      ...NO_SUCH_FIGURES,
      'auto-recovery-supported': () => false,
      'bare-metal': () => false,
      'burstable-performance-supported': () => false,
      'current-generation': () => true,
      'dedicated-hosts-supported': () => false,
      'free-tier-eligible': () => false,
      'hibernation-supported': () => false,
      'ebs-info.ebs-optimized-support': () => UNSUPPORTED,
      'ebs-info.encryption-support': () => UNSUPPORTED,
      'instance-storage-info.total-size-in-gb': (t) => (t.diskMb === 0 ? undefined : gib(t.diskMb)),
      'instance-storage-supported': () => true,
      'instance-type': (t) => t.name,
      'memory-info.size-in-mib': (t) => t.memoryMb,
      'network-info.efa-supported': () => false,
      'network-info.ipv6-supported': () => false,
      'network-info.maximum-network-interfaces': (t) => interfaces(t),
      'processor-info.supported-architecture': () => 'x86_64',
      'supported-boot-mode': () => 'legacy-bios',
      'supported-root-device-type': () => ROOT_DEVICE_TYPE,
      'supported-usage-class': () => 'on-demand',
      'supported-virtualization-type': () => 'hvm',
      'vcpu-info.default-cores': (t) => t.cores,
      'vcpu-info.default-threads-per-core': () => 1,
      'vcpu-info.default-vcpus': (t) => t.cores,
    });
    const found = types.filter((t) => (p.InstanceType.length === 0 || p.InstanceType.includes(t.name)) && keep(t));
    const { items, nextToken } = page('DescribeInstanceTypes', found, (t) => t.name, p);
    return { instanceTypeSet: items.map(typeItem), nextToken };
  },
});

function typeItem(t: LeaseType) {
  return {
    instanceType: t.name,
    currentGeneration: true,
    freeTierEligible: false,
    supportedUsageClasses: ['on-demand'],
    supportedRootDeviceTypes: [ROOT_DEVICE_TYPE],
    supportedVirtualizationTypes: ['hvm'],
    bareMetal: false,
    processorInfo: { supportedArchitectures: ['x86_64'] },
    vCpuInfo: { defaultVCpus: t.cores, defaultCores: t.cores, defaultThreadsPerCore: 1 },
    memoryInfo: { sizeInMiB: t.memoryMb },
    instanceStorageSupported: true,
    // A type without a size takes the image's, which is not known here.
    instanceStorageInfo: t.diskMb === 0 ? undefined : { totalSizeInGB: gib(t.diskMb) },
    ebsInfo: { ebsOptimizedSupport: UNSUPPORTED, encryptionSupport: UNSUPPORTED },
    networkInfo: { maximumNetworkInterfaces: interfaces(t), ipv6Supported: false, efaSupported: false },
    hibernationSupported: false,
    burstablePerformanceSupported: false,
    dedicatedHostsSupported: false,
    autoRecoverySupported: false,
    supportedBootModes: ['legacy-bios'],
  };
}

export const describeAccountAttributes = operation({
  name: 'DescribeAccountAttributes',
  summary: 'Shows the limits of the caller\'s account.',
  input: { AttributeName: inputList(string()) },
  output: {
    accountAttributeSet: list(struct({ attributeName: text, attributeValueSet: list(struct({ attributeValue: text })) })),
  },
  errors: ['ParameterInvalid'],
  mutates: false,
  async run({ manager, caller }, p) {
    const { maxInstances } = await manager.site.limits(caller);
    const attributes: ReadonlyArray<readonly [name: string, value: string]> = [
      ['supported-platforms', 'VPC'],
      ['default-vpc', vpcId(manager.site.region())],
      ['max-instances', String(maxInstances)],
      ['max-elastic-ips', '0'],
      ['vpc-max-elastic-ips', '0'],
      ['vpc-max-security-groups-per-interface', '5'],
    ];
    const missing = p.AttributeName.find((n) => !attributes.some(([name]) => name === n));
    if (missing !== undefined) throw new Fault('ParameterInvalid', `Value (${shown(missing)}) for parameter attributeName is invalid. Invalid attribute.`);
    return {
      accountAttributeSet: attributes
        .filter(([name]) => p.AttributeName.length === 0 || p.AttributeName.includes(name))
        .map(([attributeName, value]) => ({ attributeName, attributeValueSet: [{ attributeValue: value }] })),
    };
  },
});
