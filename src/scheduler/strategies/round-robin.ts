/** Spreads: takes the emptiest node that fits. */
import { byFullness, byName } from '../order.ts';
import type { Pool } from '../pool.ts';
import { fits } from '../rules/index.ts';
import type { Demand, PoolNode } from '../types.ts';

export function roundRobin(pool: Pool, demand: Demand): PoolNode | undefined {
  let best: PoolNode | undefined;
  for (const shelf of pool.shelves()) {
    const node = shelf.emptiest(demand.memoryMb, (n) => fits(n, demand));
    if (node !== undefined && (best === undefined || (byFullness(node, best) || byName(node, best)) < 0)) best = node;
  }
  return best;
}
