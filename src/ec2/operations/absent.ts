/**
 * Things of EC2 that this service does not have, but that clients look for on their way: one default security group; no
 * VPCs, subnets, volumes, snapshots, addresses. Naming one is a fault, asking for all of them is not.
 */
import { Fault } from '../../lease/faults.ts';
import { filterBy, filters } from '../filters.ts';
import { list as inputList, shown, string } from '../inputs.ts';
import type { InputFields } from '../inputs.ts';
import { DEFAULT_GROUP } from '../instance.ts';
import { operation } from '../operation.ts';
import type { Operation } from '../operation.ts';
import { list, struct, text } from '../outputs.ts';
import { pagingInputs } from '../paging.ts';
import { tagSet } from '../tags.ts';

export const describeSecurityGroups = operation({
  name: 'DescribeSecurityGroups',
  summary: 'Shows the one group that every instance is in.',
  input: { GroupName: inputList(string()), GroupId: inputList(string()), Filter: filters, ...pagingInputs },
  output: {
    securityGroupInfo: list(struct({
      ownerId: text, groupId: text, groupName: text, groupDescription: text,
      ipPermissions: list(struct({})), ipPermissionsEgress: list(struct({})), tagSet,
    })),
  },
  mutates: false,
  async run({ caller }, p) {
    const missing = p.GroupName.find((n) => n !== DEFAULT_GROUP.groupName) ?? p.GroupId.find((id) => id !== DEFAULT_GROUP.groupId);
    if (missing !== undefined) throw new Fault('ResourceNotFound', `The security group '${shown(missing)}' does not exist`, [], { ec2: 'InvalidGroup.NotFound' });
    const group = {
      ownerId: caller.ownerId, ...DEFAULT_GROUP, groupDescription: 'The only group; the site\'s networks decide what passes',
      ipPermissions: [], ipPermissionsEgress: [], tagSet: [],
    };
    const keep = filterBy<typeof group>(p.Filter, {
      'description': (g) => g.groupDescription,
      'group-id': (g) => g.groupId,
      'group-name': (g) => g.groupName,
      'owner-id': (g) => g.ownerId,
      'vpc-id': () => undefined,
    }, () => ({}));
    return { securityGroupInfo: keep(group) ? [group] : [] };
  },
});

interface Absent {
  readonly name: string;
  readonly set: string;
  /** Parameters that name one, and the code when one is named. */
  readonly ids: Readonly<Record<string, string>>;
}

/** Any filter is accepted: of nothing, every filter leaves nothing. */
function absent({ name, set, ids }: Absent): Operation {
  const input: InputFields = { ...Object.fromEntries(Object.keys(ids).map((id) => [id, inputList(string())])), Filter: filters, ...pagingInputs };
  return operation({
    name,
    summary: 'Answers that there are none.',
    input,
    ignored: ['IncludeManagedResources', 'Owner', 'RestorableBy'],
    output: { [set]: list(struct({})) },
    mutates: false,
    async run(_call, p) {
      for (const [id, code] of Object.entries(ids)) {
        const named = (p[id] as readonly string[])[0];
        if (named !== undefined) throw new Fault('ResourceNotFound', `The ID '${shown(named)}' does not exist`, [], { ec2: code });
      }
      return { [set]: [] };
    },
  });
}

export const describeVpcs = absent({ name: 'DescribeVpcs', set: 'vpcSet', ids: { VpcId: 'InvalidVpcID.NotFound' } });
export const describeSubnets = absent({ name: 'DescribeSubnets', set: 'subnetSet', ids: { SubnetId: 'InvalidSubnetID.NotFound' } });
export const describeVolumes = absent({ name: 'DescribeVolumes', set: 'volumeSet', ids: { VolumeId: 'InvalidVolume.NotFound' } });
export const describeSnapshots = absent({ name: 'DescribeSnapshots', set: 'snapshotSet', ids: { SnapshotId: 'InvalidSnapshot.NotFound' } });
export const describeAddresses = absent({ name: 'DescribeAddresses', set: 'addressesSet', ids: { PublicIp: 'InvalidAddress.NotFound', AllocationId: 'InvalidAllocationID.NotFound' } });
