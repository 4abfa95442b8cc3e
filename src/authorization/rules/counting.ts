/** A rule on something that leases take and give back: what is used and what is asked must come to no more than the limit. */
import type { BoundName, Bounds } from '../settings.ts';
import type { Applied, Ask, AskPart, CountingRule, Rule } from '../types.ts';

export function countingRule(rule: {
  readonly bound: Extract<BoundName, 'leases' | 'cores' | 'memory_mb' | 'reserved_minutes'>;
  readonly unit?: Rule['unit'];
  readonly extensions: boolean;
  readonly used: (applied: Applied) => number;
  readonly each: (part: AskPart) => number;
}): CountingRule {
  const limitOf = (bounds: Bounds): number | undefined => bounds[rule.bound];
  const asked = (ask: Ask): number => ask.parts.reduce((sum, p) => sum + p.minCount * rule.each(p), 0);
  return {
    bound: rule.bound,
    fault: 'TooMany',
    ...(rule.unit === undefined ? {} : { unit: rule.unit }),
    check(applied, ask) {
      const limit = limitOf(applied.policy.bounds);
      if (limit === undefined || (ask.kind === 'extend' && !rule.extensions)) return undefined;
      const used = rule.used(applied);
      return { limit, used, asked: asked(ask), ok: used + asked(ask) <= limit };
    },
    left(applied) {
      const limit = limitOf(applied.policy.bounds);
      return limit === undefined ? undefined : limit - rule.used(applied);
    },
    each: rule.each,
  };
}
