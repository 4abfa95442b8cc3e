/** CreateTags, DeleteTags, DescribeTags. On an instance, nimbus:duration and nimbus:ends move the lease's end. */
import { Fault } from '../../lease/faults.ts';
import { GROUP_ID, IMAGE_ID, KEY_PAIR_ID, LEASE_ID, SECURITY_GROUP_ID, SECURITY_RULE_ID, SPOT_REQUEST_ID, VOLUME_ID } from '../../lease/ids.ts';
import type { TagView } from '../../manager/types.ts';
import { filterBy, filters } from '../filters.ts';
import { list as inputList, required, shown, string } from '../inputs.ts';
import { operation } from '../operation.ts';
import { boolean, list, optional, struct, text } from '../outputs.ts';
import { page, pagingInputs } from '../paging.ts';
import { DURATION_TAG, ENDS_TAG, endFromTags, keptTags, ON_PREEMPT_TAG, refuseReserved, tagList, writableTags } from '../tags.ts';

const RESOURCE_IDS = [LEASE_ID, IMAGE_ID, KEY_PAIR_ID, GROUP_ID, SECURITY_GROUP_ID, SECURITY_RULE_ID, SPOT_REQUEST_ID, VOLUME_ID];
const resourceIds = required(inputList(string({ max: 64 })));

function checkIds(ids: readonly string[]): string[] {
  const odd = ids.find((id) => !RESOURCE_IDS.some((shape) => shape.test(id)));
  if (odd !== undefined) throw new Fault('ResourceNotFound', `The ID '${shown(odd)}' is not valid; instances, their volumes, reservations, images, key pairs, security groups, their rules and spot requests have tags here`);
  return [...new Set(ids)];
}

export const createTags = operation({
  name: 'CreateTags',
  summary: 'Sets tags; nimbus:duration (from now) or nimbus:ends moves the end of the leases named.',
  input: { ResourceId: resourceIds, Tag: required(tagList) },
  output: { return: boolean },
  errors: ['ResourceNotFound', 'TagRefused', 'TagLimit', 'DurationRefused', 'ParameterConflict'],
  mutates: true,
  // A duration counts from now, so a repetition would move the end again.
  repeatable: (p) => !p.Tag.some((t) => t.Key === DURATION_TAG),
  async run({ manager, caller, dryRun }, p) {
    const ids = checkIds(p.ResourceId);
    const tags = writableTags(p.Tag, [DURATION_TAG, ENDS_TAG, ON_PREEMPT_TAG]);
    const end = endFromTags(tags);
    const other = ids.find((id) => !LEASE_ID.test(id));
    if (other !== undefined && end !== undefined) throw new Fault('TagRefused', `Only instances have an end; ${other} is none.`);
    if (other !== undefined && ON_PREEMPT_TAG in tags) throw new Fault('TagRefused', `Only instances have a node that can be taken away; ${other} is none.`);
    await manager.tags.set(caller, ids, keptTags(tags), { dryRun, end });
    return { return: true };
  },
});

export const deleteTags = operation({
  name: 'DeleteTags',
  summary: 'Removes tags: all of the user\'s when none is named. The time of a lease stays as it is.',
  input: { ResourceId: resourceIds, Tag: tagList },
  output: { return: boolean },
  errors: ['ResourceNotFound', 'TagRefused'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const ids = checkIds(p.ResourceId);
    for (const t of p.Tag) refuseReserved(t.Key, [DURATION_TAG, ON_PREEMPT_TAG]);
    await manager.tags.remove(caller, ids, p.Tag.map((t) => ({ key: t.Key, value: t.Value })), { dryRun });
    return { return: true };
  },
});

export const describeTags = operation({
  name: 'DescribeTags',
  summary: 'Shows the tags that users have set; those that the service adds are shown with the instances.',
  input: { Filter: filters, ...pagingInputs },
  output: {
    tagSet: list(struct({ resourceId: text, resourceType: text, key: text, value: text })),
    nextToken: optional(text),
  },
  errors: ['TokenPageInvalid'],
  mutates: false,
  async run({ manager, caller }, p) {
    const keep = filterBy<TagView>(p.Filter, {
      'key': (t) => t.key,
      'resource-id': (t) => t.resourceId,
      'resource-type': (t) => t.resourceType,
      'value': (t) => t.value,
    }, (t) => ({ [t.key]: t.value }));
    const tags = (await manager.tags.list(caller)).filter(keep);
    const { items, nextToken } = page('DescribeTags', tags, (t) => `${t.resourceId} ${t.key}`, p);
    return { tagSet: items, nextToken };
  },
});
