/** Cores are never oversubscribed. */
import type { Rule } from '../types.ts';

export const cores: Rule = {
  name: 'cores',
  allows: (node, demand) => node.coresUsed + demand.cores <= node.cores,
  allowsEver: (node, demand) => demand.cores <= node.cores,
  reason: (node, demand) => `${demand.cores} ${demand.cores === 1 ? 'core' : 'cores'} asked, ${node.cores - node.coresUsed} of ${node.cores} free`,
};
