/**
 * Tags of resources. The `nimbus:` prefix is the service's own, as `aws:` is Amazon's: `nimbus:duration` sets a lease's
 * time and is kept as written, `nimbus:on-preempt` says whether its disk is saved when its node is taken away, `nimbus:ends` shows (and in CreateTags sets) its end, `nimbus:ssh` says how to log in where
 * only a forwarded port leads to the guest.
 */
import { parseDuration } from '../lease/duration.ts';
import { Fault } from '../lease/faults.ts';
import { DURATION_TAG, ON_PREEMPT_TAG } from '../manager/tag-rules.ts';
import type { LeaseView, NewEnd } from '../manager/types.ts';
import { list, required, shown, string, struct } from './inputs.ts';
import * as out from './outputs.ts';
import { isoSeconds, parseIso } from './time.ts';

export { DURATION_TAG, ON_PREEMPT_TAG };
export const ENDS_TAG = 'nimbus:ends';
export const SSH_TAG = 'nimbus:ssh';
const RESERVED = /^(?:nimbus|aws):/i;

/** EC2's limits: keys of 128, values of 256 characters (EC2 user guide, "Tag restrictions"). */
const key = string({ max: 128, fault: 'TagRefused', must: 'is not allowed' });
const value = string({ max: 256, empty: true });
const tag = struct({ Key: required(key), Value: value });

export type TagInput = { readonly Key: string; readonly Value: string | undefined };

export const tagList = list(tag, 200);
/** `TagSpecification.N.ResourceType` and its tags, given while a resource is made. */
export const tagSpecifications = list(struct({ ResourceType: required(string()), Tag: tagList }), 20);

export const tagSet = out.list(out.struct({ key: out.text, value: out.text }));

export function tagItems(tags: Readonly<Record<string, string>>): Array<{ key: string; value: string }> {
  return Object.keys(tags).sort().map((k) => ({ key: k, value: tags[k] as string }));
}

/** Tags that a request may set: the service's own are refused but those named in `allowed`. */
export function writableTags(tags: readonly TagInput[], allowed: readonly string[] = []): Record<string, string> {
  const found = new Map<string, string>();
  for (const t of tags) {
    refuseReserved(t.Key, allowed);
    if (found.has(t.Key)) throw new Fault('ParameterInvalid', `Tag keys must be unique; ${shown(t.Key)} is given twice.`);
    found.set(t.Key, t.Value ?? '');
  }
  return Object.fromEntries(found);
}

export function refuseReserved(tagKey: string, allowed: readonly string[]): void {
  if (RESERVED.test(tagKey) && !allowed.includes(tagKey)) {
    throw new Fault('TagRefused', `The tag ${shown(tagKey)} is the service's own; of these, ${DURATION_TAG} and ${ON_PREEMPT_TAG} may be set.`);
  }
}

/** Tags for one resource type; specifications for interfaces and snapshots, which have no tags of their own here, are read over. */
export function tagsFor(type: 'instance' | 'key-pair' | 'image' | 'security-group' | 'security-group-rule' | 'spot-instances-request', specs: ReadonlyArray<{ ResourceType: string; Tag: readonly TagInput[] }>, allowed: readonly string[] = []): Record<string, string> {
  const known = type === 'instance' ? ['instance', 'volume', 'network-interface', 'spot-instances-request'] : type === 'image' ? ['image', 'snapshot'] : [type];
  const odd = specs.find((s) => !known.includes(s.ResourceType));
  if (odd !== undefined) throw new Fault('ParameterInvalid', `'${shown(odd.ResourceType)}' is not a valid taggable resource type for this operation.`);
  return writableTags(specs.filter((s) => s.ResourceType === type).flatMap((s) => s.Tag), allowed);
}

export function durationOf(text: string): number {
  const seconds = parseDuration(text);
  if (seconds === undefined) throw new Fault('ParameterInvalid', `Value (${shown(text)}) for tag ${DURATION_TAG} is invalid: write e.g. 90m, 2h, 1d12h or PT2H.`);
  return seconds;
}

/** Without the lease's end, which the lease itself keeps. */
export function keptTags(tags: Readonly<Record<string, string>>): Record<string, string> {
  const { [ENDS_TAG]: _ends, ...kept } = tags;
  return kept;
}

/** The end that tags ask for, if any. */
export function endFromTags(tags: Readonly<Record<string, string>>): NewEnd | undefined {
  const duration = tags[DURATION_TAG];
  const ends = tags[ENDS_TAG];
  if (duration !== undefined && ends !== undefined) throw new Fault('ParameterConflict', `${DURATION_TAG} and ${ENDS_TAG} exclude each other.`);
  if (duration !== undefined) return { durationS: durationOf(duration) };
  if (ends === undefined) return undefined;
  const endsAt = parseIso(ends);
  if (endsAt === undefined) throw new Fault('ParameterInvalid', `Value (${shown(ends)}) for tag ${ENDS_TAG} is invalid: write a time as 2026-11-22T14:41:03Z.`);
  return { endsAt };
}

/** The tags that the service adds to a lease's own. */
function addedTags(lease: LeaseView): Array<{ key: string; value: string }> {
  const added: Array<{ key: string; value: string }> = [];
  if (lease.endsAt !== null) added.push({ key: ENDS_TAG, value: isoSeconds(lease.endsAt) });
  if (lease.reach?.forwarded === true) added.push({ key: SSH_TAG, value: `ssh -p ${lease.reach.sshPort} root@${lease.reach.host}` });
  return added;
}

export function leaseTagItems(lease: LeaseView): Array<{ key: string; value: string }> {
  const own = tagItems(lease.tags);
  own.push(...addedTags(lease));
  return own;
}

export function leaseTags(lease: LeaseView): Readonly<Record<string, string>> {
  return { ...lease.tags, ...Object.fromEntries(addedTags(lease).map((t) => [t.key, t.value])) };
}
