/** Why nodes were refused, in at most a screenful of sentences. */
import { byName } from './order.ts';
import type { Pool } from './pool.ts';
import { brokenRule } from './rules/index.ts';
import type { Demand, PoolNode } from './types.ts';

/** Up to so many nodes each get a sentence. */
export const NODES_NAMED = 20;
const EXAMPLES = 3;

/** `taken` = what the group itself would have taken already, by node id. */
export function reasonsFor(pool: Pool, demand: Demand, taken: ReadonlyMap<number, number>): string[] {
  if (pool.size === 0) return ['the site has no VMM node'];
  const nodes = [...pool.nodes()].sort(byName);
  return nodes.length <= NODES_NAMED
    ? nodes.map((node) => sentence(node, demand, taken))
    : grouped(nodes, demand, taken);
}

function sentence(node: PoolNode, demand: Demand, taken: ReadonlyMap<number, number>): string {
  const count = taken.get(node.id) ?? 0;
  return `${node.name}: ${count > 0 ? `takes ${count}, then ` : ''}${brokenRule(node, demand)?.reason(node, demand) ?? 'fits'}`;
}

function grouped(nodes: readonly PoolNode[], demand: Demand, taken: ReadonlyMap<number, number>): string[] {
  const groups = new Map<string, PoolNode[]>();
  for (const node of nodes) {
    const rule = brokenRule(node, demand)?.name ?? '';
    const members = groups.get(rule);
    if (members === undefined) groups.set(rule, [node]);
    else members.push(node);
  }
  return [...groups].map(([rule, members]) => {
    const examples = members.slice(0, EXAMPLES).map((node) => sentence(node, demand, taken));
    return `${members.length} ${members.length === 1 ? 'node' : 'nodes'} refused by ${rule}, e.g. ${examples.join(', ')}`;
  });
}
