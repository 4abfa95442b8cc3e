/** Spot requests: for preemptible leases, which end when others need their room. */
import { Fault } from '../../lease/faults.ts';
import type { Caller, Manager, SpotRequestView } from '../../manager/types.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import type { FilterTable } from '../filters.ts';
import { integer as integerInput, list as inputList, required, string, struct as inputStruct, unsupported } from '../inputs.ts';
import { groupSet } from '../instance.ts';
import { launchInputs, launchOf, priceOf, timeOf } from '../launch.ts';
import { operation } from '../operation.ts';
import { boolean, list, optional, struct, text, time } from '../outputs.ts';
import { page, pagingInputs } from '../paging.ts';
import { tagItems, tagSet, tagSpecifications, tagsFor } from '../tags.ts';
import { isoSeconds } from '../time.ts';

const PRODUCT = 'Linux/UNIX';
const MOST_AT_ONCE = 100;
const MOST_PRICES = 10_000;

export const spotPrice = (price: number): string => price.toFixed(6);

const requestShape = struct({
  spotInstanceRequestId: text, spotPrice: text, type: text, state: text, fault: optional(struct({ code: text, message: text })),
  status: struct({ code: text, updateTime: time, message: text }), validFrom: optional(time), validUntil: optional(time),
  launchSpecification: struct({
    imageId: text, keyName: optional(text), groupSet, instanceType: text, placement: optional(struct({ availabilityZone: text })), monitoring: struct({ enabled: boolean }), subnetId: optional(text),
  }),
  instanceId: optional(text), createTime: time, productDescription: text, tagSet, launchedAvailabilityZone: optional(text), instanceInterruptionBehavior: text,
});

interface Shown extends SpotRequestView {
  readonly groups: ReadonlyArray<{ readonly groupId: string; readonly groupName: string }>;
  readonly type: string;
}

/** With the names of their groups, as far as these are still there. */
async function shownRequests(manager: Manager, caller: Caller, requests: readonly SpotRequestView[]): Promise<Shown[]> {
  const known = requests.some((r) => r.launch.securityGroups !== undefined) ? await manager.securityGroups.list(caller) : [];
  return requests.map((r) => ({
    ...r, type: r.launch.type ?? manager.site.defaultType(),
    groups: (r.launch.securityGroups ?? []).map((g) => {
      const group = known.find((k) => k.id === g || k.name === g);
      return { groupId: group?.id ?? '', groupName: group?.name ?? g };
    }),
  }));
}

function requestItem(r: Shown) {
  const { launch } = r;
  return {
    spotInstanceRequestId: r.id, spotPrice: spotPrice(r.price), type: r.persistent ? 'persistent' : 'one-time', state: r.state,
    ...(r.state === 'failed' ? { fault: { code: r.code, message: r.message } } : {}), status: { code: r.code, updateTime: r.at, message: r.message },
    validFrom: r.validFrom ?? undefined, validUntil: r.validUntil ?? undefined,
    launchSpecification: {
      imageId: launch.image, keyName: launch.keyName, groupSet: r.groups, instanceType: r.type, monitoring: { enabled: false },
      placement: launch.zone === undefined ? undefined : { availabilityZone: launch.zone }, subnetId: launch.subnets?.[0],
    },
    instanceId: r.leaseId ?? undefined, createTime: r.createdAt, productDescription: PRODUCT, tagSet: tagItems(r.tags),
    launchedAvailabilityZone: r.zone ?? undefined, instanceInterruptionBehavior: 'terminate',
  };
}

export const requestSpotInstances = operation({
  name: 'RequestSpotInstances',
  summary: 'Asks for preemptible instances: each is launched when there is room that nobody else needs, and ends when others need it.',
  input: {
    SpotPrice: string(), InstanceCount: integerInput(1, MOST_AT_ONCE), Type: string({ oneOf: ['one-time', 'persistent'] }), ValidFrom: string(), ValidUntil: string(),
    ClientToken: string({ max: 64 }), InstanceInterruptionBehavior: string({ oneOf: ['terminate'] }), TagSpecification: tagSpecifications,
    LaunchGroup: unsupported('Requests are served one by one: leave LaunchGroup out, or run the instances as one group.'),
    AvailabilityZoneGroup: unsupported('Requests are served one by one: name a zone in LaunchSpecification.Placement instead.'),
    BlockDurationMinutes: unsupported('No time is reserved for spot instances.'),
    LaunchSpecification: required(inputStruct(launchInputs, ['AdditionalInfo', 'AddressingType', 'EbsOptimized', 'IamInstanceProfile', 'KernelId', 'RamdiskId'])),
  },
  output: { spotInstanceRequestSet: list(requestShape) },
  errors: ['ImageNotFound', 'KeyPairNotFound', 'SecurityGroupNotFound', 'SubnetNotFound', 'TypeUnknown', 'TooMany', 'TokenMismatch', 'Unsupported'],
  mutates: true,
  repeatable: (p) => p.ClientToken !== undefined,
  async run({ ctx, manager, caller, dryRun }, p) {
    const [validFrom, validUntil] = [timeOf(p.ValidFrom, 'ValidFrom'), timeOf(p.ValidUntil, 'ValidUntil')];
    if (validUntil !== undefined && validUntil <= Math.max(ctx.clock.now(), validFrom ?? 0)) throw new Fault('ParameterInvalid', 'ValidUntil must be in the future, and after ValidFrom.');
    const launch = { minCount: 1, maxCount: 1, ...launchOf(p.LaunchSpecification) };
    const requests = await manager.spot.request(caller, {
      count: p.InstanceCount ?? 1, price: priceOf(p.SpotPrice, 'SpotPrice'), persistent: p.Type === 'persistent', validFrom, validUntil, launch, clientToken: p.ClientToken,
    }, { dryRun, tags: tagsFor('spot-instances-request', p.TagSpecification) });
    return { spotInstanceRequestSet: (await shownRequests(manager, caller, requests)).map(requestItem) };
  },
});

const requestFilters: FilterTable<Shown> = {
  ...absentFilters(
    'availability-zone-group', 'launch-group', 'launch.block-device-mapping.delete-on-termination', 'launch.block-device-mapping.device-name',
    'launch.block-device-mapping.snapshot-id', 'launch.block-device-mapping.volume-size', 'launch.block-device-mapping.volume-type', 'launch.kernel-id',
    'launch.ramdisk-id', 'network-interface.addresses.primary', 'network-interface.delete-on-termination', 'network-interface.description',
    'network-interface.device-index', 'network-interface.group-id', 'network-interface.network-interface-id', 'network-interface.private-ip-address',
  ),
  'create-time': (r) => isoSeconds(r.createdAt),
  'fault-code': (r) => (r.state === 'failed' ? r.code : undefined),
  'fault-message': (r) => (r.state === 'failed' ? r.message : undefined),
  'instance-id': (r) => r.leaseId ?? undefined,
  'launch.group-id': (r) => r.groups.map((g) => g.groupId),
  'launch.group-name': (r) => r.groups.map((g) => g.groupName),
  'launch.image-id': (r) => r.launch.image,
  'launch.instance-type': (r) => r.type,
  'launch.key-name': (r) => r.launch.keyName,
  'launch.monitoring-enabled': () => false,
  'launched-availability-zone': (r) => r.zone ?? undefined,
  'launched-availability-zone-id': (r) => r.zone ?? undefined,
  'network-interface.subnet-id': (r) => r.launch.subnets,
  'product-description': () => PRODUCT,
  'spot-instance-request-id': (r) => r.id,
  'spot-price': (r) => spotPrice(r.price),
  'state': (r) => r.state,
  'status-code': (r) => r.code,
  'status-message': (r) => r.message,
  'type': (r) => (r.persistent ? 'persistent' : 'one-time'),
  'valid-from': (r) => (r.validFrom === null ? undefined : isoSeconds(r.validFrom)),
  'valid-until': (r) => (r.validUntil === null ? undefined : isoSeconds(r.validUntil)),
};

export const describeSpotInstanceRequests = operation({
  name: 'DescribeSpotInstanceRequests',
  summary: 'Shows spot requests with what became of them.',
  input: { SpotInstanceRequestId: inputList(string()), Filter: filters, ...pagingInputs },
  output: { spotInstanceRequestSet: list(requestShape), nextToken: optional(text) },
  errors: ['SpotRequestNotFound', 'SpotRequestIdMalformed', 'TokenPageInvalid'],
  mutates: false,
  async run({ manager, caller }, p) {
    const keep = filterBy<Shown>(p.Filter, requestFilters, (r) => r.tags);
    const all = await manager.spot.list(caller, p.SpotInstanceRequestId.length === 0 ? undefined : p.SpotInstanceRequestId);
    const found = (await shownRequests(manager, caller, all)).filter(keep);
    const { items, nextToken } = page('DescribeSpotInstanceRequests', found, (r) => r.id, p);
    return { spotInstanceRequestSet: items.map(requestItem), nextToken };
  },
});

export const cancelSpotInstanceRequests = operation({
  name: 'CancelSpotInstanceRequests',
  summary: 'Cancels spot requests; their instances run on.',
  input: { SpotInstanceRequestId: required(inputList(string())) },
  output: { spotInstanceRequestSet: list(struct({ spotInstanceRequestId: text, state: text })) },
  errors: ['SpotRequestNotFound', 'SpotRequestIdMalformed'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const requests = await manager.spot.cancel(caller, p.SpotInstanceRequestId, { dryRun });
    return { spotInstanceRequestSet: requests.map((r) => ({ spotInstanceRequestId: r.id, state: r.state })) };
  },
});

interface Price {
  readonly type: string;
  readonly zone: string;
  readonly price: number;
  readonly at: number;
}

export const describeSpotPriceHistory = operation({
  name: 'DescribeSpotPriceHistory',
  summary: 'Shows the prices at which preemptible instances were launched, the newest first.',
  input: {
    StartTime: string(), EndTime: string(), InstanceType: inputList(string()), ProductDescription: inputList(string()), AvailabilityZone: string(), AvailabilityZoneId: string(),
    Filter: filters, ...pagingInputs,
  },
  output: { spotPriceHistorySet: list(struct({ instanceType: text, productDescription: text, spotPrice: text, timestamp: time, availabilityZone: text })), nextToken: optional(text) },
  errors: ['TokenPageInvalid'],
  mutates: false,
  async run({ manager }, p) {
    const keep = filterBy<Price>(p.Filter, {
      'availability-zone': (x) => x.zone,
      'availability-zone-id': (x) => x.zone,
      'instance-type': (x) => x.type,
      'product-description': () => PRODUCT,
      'spot-price': (x) => spotPrice(x.price),
      'timestamp': (x) => isoSeconds(x.at),
    });
    const zone = p.AvailabilityZone ?? p.AvailabilityZoneId;
    const all = await manager.spot.prices({
      from: timeOf(p.StartTime, 'StartTime'), to: timeOf(p.EndTime, 'EndTime'), types: p.InstanceType.length === 0 ? undefined : p.InstanceType, limit: MOST_PRICES,
    });
    const named = (x: Price): boolean => (zone === undefined || x.zone === zone) && (p.ProductDescription.length === 0 || p.ProductDescription.some((d) => d.startsWith(PRODUCT)));
    const { items, nextToken } = page('DescribeSpotPriceHistory', all.filter((x) => named(x) && keep(x)), newestFirst, p);
    return { spotPriceHistorySet: items.map((x) => ({ instanceType: x.type, productDescription: PRODUCT, spotPrice: spotPrice(x.price), timestamp: x.at, availabilityZone: x.zone })), nextToken };
  },
});

const newestFirst = (x: Price): string => `${String(Number.MAX_SAFE_INTEGER - x.at).padStart(16, '0')} ${x.type} ${x.zone} ${x.price}`;
