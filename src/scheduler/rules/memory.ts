/** Memory is never oversubscribed. */
import type { Rule } from '../types.ts';

export const memory: Rule = {
  name: 'memory',
  allows: (node, demand) => node.memoryUsed + demand.memoryMb <= node.memoryMb,
  allowsEver: (node, demand) => demand.memoryMb <= node.memoryMb,
  reason: (node, demand) => `${demand.memoryMb} MiB of memory asked, ${node.memoryMb - node.memoryUsed} of ${node.memoryMb} free`,
};
