/** What a policy will be after a change, or everything that is wrong with it. */
import { boundsSchema, headSchema, type Bounds, type PolicyKind } from '../../authorization/settings.ts';
import { Fault } from '../../lease/faults.ts';
import { isName } from '../../lease/ids.ts';
import type { PolicyRow } from '../../store/policies.ts';
import type { PolicyChange } from '../admin-types.ts';

export const SITE = 'site';

export interface ChangedPolicy {
  readonly kind: PolicyKind;
  readonly description: string;
  readonly bounds: Bounds;
}

/** @throws Fault ParameterInvalid with a reason for each mistake */
export function changedPolicy(name: string, change: PolicyChange, before: PolicyRow | undefined): ChangedPolicy {
  const head = headSchema.safeParse({
    kind: change.kind ?? before?.kind ?? (name === SITE ? SITE : 'template'), description: change.description ?? before?.description ?? '',
  });
  const kept = keptBounds(change, before);
  const bounds = boundsSchema.safeParse(kept);
  const mistakes = [
    ...(isName(name) ? [] : ['a policy name is 1 to 64 letters, digits, ".", "_" or "-"']),
    ...(head.success ? kindMistakes(name, head.data.kind) : head.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`)),
    ...(bounds.success ? [] : bounds.error.issues.map((i) => (
      i.code === 'unrecognized_keys' ? `unknown bound ${i.keys.join(', ')}; there are ${Object.keys(boundsSchema.shape).join(', ')}` : `${i.path.join('.')}: ${i.message}`))),
    ...(kept['period'] !== undefined && kept['reserved_minutes'] === undefined && kept['used_minutes'] === undefined
      ? ['period: says over what reserved_minutes and used_minutes are counted; set one of them'] : []),
  ];
  if (mistakes.length > 0 || !head.success || !bounds.success) throw new Fault('ParameterInvalid', 'The policy has mistakes.', mistakes);
  return { ...head.data, bounds: bounds.data };
}

function keptBounds(change: PolicyChange, before: PolicyRow | undefined): Record<string, unknown> {
  const merged = { ...(change.replace ? {} : before?.bounds), ...change.bounds };
  return Object.fromEntries(Object.entries(merged).filter(([, v]) => v !== null));
}

function kindMistakes(name: string, kind: PolicyKind): string[] {
  if ((kind === SITE) !== (name === SITE)) return [`kind: the policy of kind ${SITE} is called ${SITE}, and no other is; ${name} cannot be of kind ${kind}`];
  if (name === 'default' && kind !== 'template') return [`kind: the policy default is the template of users who have no other; it cannot be of kind ${kind}`];
  return [];
}
