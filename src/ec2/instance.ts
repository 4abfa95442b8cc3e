/** A lease as an EC2 instance: the fields that clients read, and what in a lease fills them. */
import { EC2_STATE_CODE, ec2State, isPastReason, STATES } from '../lease/states.ts';
import type { Ec2State } from '../lease/states.ts';
import { LEASE_ID } from '../lease/ids.ts';
import type { LeaseChange, LeaseView, Manager } from '../manager/types.ts';
import { graceLeftS, waitingText } from '../manager/waiting.ts';
import { attachmentId, interfaceId, subnetId, vpcId } from '../network/mirror.ts';
import type { Context } from '../platform/context.ts';
import { mapInTurns } from '../platform/turns.ts';
import { list as inputList, string as inputString } from './inputs.ts';
import { boolean, integer, list, optional, struct, text, time, word } from './outputs.ts';
import type { OutputOf } from './outputs.ts';
import { leaseTagItems, tagSet } from './tags.ts';
import { blockDeviceMapping, blockDevices, ROOT_DEVICE_NAME, ROOT_DEVICE_TYPE } from './volume.ts';

export const instanceId = inputString({ pattern: LEASE_ID, fault: 'LeaseIdMalformed', must: 'must be i- and 17 (or 8) lower-case hexadecimal digits', max: 64 });
export const instanceIds = inputList(instanceId);

export const groupSet = list(struct({ groupId: word, groupName: text }));
export const securityGroupItems = (lease: LeaseView): Array<{ groupId: string; groupName: string }> => lease.securityGroups.map((g) => ({ groupId: g.id, groupName: g.name }));

export const metadataShape = struct({ state: word, httpTokens: word, httpPutResponseHopLimit: integer, httpEndpoint: word });
/** Guests read key and user data from a volume of their own: there is no metadata service that could be reached. */
export const METADATA = { state: 'applied', httpTokens: 'required', httpPutResponseHopLimit: 1, httpEndpoint: 'disabled' } as const;

export const stateShape = struct({ code: integer, name: word });
const none = list(struct({}));

export const instanceShape = struct({
  instanceId: word,
  imageId: word,
  instanceState: stateShape,
  privateDnsName: text,
  dnsName: text,
  reason: text,
  keyName: optional(text),
  amiLaunchIndex: integer,
  productCodes: none,
  instanceType: text,
  launchTime: time,
  placement: struct({ availabilityZone: text, groupName: word, tenancy: word }),
  monitoring: struct({ state: word }),
  subnetId: optional(word),
  vpcId: optional(word),
  privateIpAddress: optional(text),
  ipAddress: optional(text),
  sourceDestCheck: boolean,
  groupSet,
  stateReason: optional(struct({ code: text, message: text })),
  architecture: word,
  rootDeviceType: word,
  rootDeviceName: word,
  blockDeviceMapping,
  instanceLifecycle: optional(word),
  spotInstanceRequestId: optional(word),
  virtualizationType: word,
  clientToken: text,
  tagSet,
  hypervisor: word,
  networkInterfaceSet: list(struct({
    networkInterfaceId: word, subnetId: word, vpcId: word, description: text, ownerId: word, status: word, macAddress: text, privateIpAddress: text,
    sourceDestCheck: boolean, groupSet,
    attachment: struct({ attachmentId: word, deviceIndex: integer, status: word, attachTime: time, deleteOnTermination: boolean }),
    privateIpAddressesSet: list(struct({ privateIpAddress: text, primary: boolean })), interfaceType: word,
  })),
  ebsOptimized: boolean,
  enaSupport: boolean,
  cpuOptions: struct({ coreCount: integer, threadsPerCore: integer }),
  metadataOptions: metadataShape,
});
export type InstanceItem = OutputOf<typeof instanceShape>;

export const reservationFields = {
  reservationId: word,
  ownerId: word,
  requesterId: word,
  groupSet,
  instancesSet: list(instanceShape),
};
export const reservationShape = struct(reservationFields);
export type Reservation = OutputOf<typeof reservationShape>;

export const stateName = (l: LeaseView): Ec2State => ec2State(l.state, l.runningAt !== null, l.graceEndsAt !== null);
const withCode = (name: Ec2State): { code: number; name: string } => ({ code: EC2_STATE_CODE[name], name });
export const instanceState = (l: LeaseView): { code: number; name: string } => withCode(stateName(l));

/** TerminateInstances, StartInstances and StopInstances answer so. */
export const stateChangeShape = struct({ instanceId: word, currentState: stateShape, previousState: stateShape });

export function stateChange(c: LeaseChange): OutputOf<typeof stateChangeShape> {
  return { instanceId: c.id, currentState: withCode(ec2State(c.after, c.ran)), previousState: withCode(ec2State(c.before, c.ran)) };
}

const NOTHING: readonly [] = [];

/** Beside the lease, what an instance shows. */
export interface Shown {
  /** ms, for what is left of a grace period */
  readonly now: number;
  readonly region: string;
}

export const shownTo = ({ ctx, manager }: { readonly ctx: Context; readonly manager: Manager }): Shown => ({ now: ctx.clock.now(), region: manager.site.region() });

export function instanceItem(lease: LeaseView, { now, region }: Shown): InstanceItem {
  const at = addresses(lease);
  const groups = securityGroupItems(lease);
  const [nic] = lease.nics;
  const why = stateReason(lease, now);
  return {
    instanceId: lease.id,
    imageId: lease.imageId,
    instanceState: instanceState(lease),
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
    subnetId: nic === undefined ? undefined : subnetId(nic.network, lease.zone),
    vpcId: nic === undefined ? undefined : vpcId(region),
    privateIpAddress: at?.private,
    ipAddress: at?.public,
    sourceDestCheck: false,
    groupSet: groups,
    stateReason: why,
    architecture: 'x86_64',
    rootDeviceType: ROOT_DEVICE_TYPE,
    rootDeviceName: ROOT_DEVICE_NAME,
    blockDeviceMapping: blockDevices(lease),
    instanceLifecycle: lease.spotRequestId === null ? undefined : 'spot',
    spotInstanceRequestId: lease.spotRequestId ?? undefined,
    virtualizationType: 'hvm',
    clientToken: lease.clientToken ?? '',
    tagSet: leaseTagItems(lease),
    hypervisor: 'kvm',
    networkInterfaceSet: STATES[lease.state].ec2 === 'terminated' ? NOTHING : networkInterfaces(lease, groups, vpcId(region)),
    ebsOptimized: false,
    enaSupport: false,
    cpuOptions: { coreCount: lease.cores, threadsPerCore: 1 },
    metadataOptions: METADATA,
  };
}

function networkInterfaces(lease: LeaseView, groups: InstanceItem['groupSet'], vpc: string): InstanceItem['networkInterfaceSet'] {
  return lease.nics.map((nic, deviceIndex) => ({
    networkInterfaceId: interfaceId(lease.id, deviceIndex), subnetId: subnetId(nic.network, lease.zone), vpcId: vpc, description: nic.network,
    ownerId: lease.ownerId, status: 'in-use', macAddress: nic.mac, privateIpAddress: nic.ip, sourceDestCheck: false, groupSet: groups,
    attachment: { attachmentId: attachmentId(lease.id, deviceIndex), deviceIndex, status: 'attached', attachTime: lease.createdAt, deleteOnTermination: true },
    privateIpAddressesSet: [{ privateIpAddress: nic.ip, primary: true }], interfaceType: 'interface',
  }));
}

/**
 * Addresses only where the guest answers at them. On a bridge that is its own; its second network, when it has one, is the
 * private one. Behind a forwarded port it is the node's, and `dnsName` stays empty, because port 22 there is not the guest's.
 */
export function addresses(lease: LeaseView): { public: string; private: string | undefined; dns: string } | undefined {
  const { reach } = lease;
  if (reach === null || !STATES[lease.state].vm) return undefined;
  if (reach.forwarded) return { public: reach.host, private: undefined, dns: '' };
  const bridged = lease.nics.filter((n) => n.kind === 'bridge');
  return { public: reach.host, private: (bridged[1] ?? bridged[0])?.ip ?? reach.host, dns: reach.host };
}

export function stateReason(lease: LeaseView, now: number): { code: string; message: string } | undefined {
  const grace = graceLeftS(lease, now);
  if (grace !== null) {
    const code = lease.reasonCode ?? 'Server.BatchSystemPreempted';
    return { code, message: `${code}: the batch system takes the node back; ${grace} s are left` };
  }
  const ec2 = stateName(lease);
  if (lease.reasonCode !== null && !isPastReason(lease.reasonCode, ec2)) return { code: lease.reasonCode, message: lease.reason ?? lease.reasonCode };
  // What EC2 says of an instance that has yet to start, and what it waits for.
  if (lease.waiting !== null) return { code: 'pending', message: `pending: ${waitingText(lease.waiting)}` };
  // A lease that was ended as asked has no reason of its own; EC2 names this one.
  if (ec2 !== 'terminated' && ec2 !== 'shutting-down') return undefined;
  return { code: 'Client.UserInitiatedShutdown', message: 'Client.UserInitiatedShutdown: User initiated shutdown' };
}

/** Reservations made between two turns of the event loop: of a hundred instances at most some 2 ms. */
const AT_A_TIME = 10;

/** Leases in creation order → reservations. A group's leases may be parted by the page's end only. */
export function reservations(leases: readonly LeaseView[], as: Shown): Promise<Reservation[]> {
  const groups = new Map<string, LeaseView[]>();
  for (const lease of leases) {
    const group = groups.get(lease.groupId);
    if (group === undefined) groups.set(lease.groupId, [lease]);
    else group.push(lease);
  }
  return mapInTurns([...groups.values()], AT_A_TIME, (group) => reservation(group[0] as LeaseView, group, as));
}

export function reservation(first: LeaseView, leases: readonly LeaseView[], as: Shown): Reservation {
  return {
    reservationId: first.groupId,
    ownerId: first.ownerId,
    requesterId: first.ownerId,
    groupSet: securityGroupItems(first),
    instancesSet: leases.map((l) => instanceItem(l, as)),
  };
}
