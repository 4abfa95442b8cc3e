/** Things of EC2 that this service does not have, but that clients look for on their way. Naming one is a fault, asking for all of them is not. */
import { Fault } from '../../lease/faults.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import { list as inputList, shown, string } from '../inputs.ts';
import type { InputFields } from '../inputs.ts';
import { operation } from '../operation.ts';
import type { Operation } from '../operation.ts';
import { list, struct } from '../outputs.ts';
import { pagingInputs } from '../paging.ts';

interface Absent {
  readonly name: string;
  readonly set: string;
  /** Parameters that name one, and the code when one is named. */
  readonly ids: Readonly<Record<string, string>>;
  /** Those of the reference, beside tags. */
  readonly filters: readonly string[];
  readonly ignored?: readonly string[];
}

function absent({ name, set, ids, filters: known, ignored = [] }: Absent): Operation {
  const input: InputFields = { ...Object.fromEntries(Object.keys(ids).map((id) => [id, inputList(string())])), Filter: filters, ...pagingInputs };
  const table = absentFilters(...known);
  return operation({
    name,
    summary: 'Answers that there are none.',
    input,
    ignored,
    output: { [set]: list(struct({})) },
    errors: ['ResourceNotFound'],
    mutates: false,
    async run(_call, p) {
      filterBy(p['Filter'] as [], table, () => ({}));
      for (const [id, code] of Object.entries(ids)) {
        const named = (p[id] as readonly string[])[0];
        if (named !== undefined) throw new Fault('ResourceNotFound', `The ID '${shown(named)}' does not exist`, [], { ec2: code });
      }
      return { [set]: [] };
    },
  });
}

/** Disks do not grow. */
export const describeVolumesModifications = absent({
  name: 'DescribeVolumesModifications', set: 'volumeModificationSet', ids: { VolumeId: 'InvalidVolumeModification.NotFound' }, ignored: ['IncludeManagedResources'],
  filters: [
    'modification-state', 'original-iops', 'original-size', 'original-volume-type', 'start-time', 'target-iops', 'target-size', 'target-volume-type', 'volume-id',
  ],
});

export const describeSnapshots = absent({
  name: 'DescribeSnapshots', set: 'snapshotSet', ids: { SnapshotId: 'InvalidSnapshot.NotFound' }, ignored: ['Owner', 'RestorableBy'],
  filters: [
    'description', 'encrypted', 'owner-alias', 'owner-id', 'progress', 'snapshot-id', 'start-time', 'status', 'storage-tier', 'transfer-type', 'volume-id',
    'volume-size',
  ],
});

export const describeAddresses = absent({
  name: 'DescribeAddresses', set: 'addressesSet', ids: { PublicIp: 'InvalidAddress.NotFound', AllocationId: 'InvalidAllocationID.NotFound' },
  filters: [
    'allocation-id', 'association-id', 'domain', 'instance-id', 'network-border-group', 'network-interface-id', 'network-interface-owner-id',
    'private-ip-address', 'public-ip',
  ],
});

/** The VPC's own are called `default`, which are no object in EC2 either. */
export const describeDhcpOptions = absent({
  name: 'DescribeDhcpOptions', set: 'dhcpOptionsSet', ids: { DhcpOptionsId: 'InvalidDhcpOptionID.NotFound' }, filters: ['dhcp-options-id', 'key', 'owner-id', 'value'],
});

export const describeNetworkAcls = absent({
  name: 'DescribeNetworkAcls', set: 'networkAclSet', ids: { NetworkAclId: 'InvalidNetworkAclID.NotFound' },
  filters: [
    'association.association-id', 'association.network-acl-id', 'association.subnet-id', 'default', 'entry.cidr', 'entry.egress', 'entry.icmp.code', 'entry.icmp.type',
    'entry.ipv6-cidr', 'entry.port-range.from', 'entry.port-range.to', 'entry.protocol', 'entry.rule-action', 'entry.rule-number', 'network-acl-id', 'owner-id', 'vpc-id',
  ],
});

export const describeNatGateways = absent({
  name: 'DescribeNatGateways', set: 'natGatewaySet', ids: { NatGatewayId: 'NatGatewayNotFound' }, filters: ['nat-gateway-id', 'state', 'subnet-id', 'vpc-id'],
});

export const describeVpcPeeringConnections = absent({
  name: 'DescribeVpcPeeringConnections', set: 'vpcPeeringConnectionSet', ids: { VpcPeeringConnectionId: 'InvalidVpcPeeringConnectionID.NotFound' },
  filters: [
    'accepter-vpc-info.cidr-block', 'accepter-vpc-info.owner-id', 'accepter-vpc-info.vpc-id', 'expiration-time', 'requester-vpc-info.cidr-block',
    'requester-vpc-info.owner-id', 'requester-vpc-info.vpc-id', 'status-code', 'status-message', 'vpc-peering-connection-id',
  ],
});

export const describePlacementGroups = absent({
  name: 'DescribePlacementGroups', set: 'placementGroupSet', ids: { GroupName: 'InvalidPlacementGroup.Unknown', GroupId: 'InvalidPlacementGroup.Unknown' },
  filters: ['group-arn', 'group-name', 'spread-level', 'state', 'strategy'],
});

export const describeLaunchTemplates = absent({
  name: 'DescribeLaunchTemplates', set: 'launchTemplates',
  ids: { LaunchTemplateId: 'InvalidLaunchTemplateId.NotFound', LaunchTemplateName: 'InvalidLaunchTemplateName.NotFoundException' }, ignored: ['IncludeManagedResources'],
  filters: ['create-time', 'launch-template-name'],
});
