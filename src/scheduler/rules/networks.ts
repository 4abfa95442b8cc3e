/** The node must offer every network that the VM joins; `*` offers all. */
import type { Rule } from '../types.ts';

const ALL = '*';

export const networks: Rule = {
  name: 'networks',
  allows: (node, demand) => node.networks.includes(ALL) || demand.networks.every((n) => node.networks.includes(n)),
  allowsEver: (node, demand) => networks.allows(node, demand),
  reason: (node, demand) => `not on network ${demand.networks.filter((n) => !node.networks.includes(n)).join(', ')}`,
};
