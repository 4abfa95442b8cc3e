/** DescribeNetworkInterfaces: one for each NIC of a live lease; ModifyNetworkInterfaceAttribute, by which some clients move an instance to other groups. */
import { Fault } from '../../lease/faults.ts';
import { LEASE_ID } from '../../lease/ids.ts';
import type { Nic } from '../../lease/types.ts';
import type { Caller, LeaseView, Manager } from '../../manager/types.ts';
import { attachmentId, interfaceId, leasesOfInterface, subnetId, vpcId } from '../../network/mirror.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import type { FilterTable } from '../filters.ts';
import { boolean as booleanInput, list as inputList, required, shown, string, struct as structInput, unsupported } from '../inputs.ts';
import { groupSet, securityGroupItems } from '../instance.ts';
import { valueOf } from './instance-attributes.ts';
import { operation } from '../operation.ts';
import { boolean, integer, list, optional, struct, text, time } from '../outputs.ts';
import { pagingInputs, readToken, writeToken } from '../paging.ts';
import { tagSet } from '../tags.ts';
import { isoSeconds } from '../time.ts';

const NAME = 'DescribeNetworkInterfaces';
const BATCH = 1000;
/** Clients that do not page get all in one answer up to this many. */
const MAX_UNPAGED = 10_000;

interface Interface {
  readonly id: string;
  readonly lease: LeaseView;
  readonly nic: Nic;
  readonly index: number;
}

const interfacesOf = (lease: LeaseView): Interface[] => lease.nics.map((nic, index) => ({ id: interfaceId(lease.id, index), lease, nic, index }));

const interfaceFilters = (region: string): FilterTable<Interface> => ({
  ...absentFilters('addresses.association.owner-id', 'addresses.association.public-ip', 'association.allocation-id', 'association.association-id',
    'association.ip-owner-id', 'association.public-dns-name', 'association.public-ip', 'ipv6-addresses.ipv6-address', 'operator.principal', 'requester-id'),
  'addresses.primary': () => true,
  'addresses.private-ip-address': (i) => i.nic.ip,
  'attachment.attach-time': (i) => isoSeconds(i.lease.createdAt),
  'attachment.attachment-id': (i) => attachmentId(i.lease.id, i.index),
  'attachment.delete-on-termination': () => true,
  'attachment.device-index': (i) => i.index,
  'attachment.instance-id': (i) => i.lease.id,
  'attachment.instance-owner-id': (i) => i.lease.ownerId,
  'attachment.status': () => 'attached',
  'availability-zone': (i) => i.lease.zone,
  'availability-zone-id': (i) => i.lease.zone,
  'description': (i) => i.nic.network,
  'group-id': (i) => i.lease.securityGroups.map((g) => g.id),
  'group-name': (i) => i.lease.securityGroups.map((g) => g.name),
  'interface-type': () => 'interface',
  'mac-address': (i) => i.nic.mac,
  'network-interface-id': (i) => i.id,
  'operator.managed': () => false,
  'owner-id': (i) => i.lease.ownerId,
  'private-dns-name': (i) => i.nic.ip,
  'private-ip-address': (i) => i.nic.ip,
  'requester-managed': () => false,
  'source-dest-check': () => false,
  'status': () => 'in-use',
  'subnet-id': (i) => subnetId(i.nic.network, i.lease.zone),
  'vpc-id': () => vpcId(region),
});

export const describeNetworkInterfaces = operation({
  name: NAME,
  summary: 'Shows an interface for each network that a live lease joins.',
  input: { NetworkInterfaceId: inputList(string()), Filter: filters, ...pagingInputs },
  ignored: ['IncludeManagedResources'],
  output: {
    networkInterfaceSet: list(struct({
      networkInterfaceId: text, subnetId: text, vpcId: text, availabilityZone: text, description: text, ownerId: text, requesterManaged: boolean,
      status: text, macAddress: text, privateIpAddress: text, privateDnsName: text, sourceDestCheck: boolean, groupSet,
      attachment: struct({
        attachmentId: text, instanceId: text, instanceOwnerId: text, deviceIndex: integer, status: text, attachTime: time, deleteOnTermination: boolean,
      }),
      tagSet, privateIpAddressesSet: list(struct({ privateIpAddress: text, primary: boolean })), ipv6AddressesSet: list(struct({})), interfaceType: text,
    })),
    nextToken: optional(text),
  },
  errors: ['ResourceNotFound', 'TokenPageInvalid'],
  mutates: false,
  async run({ manager, caller }, p) {
    const region = manager.site.region();
    const wanted = filterBy(p.Filter, interfaceFilters(region), () => ({}));
    const named = new Set(p.NetworkInterfaceId);
    const size = p.MaxResults ?? MAX_UNPAGED;
    const found: Interface[] = [];
    for await (const i of interfaces(manager, caller, readPlace(p.NextToken))) {
      if ((p.NetworkInterfaceId.length === 0 || named.delete(i.id)) && wanted(i) && found.push(i) > size) break;
    }
    const [unknown] = named;
    if (unknown !== undefined) throw notFound(unknown);
    const items = found.slice(0, size);
    const last = items.at(-1);
    return {
      networkInterfaceSet: items.map((i) => interfaceItem(i, region)),
      ...(last !== undefined && found.length > size ? { nextToken: writeToken(NAME, `${last.lease.id} ${last.index}`) } : {}),
    };
  },
});

const notFound = (id: string): Fault => new Fault('ResourceNotFound', `The networkInterface ID '${shown(id)}' does not exist`, [], { ec2: 'InvalidNetworkInterfaceID.NotFound' });

export const modifyNetworkInterfaceAttribute = operation({
  name: 'ModifyNetworkInterfaceAttribute',
  summary: 'Moves the instance of an interface to other security groups: all interfaces of an instance are in the same ones.',
  input: {
    NetworkInterfaceId: required(string()),
    SecurityGroupId: inputList(string()),
    SourceDestCheck: valueOf(booleanInput),
    Attachment: structInput({ AttachmentId: string(), DeleteOnTermination: booleanInput }),
    Description: unsupported('An interface is called as its network.'),
    AssociatePublicIpAddress: unsupported('Addresses are those of the networks that an instance joins.'),
  },
  output: { return: boolean },
  errors: ['ResourceNotFound', 'SecurityGroupNotFound', 'TooMany', 'ParameterConflict', 'Unsupported'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const lease = await leaseOf(manager, caller, p.NetworkInterfaceId);
    const given = [p.SecurityGroupId.length > 0, p.SourceDestCheck !== undefined, p.Attachment?.DeleteOnTermination !== undefined].filter(Boolean).length;
    if (given === 0) throw new Fault('ParameterMissing', 'The request must contain the attribute that shall change');
    if (given > 1) throw new Fault('ParameterConflict', 'One request changes one attribute.');
    if (p.SourceDestCheck === true) throw new Fault('Unsupported', 'The networks of this site do not check addresses of instances: sourceDestCheck is false.');
    if (p.Attachment?.DeleteOnTermination === false) throw new Fault('Unsupported', 'An interface goes with its instance.');
    await manager.leases.setAttributes(caller, lease, p.SecurityGroupId.length > 0 ? { securityGroups: p.SecurityGroupId } : {}, { dryRun });
    return { return: true };
  },
});

/** Of the live lease whose interface it is. @throws Fault */
async function leaseOf(manager: Manager, caller: Caller, id: string): Promise<string> {
  const may = leasesOfInterface(id);
  const leases = may.length === 0 ? [] : await manager.leases.describe(caller, { ids: may.map((m) => m.lease), missing: 'skip' });
  const found = leases.find((l) => l.endedAt === null && l.nics.some((_, index) => interfaceId(l.id, index) === id));
  if (found === undefined) throw notFound(id);
  return found.id;
}

interface Place {
  readonly lease: string;
  readonly index: number;
}

function readPlace(token: string | undefined): Place | undefined {
  const key = readToken(NAME, token);
  if (key === undefined) return undefined;
  const [lease = '', index = ''] = key.split(' ');
  if (!LEASE_ID.test(lease) || !/^\d{1,3}$/.test(index)) throw new Fault('TokenPageInvalid', 'The token is invalid');
  return { lease, index: Number(index) };
}

/** Those behind `place`, in the order of their leases. */
async function* interfaces(manager: Manager, caller: Caller, place: Place | undefined): AsyncGenerator<Interface> {
  if (place !== undefined) {
    const [lease] = await manager.leases.describe(caller, { ids: [place.lease], missing: 'skip', live: true });
    if (lease !== undefined) yield* interfacesOf(lease).slice(place.index + 1);
  }
  for (let after = place?.lease; ;) {
    const leases: LeaseView[] = await manager.leases.describe(caller, { live: true, limit: BATCH, after });
    for (const lease of leases) yield* interfacesOf(lease);
    if (leases.length < BATCH) return;
    after = leases.at(-1)?.id;
  }
}

function interfaceItem({ id, lease, nic, index }: Interface, region: string) {
  return {
    networkInterfaceId: id, subnetId: subnetId(nic.network, lease.zone), vpcId: vpcId(region), availabilityZone: lease.zone, description: nic.network,
    ownerId: lease.ownerId, requesterManaged: false, status: 'in-use', macAddress: nic.mac, privateIpAddress: nic.ip, privateDnsName: nic.ip, sourceDestCheck: false,
    groupSet: securityGroupItems(lease),
    attachment: {
      attachmentId: attachmentId(lease.id, index), instanceId: lease.id, instanceOwnerId: lease.ownerId, deviceIndex: index, status: 'attached',
      attachTime: lease.createdAt, deleteOnTermination: true,
    },
    tagSet: [], privateIpAddressesSet: [{ privateIpAddress: nic.ip, primary: true }], ipv6AddressesSet: [], interfaceType: 'interface',
  };
}
