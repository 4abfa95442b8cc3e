/** `decide`: every bound of every policy that holds for a user against what he asks; and how many leases they leave room for. */
import { formatDuration } from '../lease/duration.ts';
import { Fault } from '../lease/faults.ts';
import { matchesOne } from './patterns.ts';
import { COUNTING, RULES } from './rules/index.ts';
import type { Applied, Ask, AskPart, Check, Rule, Use, Value } from './types.ts';

/** The policy that the service's configuration makes: for each user, before all others. */
export const CONFIGURATION = 'configuration';

/** Keys of the configuration behind the bounds of its policy. */
const CONFIG_KEYS: Readonly<Partial<Record<Rule['bound'], string>>> = {
  leases: 'lease.max_per_user', group_size: 'lease.max_group', duration: 'lease.max_duration',
};

export interface Decision {
  readonly allowed: boolean;
  /** In the order of the rules, and of the policies within one. */
  readonly checks: readonly Check[];
}

export function decide(applied: readonly Applied[], ask: Ask): Decision {
  const checks = RULES.flatMap((rule) => applied.flatMap((a): Check[] => {
    const verdict = rule.check(a, ask);
    return verdict === undefined ? [] : [{ policy: a.policy.name, bound: rule.bound, ...verdict }];
  }));
  return { allowed: checks.every((c) => c.ok), checks };
}

/** Of an ask that is allowed, the leases that each part may get: its least count, and of the rest what fits, in their order. */
export function counts(applied: readonly Applied[], ask: Ask): number[] {
  const room = applied.flatMap((a) => COUNTING.flatMap((rule) => {
    const left = rule.left(a);
    return left === undefined ? [] : [{ each: rule.each, left: left - ask.parts.reduce((sum, p) => sum + p.minCount * rule.each(p), 0) }];
  }));
  const largest = Math.min(...applied.map((a) => a.policy.bounds.group_size ?? Infinity));
  return ask.parts.map((part) => {
    const fits = room.map(({ left, each }) => (each(part) === 0 ? Infinity : Math.floor(left / each(part))));
    const more = Math.max(0, Math.min(part.maxCount - part.minCount, largest - part.minCount, ...fits));
    for (const r of room) r.left -= more * r.each(part);
    return part.minCount + more;
  });
}

/** What was granted counts at once for the next; a use that several policies share counts it once. */
export function take(applied: readonly Applied[], parts: readonly AskPart[], granted: readonly number[]): void {
  for (const use of new Set<Use>(applied.map((a) => a.use))) {
    for (const [i, part] of parts.entries()) {
      const n = granted[i] ?? 0;
      use.leases += n;
      use.cores += n * part.cores;
      use.memoryMb += n * part.memoryMb;
      use.reservedMinutes += n * part.minutes;
    }
  }
}

/** Zones of the site that all policies allow; null = no policy says anything of zones. */
export function allowedZones(applied: readonly Applied[], zones: readonly string[]): string[] | null {
  const bounds = applied.flatMap((a) => (a.policy.bounds.zones === undefined ? [] : [a.policy.bounds.zones]));
  return bounds.length === 0 ? null : zones.filter((zone) => bounds.every((patterns) => matchesOne(patterns, zone)));
}

/** Only of a decision that does not allow. */
export function refusal({ checks }: Decision, kind: Ask['kind']): Fault {
  const failed = checks.filter((c) => !c.ok);
  const first = failed[0];
  const rule = RULES.find((r) => r.bound === first?.bound);
  const policies = [...new Set(failed.map((c) => c.policy))];
  const whose = policies.length === 1 ? policyText(policies[0] ?? '') : `the policies ${policies.join(', ')}`;
  const what = kind === 'create' ? 'These leases are' : 'A later end is';
  return new Fault(rule?.fault ?? 'NotAuthorized', `${what} not within ${whose}`, failed.map(reason));
}

const policyText = (name: string): string => (name === CONFIGURATION ? 'the limits of this service' : `the policy ${name}`);

/** `policy students: leases: limit 4, used 3, asked 2` */
export function reason(c: Check): string {
  const unit = unitOf(c);
  const key = c.policy === CONFIGURATION ? CONFIG_KEYS[c.bound] ?? c.bound : `policy ${c.policy}: ${c.bound}`;
  const used = c.used === null ? '' : `, used ${valueText(c.used, unit)}`;
  return `${key}: limit ${valueText(c.limit, unit)}${used}, asked ${valueText(c.asked, unit)}`;
}

export const unitOf = (c: Pick<Check, 'bound'>): Rule['unit'] => RULES.find((r) => r.bound === c.bound)?.unit;

export function valueText(value: Value, unit: Rule['unit']): string {
  if (typeof value === 'number') return unit === 'seconds' ? formatDuration(value) : unit === undefined ? String(value) : `${value} ${unit}`;
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return typeof value === 'string' ? value : value.length === 0 ? 'none' : value.join(', ');
}
