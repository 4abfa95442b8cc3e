/** A drained node keeps its leases and gets no new ones. */
import type { Rule } from '../types.ts';

export const active: Rule = {
  name: 'active',
  allows: (node) => node.active,
  allowsEver: () => true,
  reason: () => 'drained by an administrator',
};
