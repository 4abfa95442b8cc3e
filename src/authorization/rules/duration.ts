/** Longest time of a lease, from its beginning to its end, however often it was extended. */
import type { Rule } from '../types.ts';

export const duration: Rule = {
  bound: 'duration',
  fault: 'DurationRefused',
  unit: 'seconds',
  check({ policy }, ask) {
    const limit = policy.bounds.duration;
    if (limit === undefined) return undefined;
    const asked = Math.max(...ask.parts.map((p) => p.durationS));
    return { limit, used: null, asked, ok: asked <= limit };
  },
};
