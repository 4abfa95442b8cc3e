/**
 * Which preemptible leases have to end so that a request has room: those of the lowest price, of these the newest, none that is
 * not needed, and none at all when even the end of all of them would not do. The pool is the same afterwards.
 */
import type { Pool } from './pool.ts';
import { fits } from './rules/index.ts';
import type { Demand, PlanRequest, PoolNode, Room } from './types.ts';

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
export function preempt(pool: Pool, request: PlanRequest, leases: readonly Preemptible[]): Preemption | undefined {
  const there = within(pool, leases);
  const ending = there.filter((l) => l.roomAt !== null).sort((a, b) => (a.roomAt ?? 0) - (b.roomAt ?? 0) || (a.id < b.id ? -1 : 1));
  const order = there.filter((l) => l.roomAt === null).sort((a, b) => Number(a.doubtful) - Number(b.doubtful) || a.price - b.price || b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));

  const room = roomFor(pool, request);
  for (const l of ending) room.end(l);
  const first: Preemptible[] = [];
  for (const l of order) {
    if (room.vms() >= request.minCount) break;
    room.end(l);
    first.push(l);
  }
  if (room.vms() < request.minCount) return undefined;
  const ended = needed(room, request.minCount, first);
  return { end: ids(ended), ending: ids(needed(room, request.minCount, ending)) };
}

/** Counts with leases gone, without touching the pool. */
interface RoomCount {
  end(lease: Preemptible): void;
  stay(lease: Preemptible): void;
  /** How many of the request's VMs there is room for. They are alike, so it does not matter in which order nodes are filled. */
  vms(): number;
}

function roomFor(pool: Pool, demand: Demand): RoomCount {
  const changed = new Map<number, PoolNode>();
  let vms = 0;
  for (const n of pool.nodes()) vms += fitting(n, demand);
  function change(lease: Preemptible, sign: 1 | -1): void {
    const before = changed.get(lease.node) ?? pool.node(lease.node);
    if (before === undefined) return;
    const after = { ...before, memoryUsed: before.memoryUsed + sign * lease.memoryMb, coresUsed: before.coresUsed + sign * lease.cores };
    vms += fitting(after, demand) - fitting(before, demand);
    changed.set(lease.node, after);
  }
  return { end: (l) => change(l, -1), stay: (l) => change(l, 1), vms: () => vms };
}

const fitting = (n: PoolNode, demand: Demand): number =>
  (fits(n, demand) ? Math.min(Math.floor((n.memoryMb - n.memoryUsed) / demand.memoryMb), Math.floor((n.cores - n.coresUsed) / demand.cores)) : 0);

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

/** Without those whose end changes nothing: they are on nodes that the request does not want, or too small. The last are left out first: the dearest, or those that take longest. */
function needed(room: RoomCount, vms: number, ended: readonly Preemptible[]): Preemptible[] {
  const left = new Set(ended);
  for (const one of [...ended].reverse()) {
    room.stay(one);
    if (room.vms() >= vms) left.delete(one);
    else room.end(one);
  }
  return [...left];
}
