/** A rule on what a request names: each must be one that the policy allows. */
import { matchesOne } from '../patterns.ts';
import type { BoundName } from '../settings.ts';
import type { AskPart, Rule } from '../types.ts';

export function namingRule(bound: Extract<BoundName, 'networks' | 'types'>, named: (part: AskPart) => readonly string[]): Rule {
  return {
    bound,
    fault: 'NotAuthorized',
    check({ policy }, ask) {
      const limit = policy.bounds[bound];
      if (limit === undefined || ask.kind === 'extend') return undefined;
      const all = [...new Set(ask.parts.flatMap(named))];
      const refused = all.filter((name) => !matchesOne(limit, name));
      return { limit, used: null, asked: refused.length > 0 ? refused : all, ok: refused.length === 0 };
    },
  };
}
