/** Whether users may move the end of their leases to a later moment; a sooner one is always theirs to ask for. */
import type { Rule } from '../types.ts';

export const mayExtend: Rule = {
  bound: 'may_extend',
  fault: 'NotAuthorized',
  check({ policy }, ask) {
    const limit = policy.bounds.may_extend;
    if (limit === undefined || ask.kind === 'create') return undefined;
    return { limit, used: null, asked: 'a later end', ok: limit };
  },
};
