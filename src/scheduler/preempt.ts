/**
 * Which preemptible leases have to end so that a request has room: those of the lowest price, of these the newest, none that is
 * not needed, and none at all when even the end of all of them would not do. The pool is the same afterwards.
 */
import { plan } from './plan.ts';
import type { Pool } from './pool.ts';
import { fits } from './rules/index.ts';
import { isRefusal, type Demand, type PlanRequest, type Room, type StrategyName } from './types.ts';

export interface Preemptible extends Room {
  readonly id: string;
  readonly node: number;
  readonly price: number;
  /** ms */
  readonly createdAt: number;
  /** ms; it ends already: its room will be there by then without anybody's doing. null: it does not end. */
  readonly roomAt: number | null;
  /** On its node others do not end as they should: it is chosen last. */
  readonly doubtful: boolean;
}

/** Ids. */
export interface Preemption {
  /** Have to end; none when what ends already is enough. */
  readonly end: readonly string[];
  /** End already, and the request needs their room too. What else ends, elsewhere or on nodes that are not there, it need not wait for. */
  readonly ending: readonly string[];
}

/** Nodes that would take one of these VMs if nothing else were on them. */
export const nodesFor = (pool: Pool, demand: Demand): number[] => [...pool.nodes()].filter((n) => fits({ ...n, memoryUsed: 0, coresUsed: 0 }, demand)).map((n) => n.id);

/** Undefined: there is no room to be made. */
export function preempt(pool: Pool, request: PlanRequest, strategy: StrategyName, leases: readonly Preemptible[]): Preemption | undefined {
  const needed = { ...request, maxCount: request.minCount };
  const there = within(pool, leases);
  const ending = there.filter((l) => l.roomAt !== null).sort((a, b) => (a.roomAt ?? 0) - (b.roomAt ?? 0) || (a.id < b.id ? -1 : 1));
  const order = there.filter((l) => l.roomAt === null).sort((a, b) => Number(a.doubtful) - Number(b.doubtful) || a.price - b.price || b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));

  const enough = (gone: readonly Preemptible[]): boolean => {
    for (const l of gone) pool.release(l.node, l);
    try {
      return !isRefusal(plan(pool, needed, strategy));
    } finally {
      for (const l of gone) pool.take(l.node, l);
    }
  };
  const enoughBeside = (others: readonly Preemptible[]) => (some: readonly Preemptible[]): boolean => enough([...others, ...some]);

  if (!enough([...ending, ...order])) return undefined;
  const most = fewest(order.length, (n) => enough([...ending, ...order.slice(0, n)]));
  const ended = needless(order.slice(0, most), enoughBeside(ending));
  return { end: ids(ended), ending: ids(needless(ending, enoughBeside(ended))) };
}

const ids = (leases: readonly Preemptible[]): string[] => leases.map((l) => l.id);

/** Those whose room the pool counts: it is a snapshot, and a lease may be newer. */
function within(pool: Pool, leases: readonly Preemptible[]): Preemptible[] {
  const held = new Map<number, { memoryMb: number; cores: number }>();
  return leases.filter((l) => {
    const node = pool.node(l.node);
    const before = held.get(l.node) ?? { memoryMb: 0, cores: 0 };
    const sum = { memoryMb: before.memoryMb + l.memoryMb, cores: before.cores + l.cores };
    if (node === undefined || sum.memoryMb > node.memoryUsed || sum.cores > node.coresUsed) return false;
    held.set(l.node, sum);
    return true;
  });
}

/** The least number that is enough: whatever is enough is enough with more. */
function fewest(most: number, enough: (n: number) => boolean): number {
  let [low, high] = [0, most];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (enough(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Without those whose end changes nothing: they are on nodes that the request does not want, or too small. The last are left out first: the dearest, or those that take longest. */
function needless(chosen: readonly Preemptible[], enough: (some: readonly Preemptible[]) => boolean): readonly Preemptible[] {
  let left = chosen;
  for (const one of [...chosen].reverse()) {
    const without = left.filter((l) => l !== one);
    if (enough(without)) left = without;
  }
  return left;
}
