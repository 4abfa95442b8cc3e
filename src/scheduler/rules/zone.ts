/** A request that names a zone gets nodes of that zone only, and any request only nodes of the zones that it may use. */
import type { Rule } from '../types.ts';

export const zone: Rule = {
  name: 'zone',
  allows: (node, demand) => (demand.zone === undefined || node.zone === demand.zone) && (demand.zones === undefined || demand.zones.includes(node.zone)),
  allowsEver: (node, demand) => zone.allows(node, demand),
  reason: (node, demand) => (demand.zone === undefined || node.zone === demand.zone ? `in zone ${node.zone}, which is not allowed` : `in zone ${node.zone}, ${demand.zone} asked`),
};
