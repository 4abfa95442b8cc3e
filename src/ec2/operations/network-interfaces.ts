/** DescribeNetworkInterfaces: one for each NIC of a live lease. */
import { Fault } from '../../lease/faults.ts';
import { LEASE_ID } from '../../lease/ids.ts';
import type { Nic } from '../../lease/types.ts';
import type { Caller, LeaseView, Manager } from '../../manager/types.ts';
import { attachmentId, interfaceId, subnetId, vpcId } from '../../network/mirror.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import type { FilterTable } from '../filters.ts';
import { list as inputList, shown, string } from '../inputs.ts';
import { groupSet, securityGroupItems } from '../instance.ts';
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
    if (unknown !== undefined) throw new Fault('ResourceNotFound', `The networkInterface ID '${shown(unknown)}' does not exist`, [], { ec2: 'InvalidNetworkInterfaceID.NotFound' });
    const items = found.slice(0, size);
    const last = items.at(-1);
    return {
      networkInterfaceSet: items.map((i) => interfaceItem(i, region)),
      ...(last !== undefined && found.length > size ? { nextToken: writeToken(NAME, `${last.lease.id} ${last.index}`) } : {}),
    };
  },
});

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
