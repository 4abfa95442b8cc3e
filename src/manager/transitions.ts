/**
 * Collects state changes of locked leases and writes them together: state and event in one transaction, with the intents,
 * usage intervals, node room and addresses that follow from them. The only place that changes a lease's state.
 */
import { chargedMinutes } from '../accounting/charge.ts';
import { writable } from '../lease/text.ts';
import { isFinal, transition, type Actor, type IntentKind, type LeaseState, type Trigger } from '../lease/states.ts';
import type { LeasePhase } from '../lease/phases.ts';
import type { Reach } from '../lease/types.ts';
import { newOperationId } from '../platform/ids.ts';
import type { Random } from '../platform/context.ts';
import type { Queryable } from '../store/db.ts';
import { insertIntents, supersedeIntents, type IntentRow } from '../store/intents.ts';
import { closeIntervals, closeRecords, releaseLeases, settleLeases, updateLeases, type IntervalRow, type LockedLease } from '../store/leases.ts';
import { changeNodeUse, lockNodes } from '../store/nodes.ts';
import { lockUse } from './lock-use.ts';

/** A poll leaves a new intent to the process that wrote it for so long. */
export const HANDOVER_MS = 30_000;
/** Far below what a generation may be; a node that refuses this one refuses every one. */
const HIGHEST_AGAIN = 2 ** 29;
/** What the service comes to by itself; what a node says beyond it is not true, and left no room for what is to be asked of the lease. */
export const HIGHEST_GENERATION = 2 * HIGHEST_AGAIN;
/** Whether work that a node calls stale is to be repeated above it. */
export const mayGoAbove = (generation: number): boolean => generation <= HIGHEST_AGAIN;

export interface Cause {
  readonly trigger: Trigger;
  readonly actor: Actor;
  /** Name of the user, the node or the part of the service. */
  readonly who: string;
  readonly why: string;
  /** ms */
  readonly at: number;
  readonly requestId: string | null;
  /** The guest is not asked to power down first. */
  readonly hard?: boolean;
}

export interface Outcome {
  readonly reach?: Reach | null;
  readonly reasonCode?: string;
  readonly reason?: string;
  readonly phases?: Readonly<Partial<Record<LeasePhase, number>>>;
}

interface Update extends Outcome {
  readonly lease: LockedLease;
  runningAt?: number;
  endedAt?: number;
}

/** What the caller does after the commit. */
export interface Effects {
  readonly intents: readonly IntentRow[];
  readonly released: ReadonlyArray<{ nodeId: number; memoryMb: number; cores: number }>;
  /** A lease on a borrowed node, or on its way to one, was released. */
  readonly borrowed: boolean;
}

export class TransitionBatch {
  private readonly updates = new Map<string, Update>();
  private readonly events: object[] = [];
  private readonly intents = new Map<string, { id: string; lease_id: string; node_id: number; kind: IntentKind; generation: number; request_id: string | null; hard: boolean }>();
  private readonly finished: Array<{ id: string; state: 'done' | 'failed' | 'superseded'; error: string | null }> = [];
  private readonly opened: object[] = [];
  private readonly closed = new Map<string, number>();
  private readonly releases: LockedLease[] = [];
  private readonly abandoned: string[] = [];

  constructor(private readonly random: Random, private readonly now: number, private readonly granularityS: number, private readonly claim: number | null = null) {}

  /** Applies the transition to `lease` (in place) and remembers what to write; false when the table has no such row. */
  apply(lease: LockedLease, cause: Cause, outcome: Outcome = {}): boolean {
    const row = transition(lease.state, cause.trigger);
    if (row === undefined || !row.by.includes(cause.actor)) return false;
    const from = lease.state;
    const at = within(lease, cause.at, this.now);
    // Of one that runs, an image can be made of this moment's disk only.
    if (from === 'Running') lease.image_order = null;
    lease.state = row.to;
    lease.final = isFinal(row.to);
    this.events.push({
      lease_id: lease.id, at: iso(at), from_state: from, to_state: row.to, trigger: cause.trigger,
      who: cause.who, why: writable(cause.why), request_id: cause.requestId,
    });
    const update = this.touch(lease, outcome);
    if (row.to === 'Running' && lease.running_at === null) update.runningAt = lease.running_at = at;
    if (lease.final) update.endedAt = at;
    // A lease that shall rest before anything is fetched has nothing to do on its node.
    const rests = cause.trigger === 'placed' && lease.target === 'Unpropagated';
    if (row.intent !== undefined && lease.node_id !== null && !rests) this.intend(lease, row.intent, cause.requestId, cause.hard);
    this.followUsage(lease, from, cause.trigger, at);
    if (lease.final) this.release(lease, at);
    if (cause.trigger === 'forget') this.abandoned.push(lease.id);
    // Nothing of it is on a node: there is no agent whose word the end could wait for.
    if (row.to === 'Ending' && lease.node_id === null) this.apply(lease, { ...cause, trigger: 'ended', actor: 'service' });
    return true;
  }

  /**
   * The node has seen a higher generation than the table has, as after a restored backup: the same work, above it. Doubling
   * finds it in a few steps; false when there is no end to it.
   */
  again(lease: LockedLease, kind: IntentKind, requestId: string | null): boolean {
    if (lease.node_id === null || !mayGoAbove(lease.generation)) return false;
    lease.generation *= 2;
    this.redo(lease, kind, requestId);
    return true;
  }

  /** What its node was to do was lost: once more, above it. */
  redo(lease: LockedLease, kind: IntentKind, requestId: string | null, hard = false): void {
    this.touch(lease, {});
    this.intend(lease, kind, requestId, hard);
  }

  /** Ends a lease whose node is no more: nobody is left whose word its end could wait for. */
  end(lease: LockedLease, cause: Omit<Cause, 'trigger' | 'actor'>, outcome: Outcome): void {
    if (lease.final) return;
    this.apply(lease, { ...cause, trigger: 'end', actor: 'slot' }, outcome);
    this.apply(lease, { ...cause, trigger: 'ended', actor: 'service' });
    this.abandoned.push(lease.id);
  }

  /** Facts that change without a transition. */
  note(lease: LockedLease, outcome: Outcome): void {
    this.touch(lease, outcome);
  }

  /** Gives room, addresses and the open usage interval back; harmless when done before. */
  release(lease: LockedLease, at: number): void {
    if (!lease.holding) return;
    lease.holding = false;
    this.touch(lease, {});
    this.close(lease, within(lease, at, this.now));
    this.releases.push(lease);
  }

  finish(intentId: string, state: 'done' | 'failed' | 'superseded', error: string | null): void {
    this.finished.push({ id: intentId, state, error: error === null ? null : writable(error) });
  }

  async write(tx: Queryable): Promise<Effects> {
    const at = new Date(this.now);
    const intervals = await this.writeLeases(tx);
    const intents = this.intents.size === 0 ? [] : await tx.query(insertIntents, [JSON.stringify([...this.intents.values()]), at, new Date(this.now + HANDOVER_MS), this.claim]);
    if (this.abandoned.length > 0) await tx.query(supersedeIntents, [this.abandoned, at]);
    if (this.releases.length > 0) await this.writeReleases(tx, intervals);
    return {
      intents: intents.filter((i) => !this.abandoned.includes(i.lease_id)),
      released: this.releases.flatMap((l) => (l.node_id === null ? [] : [{ nodeId: l.node_id, memoryMb: l.memory_mb, cores: l.cores }])),
      borrowed: this.releases.some((l) => l.slot_node_id !== null),
    };
  }

  /** Returns the intervals of leases that are released. What has begun and ended at once begins first. */
  private async writeLeases(tx: Queryable): Promise<readonly IntervalRow[]> {
    const released = new Set(this.releases.map((l) => l.id));
    const updates = [...this.updates.values()];
    const [kept, gone] = [updates.filter((u) => !released.has(u.lease.id)), updates.filter((u) => released.has(u.lease.id))];
    const [events, finished, at] = [JSON.stringify(this.events), JSON.stringify(this.finished), new Date(this.now)];
    const settles = this.opened.length > 0 || (this.finished.length > 0 && gone.length === 0);
    if (settles) await tx.query(settleLeases, [JSON.stringify(kept.map(updateRow)), events, finished, at, JSON.stringify(this.opened)]);
    else if (kept.length > 0) await tx.query(updateLeases, [JSON.stringify(kept.map(updateRow)), events]);
    const closed = [...this.closed.keys()].filter((id) => !released.has(id));
    if (closed.length > 0) await tx.query(closeIntervals, [closed, this.stops(closed)]);
    if (gone.length === 0) return [];
    await lockUse(tx, this.releases.map((l) => l.account_id));
    return tx.query(releaseLeases, [JSON.stringify(gone.map(updateRow)), settles || kept.length > 0 ? '[]' : events, settles ? '[]' : finished, at, [...released], this.stops([...released])]);
  }

  private touch(lease: LockedLease, outcome: Outcome): Update {
    const before = this.updates.get(lease.id);
    const update: Update = { ...before, ...outcome, lease, phases: { ...before?.phases, ...outcome.phases } };
    this.updates.set(lease.id, update);
    return update;
  }

  private intend(lease: LockedLease, kind: IntentKind, requestId: string | null, hard = false): void {
    lease.generation += 1;
    this.intents.set(lease.id, {
      id: newOperationId(this.random), lease_id: lease.id, node_id: lease.node_id ?? 0, kind, generation: lease.generation, request_id: requestId, hard,
    });
  }

  /** A VM that runs is counted; one that is known to be gone is not. */
  private followUsage(lease: LockedLease, from: LeaseState, trigger: Trigger, at: number): void {
    const row = { lease_id: lease.id, node: lease.node, start_at: iso(at), memory_mb: lease.memory_mb, cores: lease.cores };
    if (lease.state === 'Running' && from !== 'Running') this.opened.push(row);
    else if (trigger === 'vm-exited' || trigger === 'powered-off' || trigger === 'serialized' || trigger === 'transportable' || trigger === 'image-made' || (lease.state === 'Propagated' && (from === 'ShuttingDown' || from === 'ReadyingForTransport'))) this.close(lease, at);
  }

  /** The first stop counts: what comes after it was no use of the node. */
  private close(lease: LockedLease, at: number): void {
    if (!this.closed.has(lease.id)) this.closed.set(lease.id, at);
  }

  private stops(leases: readonly string[]): Date[] {
    return leases.map((id) => new Date(this.closed.get(id) ?? this.now));
  }

  private async writeReleases(tx: Queryable, rows: readonly IntervalRow[]): Promise<void> {
    const leases = this.releases.map((l) => l.id);
    const intervals = new Map<string, Array<{ start: number; stop: number | null }>>(leases.map((id) => [id, []]));
    for (const r of rows) intervals.get(r.lease_id)?.push({ start: r.start_at, stop: r.stop_at });
    await tx.query(closeRecords, [leases, this.stops(leases), leases.map((id) => chargedMinutes(intervals.get(id) ?? [], this.now, this.granularityS))]);
    const use = new Map<number, { memory: number; cores: number }>();
    for (const l of this.releases) {
      if (l.node_id === null) continue;
      const sum = use.get(l.node_id) ?? { memory: 0, cores: 0 };
      use.set(l.node_id, { memory: sum.memory - l.memory_mb, cores: sum.cores - l.cores });
    }
    if (use.size === 0) return;
    const ids = [...use.keys()];
    // A single row is locked by its change.
    if (ids.length > 1) await tx.query(lockNodes, [ids]);
    await tx.query(changeNodeUse, [ids, ids.map((id) => use.get(id)?.memory), ids.map((id) => use.get(id)?.cores), false]);
  }
}

/** What happens to a lease happens between its creation and now, whatever a node's clock says. */
export const within = (lease: Pick<LockedLease, 'created_at'>, at: number, now: number): number => (Number.isFinite(at) ? Math.min(Math.max(at, lease.created_at), now) : now);

const iso = (ms: number): string => new Date(ms).toISOString();

function updateRow(u: Update): object {
  const { lease } = u;
  return {
    id: lease.id, state: lease.state, generation: lease.generation, final: lease.final,
    reach: u.reach ?? null,
    running_at: u.runningAt === undefined ? null : iso(u.runningAt),
    ended_at: u.endedAt === undefined ? null : iso(u.endedAt),
    reason_code: u.reasonCode ?? null, reason: u.reason === undefined ? null : writable(u.reason), phases: u.phases ?? {},
    target: lease.target, save_as: lease.save_as, image_order: lease.image_order,
  };
}
