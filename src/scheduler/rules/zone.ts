/** A request that names a zone gets nodes of that zone only. */
import type { Rule } from '../types.ts';

export const zone: Rule = {
  name: 'zone',
  allows: (node, demand) => demand.zone === undefined || node.zone === demand.zone,
  allowsEver: (node, demand) => zone.allows(node, demand),
  reason: (node, demand) => `in zone ${node.zone}, ${demand.zone} asked`,
};
