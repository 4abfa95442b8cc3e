/** VMs of one request; of an ensemble, of each of its groups. */
import type { Rule } from '../types.ts';

export const groupSize: Rule = {
  bound: 'group_size',
  fault: 'TooMany',
  check({ policy }, ask) {
    const limit = policy.bounds.group_size;
    if (limit === undefined || ask.kind === 'extend') return undefined;
    const asked = Math.max(...ask.parts.map((p) => p.minCount));
    return { limit, used: null, asked, ok: asked <= limit };
  },
};
