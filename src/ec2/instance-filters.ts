/** What the filters of DescribeInstances look at. */
import { STATES } from '../lease/states.ts';
import type { Nic } from '../lease/types.ts';
import type { LeaseView } from '../manager/types.ts';
import { attachmentId, interfaceId, subnetId, vpcId } from '../network/mirror.ts';
import { absentFilters } from './filters.ts';
import type { FilterTable } from './filters.ts';
import { addresses, instanceState, METADATA, stateName, stateReason } from './instance.ts';
import type { Shown } from './instance.ts';
import { isoSeconds } from './time.ts';
import { blockDevices, ROOT_DEVICE_NAME, ROOT_DEVICE_TYPE } from './volume.ts';

/** Filters of EC2 for things that no lease has: known, and matching nothing. */
const ABSENT = absentFilters(
  'affinity', 'boot-mode', 'capacity-reservation-id', 'current-instance-boot-mode',
  'capacity-reservation-specification.capacity-reservation-preference', 'host-id', 'iam-instance-profile.arn',
  'iam-instance-profile.id', 'iam-instance-profile.name', 'ipv6-address', 'kernel-id', 'license-pool',
  'maintenance-options.auto-recovery', 'metadata-options.http-protocol-ipv4', 'metadata-options.http-protocol-ipv6',
  'metadata-options.instance-metadata-tags',
  'network-interface.addresses.association.allocation-id', 'network-interface.addresses.association.association-id',
  'network-interface.addresses.association.carrier-ip', 'network-interface.addresses.association.customer-owned-ip',
  'network-interface.addresses.association.ip-owner-id', 'network-interface.addresses.association.public-dns-name',
  'network-interface.addresses.association.public-ip', 'network-interface.association.allocation-id', 'network-interface.association.association-id',
  'network-interface.association.carrier-ip', 'network-interface.association.customer-owned-ip', 'network-interface.association.ip-owner-id',
  'network-interface.association.public-dns-name', 'network-interface.association.public-ip', 'network-interface.attachment.network-card-index',
  'network-interface.deny-all-igw-traffic', 'network-interface.ipv4-prefixes.ipv4-prefix', 'network-interface.ipv6-address',
  'network-interface.ipv6-addresses.ipv6-address', 'network-interface.ipv6-addresses.is-primary-ipv6', 'network-interface.ipv6-native',
  'network-interface.ipv6-prefixes.ipv6-prefix', 'network-interface.operator.managed', 'network-interface.operator.principal',
  'network-interface.outpost-arn', 'network-interface.public-dns-name', 'network-interface.requester-id', 'network-interface.tag-key',
  'network-interface.tag-value', 'network-performance-options.bandwidth-weighting', 'operator.managed', 'operator.principal', 'outpost-arn',
  'placement-group-name', 'placement-partition-number', 'platform', 'platform-details', 'private-dns-name-options.enable-resource-name-dns-a-record',
  'private-dns-name-options.enable-resource-name-dns-aaaa-record', 'private-dns-name-options.hostname-type', 'product-code', 'product-code.type',
  'ramdisk-id', 'tpm-support', 'usage-operation', 'usage-operation-update-time',
);

/** What filters on interfaces see: one value for each NIC of a live lease. */
const ofNics = (value: (nic: Nic, index: number, lease: LeaseView) => string | number | boolean) => (lease: LeaseView): Array<string | number | boolean> =>
  (STATES[lease.state].ec2 === 'terminated' ? [] : lease.nics.map((nic, index) => value(nic, index, lease)));

/** What a filter sees is what `instanceItem` shows. */
export const instanceFilters = ({ now, region }: Shown): FilterTable<LeaseView> => ({
  ...ABSENT,
  'architecture': () => 'x86_64',
  'availability-zone': (l) => l.zone,
  'availability-zone-id': (l) => l.zone,
  'block-device-mapping.attach-time': (l) => blockDevices(l).map((d) => isoSeconds(d.ebs.attachTime)),
  'block-device-mapping.delete-on-termination': (l) => blockDevices(l).map((d) => d.ebs.deleteOnTermination),
  'block-device-mapping.device-name': (l) => blockDevices(l).map((d) => d.deviceName),
  'block-device-mapping.status': (l) => blockDevices(l).map((d) => d.ebs.status),
  'block-device-mapping.volume-id': (l) => blockDevices(l).map((d) => d.ebs.volumeId),
  'client-token': (l) => l.clientToken ?? undefined,
  'dns-name': (l) => addresses(l)?.dns,
  'ebs-optimized': () => false,
  'ena-support': () => false,
  'enclave-options.enabled': () => false,
  'group-id': (l) => l.securityGroups.map((g) => g.id),
  'group-name': (l) => l.securityGroups.map((g) => g.name),
  'hibernation-options.configured': () => false,
  'hypervisor': () => 'kvm',
  'image-id': (l) => l.imageId,
  'instance-id': (l) => l.id,
  'instance-lifecycle': (l) => (l.spotRequestId === null ? undefined : 'spot'),
  'instance-state-code': (l) => instanceState(l).code,
  'instance-state-name': stateName,
  'instance-type': (l) => l.type,
  'instance.group-id': (l) => l.securityGroups.map((g) => g.id),
  'instance.group-name': (l) => l.securityGroups.map((g) => g.name),
  'ip-address': (l) => addresses(l)?.public,
  'key-name': (l) => l.keyName ?? undefined,
  'launch-index': (l) => l.launchIndex,
  'launch-time': (l) => isoSeconds(l.createdAt),
  'metadata-options.http-endpoint': () => METADATA.httpEndpoint,
  'metadata-options.http-put-response-hop-limit': () => METADATA.httpPutResponseHopLimit,
  'metadata-options.http-tokens': () => METADATA.httpTokens,
  'metadata-options.state': () => METADATA.state,
  'monitoring-state': () => 'disabled',
  'network-interface.addresses.primary': ofNics(() => true),
  'network-interface.addresses.private-dns-name': ofNics((n) => n.ip),
  'network-interface.addresses.private-ip-address': ofNics((n) => n.ip),
  'network-interface.attachment.attach-time': ofNics((_n, _i, l) => isoSeconds(l.createdAt)),
  'network-interface.attachment.attachment-id': ofNics((_n, i, l) => attachmentId(l.id, i)),
  'network-interface.attachment.delete-on-termination': ofNics(() => true),
  'network-interface.attachment.device-index': ofNics((_n, i) => i),
  'network-interface.attachment.instance-id': ofNics((_n, _i, l) => l.id),
  'network-interface.attachment.instance-owner-id': ofNics((_n, _i, l) => l.ownerId),
  'network-interface.attachment.status': ofNics(() => 'attached'),
  'network-interface.availability-zone': ofNics((_n, _i, l) => l.zone),
  'network-interface.description': ofNics((n) => n.network),
  'network-interface.group-id': (l) => l.securityGroups.map((g) => g.id),
  'network-interface.group-name': (l) => l.securityGroups.map((g) => g.name),
  'network-interface.mac-address': ofNics((n) => n.mac),
  'network-interface.network-interface-id': ofNics((_n, i, l) => interfaceId(l.id, i)),
  'network-interface.owner-id': ofNics((_n, _i, l) => l.ownerId),
  'network-interface.private-dns-name': ofNics((n) => n.ip),
  'network-interface.private-ip-address': ofNics((n) => n.ip),
  'network-interface.requester-managed': ofNics(() => false),
  'network-interface.source-dest-check': ofNics(() => false),
  'network-interface.status': ofNics(() => 'in-use'),
  'network-interface.subnet-id': ofNics((n, _i, l) => subnetId(n.network, l.zone)),
  'network-interface.vpc-id': ofNics(() => vpcId(region)),
  'owner-id': (l) => l.ownerId,
  'private-dns-name': (l) => addresses(l)?.private,
  'private-ip-address': (l) => addresses(l)?.private,
  'reason': (l) => stateReason(l, now)?.message,
  'requester-id': (l) => l.ownerId,
  'reservation-id': (l) => l.groupId,
  'root-device-name': () => ROOT_DEVICE_NAME,
  'root-device-type': () => ROOT_DEVICE_TYPE,
  'source-dest-check': () => false,
  'spot-instance-request-id': (l) => l.spotRequestId ?? undefined,
  'state-reason-code': (l) => stateReason(l, now)?.code,
  'state-reason-message': (l) => stateReason(l, now)?.message,
  'subnet-id': (l) => (l.nics[0] === undefined ? undefined : subnetId(l.nics[0].network, l.zone)),
  'tenancy': () => 'default',
  'vpc-id': (l) => (l.nics[0] === undefined ? undefined : vpcId(region)),
  'virtualization-type': () => 'hvm',
});
