/** Fills the fullest node that fits, so that empty nodes stay empty for large requests. */
import { byFullness, byName } from '../order.ts';
import type { Pool } from '../pool.ts';
import { fits } from '../rules/index.ts';
import type { Demand, PoolNode } from '../types.ts';

export function greedy(pool: Pool, demand: Demand): PoolNode | undefined {
  let best: PoolNode | undefined;
  for (const shelf of pool.shelves()) {
    const node = shelf.fullest(demand.memoryMb, (n) => fits(n, demand));
    if (node !== undefined && (best === undefined || (byFullness(best, node) || byName(node, best)) < 0)) best = node;
  }
  return best;
}
