/**
 * The scheduler's snapshot of the nodes, kept near the truth: changed by what this process commits, read again from the
 * table when it is old and other processes may have changed that, when another process was in the way, and before anyone
 * is refused on its word. A node counts as reachable when this process, or another one, has a channel to its agent.
 */
import { isFault, type Fault } from '../lease/faults.ts';
import type { Resources } from '../lease/types.ts';
import { plan, refusalFault } from '../scheduler/plan.ts';
import { nodesFor, preempt, type Preemptible, type Preemption } from '../scheduler/preempt.ts';
import { Pool } from '../scheduler/pool.ts';
import { isRefusal, type PlanRequest, type PoolNode, type Room, type StrategyName } from '../scheduler/types.ts';
import type { Clock } from '../platform/context.ts';
import type { Db } from '../store/db.ts';
import { allNodes, type ReachedNodeRow } from '../store/nodes.ts';
import type { Processes } from './processes.ts';

/** Age at which the snapshot is read again before the next plan where others place leases too, ms. */
const OLD_MS = 5_000;
/** A refusal is given on a snapshot no older than this, ms. */
const FRESH_MS = 250;

export interface NodePool {
  /** Reads the table when the snapshot is missing, old or known to be wrong. */
  ready(): Promise<void>;
  /** The next `ready` reads the table. */
  invalidate(): void;
  /** The table's nodes, as somebody has just read them. */
  refresh(rows: readonly ReachedNodeRow[]): void;
  /** Plans and takes the room in the snapshot; the caller commits it or gives it back. Node ids in launch order. */
  place(request: PlanRequest): Promise<readonly number[] | Fault>;
  /** Where the request could be placed if there were room. */
  nodesFor(request: PlanRequest): number[];
  /** Which preemptible leases have to end for the request; see the scheduler. */
  preempt(request: PlanRequest, leases: readonly Preemptible[]): Preemption | undefined;
  /** Rises when a node may have more room than before. */
  gains(): number;
  giveBack(nodeIds: readonly number[], room: Pick<Resources, 'memoryMb' | 'cores'>): void;
  setReachable(nodeId: number, reachable: boolean): void;
  /** Another process has a channel to it, as far as is known. */
  elsewhere(nodeId: number): boolean;
  name(nodeId: number): string;
  zone(nodeId: number): string;
  zones(): readonly string[];
}

const usable = (n: PoolNode | undefined): Room => (n?.active === true && n.reachable ? { memoryMb: n.memoryMb - n.memoryUsed, cores: n.cores - n.coresUsed } : { memoryMb: 0, cores: 0 });

function gained(before: PoolNode | undefined, node: PoolNode): boolean {
  const [was, is] = [usable(before), usable(node)];
  return is.memoryMb > was.memoryMb || is.cores > was.cores;
}

export function createNodePool(options: { db: Db; clock: Clock; strategy: StrategyName; reachable: (nodeId: number) => boolean; self?: Pick<Processes, 'id' | 'accompanied'> }): NodePool {
  const { db, clock } = options;
  let pool = new Pool();
  let readAt = -Infinity;
  /** Somebody has found it wrong, or nobody has read it yet. */
  let isWrong = true;
  let others = new Set<number>();
  let gains = 0;

  async function read(): Promise<void> {
    const startedAt = clock.monotonic();
    fill(await db.query(allNodes));
    readAt = startedAt;
    isWrong = false;
  }

  function fill(rows: readonly ReachedNodeRow[]): void {
    const me = options.self?.id();
    others = new Set(rows.filter((n) => n.channels.some((c) => c !== me)).map((n) => n.id));
    const before = pool;
    pool = new Pool(rows.map((n) => ({
      id: n.id, name: n.name, zone: n.zone, memoryMb: n.memory_mb, cores: n.cores, memoryUsed: n.memory_used, coresUsed: n.cores_used,
      // A borrowed node is its slot's, not everyone's.
      networks: n.networks, active: n.active && n.slot_id === null, reachable: options.reachable(n.id) || others.has(n.id),
    })));
    if ([...pool.nodes()].some((n) => gained(before.node(n.id), n))) gains += 1;
  }

  function tryPlace(request: PlanRequest): readonly number[] | Fault {
    const answer = plan(pool, request, options.strategy);
    if (isRefusal(answer)) return refusalFault(answer);
    pool.apply(answer, request);
    return answer.nodes;
  }

  return {
    async ready() {
      const alone = options.self?.accompanied === false;
      if (isWrong || (!alone && clock.monotonic() - readAt > OLD_MS)) await read();
    },
    invalidate() {
      isWrong = true;
    },
    refresh(rows) {
      fill(rows);
      // What was committed since it was read is not in it: nobody is refused on its word.
      readAt = -Infinity;
    },
    async place(request) {
      const answer = tryPlace(request);
      if (!isFault(answer) || (!isWrong && clock.monotonic() - readAt <= FRESH_MS)) return answer;
      await read();
      return tryPlace(request);
    },
    nodesFor: (request) => nodesFor(pool, request),
    preempt: (request, leases) => preempt(pool, request, leases),
    gains: () => gains,
    giveBack(nodeIds, room: Room) {
      gains += 1;
      for (const id of nodeIds) {
        const node = pool.node(id);
        // A snapshot read after the commit that gave the room back has it already; the table decides in any case.
        if (node === undefined || node.memoryUsed < room.memoryMb || node.coresUsed < room.cores) isWrong = true;
        else pool.release(id, room);
      }
    },
    setReachable(nodeId, reachable) {
      const node = pool.node(nodeId);
      if (reachable) gains += 1;
      if (node === undefined) isWrong = true;
      else if (node.reachable !== (reachable || others.has(nodeId))) pool.upsert({ ...node, reachable: reachable || others.has(nodeId) });
    },
    elsewhere: (nodeId) => others.has(nodeId),
    name: (nodeId) => pool.node(nodeId)?.name ?? `node ${nodeId}`,
    zone: (nodeId) => pool.node(nodeId)?.zone ?? 'default',
    zones: () => pool.zones(),
  };
}
