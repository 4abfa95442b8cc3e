/**
 * Minutes used in the period: once they are used up there are no further leases and no later ends. What is asked is not used
 * yet and does not count; `reserved_minutes` bounds that.
 */
import type { Rule } from '../types.ts';

export const usedMinutes: Rule = {
  bound: 'used_minutes',
  fault: 'TooMany',
  unit: 'minutes',
  check({ policy, use, closedMinutes, runningMinutes }) {
    const limit = policy.bounds.used_minutes;
    if (limit === undefined) return undefined;
    const used = closedMinutes + (runningMinutes ?? use.reservedMinutes);
    return { limit, used, asked: 'more', ok: used < limit };
  },
};
