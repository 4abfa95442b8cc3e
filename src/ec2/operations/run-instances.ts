/** RunInstances: one request for leases. */
import { Fault } from '../../lease/faults.ts';
import { CLIENT_TOKEN, NAME } from '../../lease/ids.ts';
import type { CreateRequest } from '../../lease/types.ts';
import { base64, boolean, integer, list, required, shown, string, struct, unsupported } from '../inputs.ts';
import type { InputsOf } from '../inputs.ts';
import { DEFAULT_GROUP, reservation, reservationFields } from '../instance.ts';
import { operation } from '../operation.ts';
import { DURATION_TAG, durationOf, ON_PREEMPT_TAG, tagSpecifications, tagsFor } from '../tags.ts';
import { imageReference } from './images.ts';
import { keyName } from './key-pairs.ts';

/** EC2 user guide, "User data": 16 KB before encoding. */
const MAX_USER_DATA = 16_384;
const MAX_COUNT = 0x7fffffff;
const NAME_RULE = { pattern: NAME, must: 'must be letters, digits, ".", "_" or "-"' };

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
  Monitoring: struct({ Enabled: boolean }),
  SubnetId: string(),
  PrivateIpAddress: unsupported('Addresses are leased from the site\'s pools and cannot be chosen.'),
  LaunchTemplate: unsupported('This service has no launch templates: give image, type and key with the request.'),
  NetworkInterface: unsupported('The instance type says which networks a VM joins: choose a type instead of network interfaces.'),
  InstanceMarketOptions: unsupported('This service has no spot market: leave the market options out.'),
};

/** What would change the lease but cannot be had here is refused; what only tunes AWS's own machinery is read over. */
const IGNORED = [
  'AdditionalInfo', 'BlockDeviceMapping', 'CapacityReservationSpecification', 'CpuOptions', 'CreditSpecification', 'DisableApiStop',
  'DisableApiTermination', 'EbsOptimized', 'ElasticGpuSpecification', 'ElasticInferenceAccelerator', 'EnablePrimaryIpv6',
  'EnclaveOptions', 'HibernationOptions', 'IamInstanceProfile', 'InstanceInitiatedShutdownBehavior', 'KernelId',
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
    return first === undefined ? EMPTY : reservation(first, group.leases, ctx.clock.now());
  },
});

const EMPTY = { reservationId: '', ownerId: '', requesterId: '', groupSet: [], instancesSet: [] };

function createRequest(p: InputsOf<typeof input>): CreateRequest {
  if (p.MinCount > p.MaxCount) throw new Fault('ParameterConflict', `MinCount (${p.MinCount}) must not be more than MaxCount (${p.MaxCount}).`);
  refuseForeignNetworks(p);
  const tags = tagsFor('instance', p.TagSpecification, [DURATION_TAG, ON_PREEMPT_TAG]);
  const duration = tags[DURATION_TAG];
  return {
    minCount: p.MinCount,
    maxCount: p.MaxCount,
    image: p.ImageId,
    type: p.InstanceType,
    zone: p.Placement?.AvailabilityZone,
    keyName: p.KeyName,
    userData: p.UserData,
    durationS: duration === undefined ? undefined : durationOf(duration),
    clientToken: p.ClientToken,
    tags,
  };
}

function refuseForeignNetworks(p: InputsOf<typeof input>): void {
  const group = p.SecurityGroup.find((g) => g !== DEFAULT_GROUP.groupName) ?? p.SecurityGroupId.find((g) => g !== DEFAULT_GROUP.groupId && g !== 'default');
  if (group !== undefined) throw new Fault('ResourceNotFound', `The security group '${shown(group)}' does not exist; every VM is in the group 'default', and the site\'s networks decide what passes`, [], { ec2: 'InvalidGroup.NotFound' });
  if (p.SubnetId !== undefined) throw new Fault('ResourceNotFound', `The subnet ID '${shown(p.SubnetId)}' does not exist; the instance type says which networks a VM joins`, [], { ec2: 'InvalidSubnetID.NotFound' });
}
