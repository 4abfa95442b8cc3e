/** A lease is never given to a node whose agent does not answer. */
import type { Rule } from '../types.ts';

export const reachable: Rule = {
  name: 'reachable',
  allows: (node) => node.reachable,
  allowsEver: () => true,
  reason: () => 'its agent does not answer',
};
