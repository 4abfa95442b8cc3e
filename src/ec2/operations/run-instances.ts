/** RunInstances: one request for leases. */
import { Fault } from '../../lease/faults.ts';
import { CLIENT_TOKEN, NAME } from '../../lease/ids.ts';
import type { CreateRequest } from '../../lease/types.ts';
import { base64, boolean, integer, list, required, string, struct, unsupported } from '../inputs.ts';
import type { InputsOf } from '../inputs.ts';
import { reservation, reservationFields, shownTo } from '../instance.ts';
import { operation } from '../operation.ts';
import { DURATION_TAG, durationOf, ON_PREEMPT_TAG, tagSpecifications, tagsFor } from '../tags.ts';
import { imageReference } from './images.ts';
import { keyName } from './key-pairs.ts';

/** EC2 user guide, "User data": 16 KB before encoding. */
export const MAX_USER_DATA = 16_384;
const MAX_COUNT = 0x7fffffff;
const NAME_RULE = { pattern: NAME, must: 'must be letters, digits, ".", "_" or "-"' };

const NO_CHOICE = 'Addresses are leased from the site\'s pools and cannot be chosen.';

const input = {
  ImageId: required(imageReference),
  MinCount: required(integer(1, MAX_COUNT)),
  MaxCount: required(integer(1, MAX_COUNT)),
  InstanceType: string(NAME_RULE),
  KeyName: keyName,
  UserData: base64(MAX_USER_DATA, 'UserDataMalformed'),
  Placement: struct({ AvailabilityZone: string(NAME_RULE), Tenancy: string({ oneOf: ['default'] }), GroupName: string() }),
  ClientToken: string({ max: 64, pattern: CLIENT_TOKEN, must: 'must be printable ASCII without spaces' }),
  TagSpecification: tagSpecifications,
  SecurityGroup: list(string()),
  SecurityGroupId: list(string()),
  DisableApiTermination: boolean,
  DisableApiStop: boolean,
  InstanceInitiatedShutdownBehavior: string({ oneOf: ['stop', 'terminate'] }),
  Monitoring: struct({ Enabled: boolean }),
  SubnetId: string(),
  PrivateIpAddress: unsupported(NO_CHOICE),
  LaunchTemplate: unsupported('This service has no launch templates: give image, type and key with the request.'),
  NetworkInterface: list(struct({
    DeviceIndex: integer(0, 31), SubnetId: string(), SecurityGroupId: list(string()),
    NetworkInterfaceId: unsupported('Interfaces come and go with their instances: one that is there cannot be attached.'),
    PrivateIpAddress: unsupported(NO_CHOICE), PrivateIpAddresses: unsupported(NO_CHOICE),
  }, ['AssociatePublicIpAddress', 'DeleteOnTermination', 'Description', 'InterfaceType', 'NetworkCardIndex', 'Ipv6AddressCount', 'PrimaryIpv6', 'SecondaryPrivateIpAddressCount']), 16),
  InstanceMarketOptions: unsupported('This service has no spot market: leave the market options out.'),
};

/** What would change the lease but cannot be had here is refused; what only tunes AWS's own machinery is read over. */
const IGNORED = [
  'AdditionalInfo', 'BlockDeviceMapping', 'CapacityReservationSpecification', 'CpuOptions', 'CreditSpecification', 'EbsOptimized',
  'ElasticGpuSpecification', 'ElasticInferenceAccelerator', 'EnablePrimaryIpv6',
  'EnclaveOptions', 'HibernationOptions', 'IamInstanceProfile', 'KernelId',
  'License', 'LicenseSpecification', 'MaintenanceOptions', 'MetadataOptions', 'NetworkPerformanceOptions', 'Operator', 'PrivateDnsNameOptions',
  'RamdiskId', 'AddressingType',
];

export const runInstances = operation({
  name: 'RunInstances',
  summary: 'Leases between MinCount and MaxCount VMs as one group; the tag nimbus:duration sets their time.',
  input,
  ignored: IGNORED,
  output: reservationFields,
  mutates: true,
  repeatable: (p) => p.ClientToken !== undefined,
  async run({ ctx, manager, caller, dryRun }, params) {
    const group = await manager.leases.create(caller, createRequest(params), { dryRun });
    const first = group.leases[0];
    // A dry run has no leases to show; the door answers DryRunOperation in its place.
    return first === undefined ? EMPTY : reservation(first, group.leases, shownTo({ ctx, manager }));
  },
});

const EMPTY = { reservationId: '', ownerId: '', requesterId: '', groupSet: [], instancesSet: [] };

function createRequest(p: InputsOf<typeof input>): CreateRequest {
  if (p.MinCount > p.MaxCount) throw new Fault('ParameterConflict', `MinCount (${p.MinCount}) must not be more than MaxCount (${p.MaxCount}).`);
  const tags = tagsFor('instance', p.TagSpecification, [DURATION_TAG, ON_PREEMPT_TAG]);
  const duration = tags[DURATION_TAG];
  return {
    minCount: p.MinCount,
    maxCount: p.MaxCount,
    image: p.ImageId,
    type: p.InstanceType,
    zone: p.Placement?.AvailabilityZone,
    ...networksOf(p),
    keyName: p.KeyName,
    userData: p.UserData,
    durationS: duration === undefined ? undefined : durationOf(duration),
    clientToken: p.ClientToken,
    endProtected: p.DisableApiTermination,
    stopProtected: p.DisableApiStop,
    rests: p.InstanceInitiatedShutdownBehavior === undefined ? undefined : p.InstanceInitiatedShutdownBehavior === 'stop',
    tags,
  };
}

/** Subnets and groups stand beside the request or, as the SDKs have it, within its interfaces. */
function networksOf(p: InputsOf<typeof input>): Pick<CreateRequest, 'subnets' | 'securityGroups'> {
  const nics = [...p.NetworkInterface].sort((a, b) => (a.DeviceIndex ?? 0) - (b.DeviceIndex ?? 0));
  const beside = [...p.SecurityGroup, ...p.SecurityGroupId];
  if (nics.length > 0 && (p.SubnetId !== undefined || beside.length > 0)) {
    throw new Fault('ParameterConflict', 'Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request');
  }
  if (nics.some((n, i) => (n.DeviceIndex ?? 0) !== i)) throw new Fault('ParameterInvalid', 'Each network interface requires a device index of its own, from 0 without gaps.');
  const subnets = p.SubnetId === undefined ? nics.flatMap((n) => n.SubnetId ?? []) : [p.SubnetId];
  if (nics.length > 0 && subnets.length > 0 && subnets.length < nics.length) throw new Fault('ParameterMissing', 'Every network interface must have a SubnetId, or none.');
  const groups = nics.length > 0 ? nics.flatMap((n) => n.SecurityGroupId) : beside;
  return { subnets: subnets.length === 0 ? undefined : subnets, securityGroups: groups.length === 0 ? undefined : groups };
}
