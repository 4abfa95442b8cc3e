/** RunInstances: one request for leases. */
import { Fault } from '../../lease/faults.ts';
import { CLIENT_TOKEN } from '../../lease/ids.ts';
import type { CreateRequest, SpotAsk } from '../../lease/types.ts';
import { boolean, integer, required, string, struct, unsupported } from '../inputs.ts';
import type { InputsOf } from '../inputs.ts';
import { reservation, reservationFields, shownTo } from '../instance.ts';
import { launchInputs, launchOf, NO_CHOICE, priceOf, timeOf } from '../launch.ts';
import { operation } from '../operation.ts';
import { DURATION_TAG, durationOf, ON_PREEMPT_TAG, tagSpecifications, tagsFor, writableTags } from '../tags.ts';

const MAX_COUNT = 0x7fffffff;

const input = {
  ...launchInputs,
  MinCount: required(integer(1, MAX_COUNT)),
  MaxCount: required(integer(1, MAX_COUNT)),
  ClientToken: string({ max: 64, pattern: CLIENT_TOKEN, must: 'must be printable ASCII without spaces' }),
  TagSpecification: tagSpecifications,
  DisableApiTermination: boolean,
  DisableApiStop: boolean,
  InstanceInitiatedShutdownBehavior: string({ oneOf: ['stop', 'terminate'] }),
  PrivateIpAddress: unsupported(NO_CHOICE),
  LaunchTemplate: unsupported('This service has no launch templates: give image, type and key with the request.'),
  InstanceMarketOptions: struct({
    MarketType: string({ oneOf: ['spot'] }),
    SpotOptions: struct({
      MaxPrice: string(), SpotInstanceType: string({ oneOf: ['one-time', 'persistent'] }), ValidUntil: string(),
      InstanceInterruptionBehavior: string({ oneOf: ['terminate'] }), BlockDurationMinutes: unsupported('No time is reserved for spot instances.'),
    }),
  }),
};

/** What would change the lease but cannot be had here is refused; what only tunes AWS's own machinery is read over. */
const IGNORED = [
  'AdditionalInfo', 'CapacityReservationSpecification', 'CpuOptions', 'CreditSpecification', 'EbsOptimized',
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
  errors: ['ImageIdMalformed', 'ImageNotFound', 'KeyPairNotFound', 'UserDataMalformed', 'TypeUnknown', 'ZoneUnknown', 'SubnetNotFound', 'SecurityGroupNotFound', 'NoCapacity', 'TooMany', 'DurationRefused', 'NotAuthorized', 'TokenMismatch', 'TagRefused', 'ParameterConflict', 'Unsupported'],
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
    ...launchOf(p),
    minCount: p.MinCount,
    maxCount: p.MaxCount,
    durationS: duration === undefined ? undefined : durationOf(duration),
    clientToken: p.ClientToken,
    endProtected: p.DisableApiTermination,
    stopProtected: p.DisableApiStop,
    rests: p.InstanceInitiatedShutdownBehavior === undefined ? undefined : p.InstanceInitiatedShutdownBehavior === 'stop',
    tags,
    volumeTags: volumeTagsOf(p.TagSpecification),
    spot: spotOf(p),
  };
}

/** Those of other types are looked at with the instances'. */
function volumeTagsOf(specs: InputsOf<typeof input>['TagSpecification']): CreateRequest['volumeTags'] {
  const tags = writableTags(specs.filter((s) => s.ResourceType === 'volume').flatMap((s) => s.Tag));
  return Object.keys(tags).length === 0 ? undefined : tags;
}

function spotOf(p: InputsOf<typeof input>): SpotAsk | undefined {
  const market = p.InstanceMarketOptions;
  if (market === undefined) return undefined;
  if (market.MarketType === undefined) throw new Fault('ParameterMissing', 'The request must contain the parameter InstanceMarketOptions.MarketType');
  const options = market.SpotOptions;
  const persistent = options?.SpotInstanceType === 'persistent';
  const validUntil = timeOf(options?.ValidUntil, 'InstanceMarketOptions.SpotOptions.ValidUntil');
  if (validUntil !== undefined && !persistent) throw new Fault('ParameterConflict', 'ValidUntil is of persistent requests: a one-time request of RunInstances is fulfilled at once, or refused.');
  // Those of other types are looked at with the instances'.
  const tags = writableTags(p.TagSpecification.filter((s) => s.ResourceType === 'spot-instances-request').flatMap((s) => s.Tag));
  return { price: priceOf(options?.MaxPrice, 'InstanceMarketOptions.SpotOptions.MaxPrice'), persistent, validUntil, tags };
}
