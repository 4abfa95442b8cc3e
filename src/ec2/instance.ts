/** A lease as an EC2 instance: the fields that clients read, and what in a lease fills them. */
import { EC2_STATE_CODE, STATES } from '../lease/states.ts';
import type { LeaseState } from '../lease/states.ts';
import { LEASE_ID } from '../lease/ids.ts';
import type { LeaseView } from '../manager/types.ts';
import { graceLeftS, waitingText } from '../manager/waiting.ts';
import { list as inputList, string as inputString } from './inputs.ts';
import type { FilterTable } from './filters.ts';
import { boolean, integer, list, optional, struct, text, time } from './outputs.ts';
import type { OutputOf } from './outputs.ts';
import { leaseTagItems, tagSet } from './tags.ts';
import { isoSeconds } from './time.ts';

export const instanceId = inputString({ pattern: LEASE_ID, fault: 'LeaseIdMalformed', must: 'must be i- and 17 (or 8) lower-case hexadecimal digits', max: 64 });
export const instanceIds = inputList(instanceId);

/** Every lease is in the one security group that old clients expect; networks are the site's, not the user's. */
export const DEFAULT_GROUP = { groupId: 'sg-00000001', groupName: 'default' } as const;
export const groupSet = list(struct({ groupId: text, groupName: text }));

export const stateShape = struct({ code: integer, name: text });
const none = list(struct({}));

export const instanceShape = struct({
  instanceId: text,
  imageId: text,
  instanceState: stateShape,
  privateDnsName: text,
  dnsName: text,
  reason: text,
  keyName: optional(text),
  amiLaunchIndex: integer,
  productCodes: none,
  instanceType: text,
  launchTime: time,
  placement: struct({ availabilityZone: text, groupName: text, tenancy: text }),
  monitoring: struct({ state: text }),
  privateIpAddress: optional(text),
  ipAddress: optional(text),
  sourceDestCheck: boolean,
  groupSet,
  stateReason: optional(struct({ code: text, message: text })),
  architecture: text,
  rootDeviceType: text,
  rootDeviceName: text,
  blockDeviceMapping: none,
  virtualizationType: text,
  clientToken: text,
  tagSet,
  hypervisor: text,
  networkInterfaceSet: none,
  ebsOptimized: boolean,
  enaSupport: boolean,
  cpuOptions: struct({ coreCount: integer, threadsPerCore: integer }),
});
export type InstanceItem = OutputOf<typeof instanceShape>;

export const reservationFields = {
  reservationId: text,
  ownerId: text,
  requesterId: text,
  groupSet,
  instancesSet: list(instanceShape),
};
export const reservationShape = struct(reservationFields);
export type Reservation = OutputOf<typeof reservationShape>;

export const instanceState = (state: LeaseState): { code: number; name: string } => {
  const name = STATES[state].ec2;
  return { code: EC2_STATE_CODE[name], name };
};

const GROUPS = [DEFAULT_GROUP];
const NOTHING: readonly [] = [];

/** @param now ms, for what is left of a grace period */
export function instanceItem(lease: LeaseView, now: number): InstanceItem {
  const at = addresses(lease);
  const why = stateReason(lease, now);
  return {
    instanceId: lease.id,
    imageId: lease.imageId,
    instanceState: instanceState(lease.state),
    privateDnsName: at?.private ?? '',
    dnsName: at?.dns ?? '',
    reason: why?.message ?? '',
    keyName: lease.keyName ?? undefined,
    amiLaunchIndex: lease.launchIndex,
    productCodes: NOTHING,
    instanceType: lease.type,
    launchTime: lease.createdAt,
    placement: { availabilityZone: lease.zone, groupName: '', tenancy: 'default' },
    monitoring: { state: 'disabled' },
    privateIpAddress: at?.private,
    ipAddress: at?.public,
    sourceDestCheck: false,
    groupSet: GROUPS,
    stateReason: why,
    architecture: 'x86_64',
    rootDeviceType: 'instance-store',
    rootDeviceName: '/dev/vda',
    blockDeviceMapping: NOTHING,
    virtualizationType: 'hvm',
    clientToken: lease.clientToken ?? '',
    tagSet: leaseTagItems(lease),
    hypervisor: 'kvm',
    networkInterfaceSet: NOTHING,
    ebsOptimized: false,
    enaSupport: false,
    cpuOptions: { coreCount: lease.cores, threadsPerCore: 1 },
  };
}

/**
 * Addresses only where the guest answers at them. On a bridge that is its own; its second network, when it has one, is the
 * private one. Behind a forwarded port it is the node's, and `dnsName` stays empty, because port 22 there is not the guest's.
 */
function addresses(lease: LeaseView): { public: string; private: string | undefined; dns: string } | undefined {
  const { reach } = lease;
  if (reach === null) return undefined;
  if (reach.forwarded) return { public: reach.host, private: undefined, dns: '' };
  const bridged = lease.nics.filter((n) => n.kind === 'bridge');
  return { public: reach.host, private: (bridged[1] ?? bridged[0])?.ip ?? reach.host, dns: reach.host };
}

function stateReason(lease: LeaseView, now: number): { code: string; message: string } | undefined {
  const grace = graceLeftS(lease, now);
  if (grace !== null) {
    const code = lease.reasonCode ?? 'Server.BatchSystemPreempted';
    return { code, message: `${code}: the batch system takes the node back; ${grace} s are left` };
  }
  if (lease.reasonCode !== null) return { code: lease.reasonCode, message: lease.reason ?? lease.reasonCode };
  // What EC2 says of an instance that has yet to start, and what it waits for.
  if (lease.waiting !== null) return { code: 'pending', message: `pending: ${waitingText(lease.waiting)}` };
  const { ec2 } = STATES[lease.state];
  // A lease that was ended as asked has no reason of its own; EC2 names this one.
  if (ec2 !== 'terminated' && ec2 !== 'shutting-down') return undefined;
  return { code: 'Client.UserInitiatedShutdown', message: 'Client.UserInitiatedShutdown: User initiated shutdown' };
}

/** Leases in creation order → reservations. A group's leases may be parted by the page's end only. */
export function reservations(leases: readonly LeaseView[], now: number): Reservation[] {
  const groups = new Map<string, LeaseView[]>();
  for (const lease of leases) {
    const group = groups.get(lease.groupId);
    if (group === undefined) groups.set(lease.groupId, [lease]);
    else group.push(lease);
  }
  return [...groups.values()].map((group) => reservation(group[0] as LeaseView, group, now));
}

export function reservation(first: LeaseView, leases: readonly LeaseView[], now: number): Reservation {
  return {
    reservationId: first.groupId,
    ownerId: first.ownerId,
    requesterId: first.ownerId,
    groupSet: GROUPS,
    instancesSet: leases.map((l) => instanceItem(l, now)),
  };
}

/** Filters of EC2 for things that no lease has (VPC, volumes, spot requests, …) are known and match nothing. */
const ABSENT = [
  'affinity', 'block-device-mapping.attach-time', 'block-device-mapping.delete-on-termination', 'block-device-mapping.device-name',
  'block-device-mapping.status', 'block-device-mapping.volume-id', 'boot-mode', 'capacity-reservation-id',
  'capacity-reservation-specification.capacity-reservation-preference', 'host-id', 'iam-instance-profile.arn',
  'iam-instance-profile.id', 'iam-instance-profile.name', 'instance-lifecycle', 'ipv6-address', 'kernel-id', 'license-pool',
  'metadata-options.http-endpoint', 'metadata-options.http-tokens', 'network-interface.association.public-ip',
  'network-interface.availability-zone', 'network-interface.group-id', 'network-interface.network-interface-id',
  'network-interface.status', 'network-interface.subnet-id', 'network-interface.vpc-id', 'outpost-arn', 'placement-group-name',
  'placement-partition-number', 'platform', 'platform-details', 'product-code', 'product-code.type', 'ramdisk-id',
  'spot-instance-request-id', 'subnet-id', 'tpm-support', 'usage-operation', 'vpc-id',
];

/** @param now as of `instanceItem`: what a filter sees is what is shown */
export const instanceFilters = (now: number): FilterTable<LeaseView> => ({
  ...Object.fromEntries(ABSENT.map((name) => [name, () => undefined])),
  'architecture': () => 'x86_64',
  'availability-zone': (l) => l.zone,
  'client-token': (l) => l.clientToken ?? undefined,
  'dns-name': (l) => addresses(l)?.dns,
  'ebs-optimized': () => false,
  'ena-support': () => false,
  'enclave-options.enabled': () => false,
  'group-id': () => DEFAULT_GROUP.groupId,
  'group-name': () => DEFAULT_GROUP.groupName,
  'hibernation-options.configured': () => false,
  'hypervisor': () => 'kvm',
  'image-id': (l) => l.imageId,
  'instance-id': (l) => l.id,
  'instance-state-code': (l) => instanceState(l.state).code,
  'instance-state-name': (l) => STATES[l.state].ec2,
  'instance-type': (l) => l.type,
  'instance.group-id': () => DEFAULT_GROUP.groupId,
  'instance.group-name': () => DEFAULT_GROUP.groupName,
  'ip-address': (l) => addresses(l)?.public,
  'key-name': (l) => l.keyName ?? undefined,
  'launch-index': (l) => l.launchIndex,
  'launch-time': (l) => isoSeconds(l.createdAt),
  'monitoring-state': () => 'disabled',
  'network-interface.addresses.private-ip-address': (l) => addresses(l)?.private,
  'owner-id': (l) => l.ownerId,
  'private-dns-name': (l) => addresses(l)?.private,
  'private-ip-address': (l) => addresses(l)?.private,
  'reason': (l) => stateReason(l, now)?.message,
  'requester-id': (l) => l.ownerId,
  'reservation-id': (l) => l.groupId,
  'root-device-name': () => '/dev/vda',
  'root-device-type': () => 'instance-store',
  'source-dest-check': () => false,
  'state-reason-code': (l) => stateReason(l, now)?.code,
  'state-reason-message': (l) => stateReason(l, now)?.message,
  'tenancy': () => 'default',
  'virtualization-type': () => 'hvm',
});
