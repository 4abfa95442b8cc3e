/** Availability zones. A request that names none is placed in those that are allowed. */
import { matchesOne } from '../patterns.ts';
import type { Rule } from '../types.ts';

export const zones: Rule = {
  bound: 'zones',
  fault: 'NotAuthorized',
  check({ policy }, ask) {
    const limit = policy.bounds.zones;
    if (limit === undefined || ask.kind === 'extend') return undefined;
    const named = [...new Set(ask.parts.flatMap((p) => p.zone ?? []))];
    const refused = named.filter((zone) => !matchesOne(limit, zone));
    const open = named.length === ask.parts.length || ask.zones.length === 0 || ask.zones.some((zone) => matchesOne(limit, zone));
    return { limit, used: null, asked: refused.length > 0 ? refused : named.length > 0 ? named : 'any', ok: refused.length === 0 && open };
  },
};
