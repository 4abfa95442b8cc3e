/**
 * Changes of slots in one transaction: slots, their nodes and their leases are locked, changed in place by the tables of
 * `pilot/states.ts` and `lease/states.ts`, and written together. Slots are locked first, then leases, then VMM nodes.
 */
import { breakdown, type Moments } from '../../lease/phases.ts';
import { writable } from '../../lease/text.ts';
import { nodeIsOver, slotAfter, slotNodeAfter, type SlotNodeTrigger, type SlotTrigger } from '../../pilot/states.ts';
import type { LeaseState } from '../../lease/states.ts';
import type { Queryable } from '../../store/db.ts';
import { lockLeases, type LockedLease } from '../../store/leases.ts';
import {
  endSlotVmmNodes, lockSlots, slotNodesWithLeases, updateSlotNodes, updateSlots, type SlotNodeRow, type SlotRow,
} from '../../store/slots.ts';
import { markPreempted } from '../../store/spot.ts';
import type { SlotDeps } from '../deps.ts';
import { endOf, isDisplaced } from '../displaced.ts';
import { TransitionBatch, type Effects, type Outcome } from '../transitions.ts';

export interface OpenSlot {
  readonly slot: SlotRow;
  readonly nodes: readonly SlotNodeRow[];
}

export interface Reason {
  readonly code: string;
  readonly reason: string;
}

export interface SlotEffects extends Effects {
  /** VMM nodes were made or ended. */
  readonly nodesChanged: boolean;
  /** Something is to be submitted, or to be given back. */
  readonly toTend: boolean;
  /** Of each node that was given back: its moments. */
  readonly restored: readonly Moments[];
}

/** Of a lease that was told to be preempted already: that stays the code. */
const NOT_IN_TIME = { reason: 'the batch system took the node back; nothing was saved: the time that was left was too short' };

export class SlotBatch {
  readonly leases: TransitionBatch;
  private readonly touched = new Set<SlotRow>();
  private readonly touchedNodes = new Map<SlotNodeRow, Record<string, number>>();
  private readonly byNode = new Map<number, LockedLease[]>();
  private readonly ended: number[] = [];
  private readonly restored: SlotNodeRow[] = [];
  /** Preemptible leases that the batch system displaces → until when their guests have time. */
  private readonly displaced = new Map<string, number>();
  private made = false;

  private constructor(readonly slots: ReadonlyMap<string, OpenSlot>, leases: readonly LockedLease[], deps: SlotDeps, readonly now: number) {
    this.leases = new TransitionBatch(deps.ctx.random, now, deps.config.accounting.charge_granularity, deps.self?.id() ?? null);
    for (const l of leases) {
      if (l.slot_node_id === null) continue;
      const list = this.byNode.get(l.slot_node_id);
      if (list === undefined) this.byNode.set(l.slot_node_id, [l]);
      else list.push(l);
    }
  }

  static async open(deps: SlotDeps, tx: Queryable, slotIds: readonly string[]): Promise<SlotBatch> {
    const slots = await tx.query(lockSlots, [slotIds]);
    const nodes = await tx.query(slotNodesWithLeases, [slotIds]);
    const ids = nodes.flatMap((n) => n.leases);
    const leases = ids.length === 0 ? [] : await tx.query(lockLeases, [ids, null]);
    const open = new Map(slots.map((slot): [string, { slot: SlotRow; nodes: SlotNodeRow[] }] => [slot.id, { slot, nodes: [] }]));
    for (const n of nodes) open.get(n.slot_id)?.nodes.push(n);
    return new SlotBatch(open, leases, deps, deps.ctx.clock.now());
  }

  /** Leases of a node that are not over. */
  leasesOn(node: SlotNodeRow): readonly LockedLease[] {
    return (this.byNode.get(node.id) ?? []).filter((l) => !l.final);
  }

  holdsLeases(node: SlotNodeRow): boolean {
    return this.leasesOn(node).some((l) => l.holding);
  }

  /** True when the trigger meant something; a slot that ends takes what is left of its nodes and leases with it. */
  step({ slot, nodes }: OpenSlot, trigger: SlotTrigger, why?: Reason): boolean {
    const to = slotAfter(slot.state, trigger);
    if (to === undefined) return false;
    slot.state = to;
    this.touched.add(slot);
    if (why !== undefined && slot.reason_code === null) {
      slot.reason_code = why.code;
      slot.reason = writable(why.reason);
    }
    if (to === 'Ready') slot.ready_at = this.now;
    if (to === 'Releasing') slot.released_at = this.now;
    if (to === 'Releasing' || to === 'Ended') {
      const reason = why ?? { code: slot.reason_code ?? 'Server.SlotEnded', reason: slot.reason ?? 'its node was given back to the batch system' };
      for (const n of nodes) this.endLeases(n, reason, to === 'Ended');
    }
    if (to === 'Ended') this.finish(slot, nodes);
    return true;
  }

  touch(slot: SlotRow): void {
    this.touched.add(slot);
  }

  stepNode(node: SlotNodeRow, trigger: SlotNodeTrigger, phases: Readonly<Record<string, number>> = {}): boolean {
    const to = slotNodeAfter(node.state, trigger);
    if (to === undefined) return false;
    node.state = to;
    this.note(node, phases);
    if (nodeIsOver(to) && node.node_id !== null) this.ended.push(node.node_id);
    if (trigger === 'restored') this.restored.push(node);
    return true;
  }

  note(node: SlotNodeRow, phases: Readonly<Record<string, number>> = {}): void {
    this.touchedNodes.set(node, { ...this.touchedNodes.get(node), ...phases });
  }

  madeNode(): void {
    this.made = true;
  }

  /** `over`: the node is no more, the leases end here; else their VMs are asked to end. `but`: leases in that state are left as they are. */
  endLeases(node: SlotNodeRow, why: Reason, over: boolean, but?: LeaseState): void {
    const cause = { who: 'batch system', why: why.reason, at: this.now, requestId: null };
    for (const lease of this.leasesOn(node)) {
      if (lease.state === but) continue;
      const outcome = lease.state === 'ReadyingForTransport' ? NOT_IN_TIME : this.outcome(node, lease, why);
      if (over) this.leases.end(lease, cause, lease.state === 'Ending' ? {} : outcome);
      else this.leases.apply(lease, { ...cause, trigger: 'end', actor: 'slot' }, outcome);
    }
  }

  /** `saved`: those whose disks are made images first. Only of VMs that are there, and while there is a node. */
  preemptLeases(node: SlotNodeRow, why: Reason, saved: ReadonlySet<string>): void {
    const cause = { who: 'batch system', why: why.reason, at: this.now, requestId: null };
    for (const lease of this.leasesOn(node)) {
      if (saved.has(lease.id)) this.leases.apply(lease, { ...cause, trigger: 'make-transportable', actor: 'slot' }, this.outcome(node, lease, { ...why, reason: `${why.reason}; its disk is being saved` }));
    }
    this.endLeases(node, why, node.node_id === null, 'ReadyingForTransport');
  }

  private outcome(node: SlotNodeRow, lease: LockedLease, why: Reason): Outcome {
    if (isDisplaced(lease, why.code) && lease.state !== 'Ending') this.displaced.set(lease.id, Math.max(this.now, node.grace_ends_at ?? 0));
    return endOf(lease, why);
  }

  private finish(slot: SlotRow, nodes: readonly SlotNodeRow[]): void {
    slot.final = true;
    slot.ended_at = this.now;
    for (const n of nodes) this.stepNode(n, 'gone');
  }

  async write(tx: Queryable): Promise<SlotEffects> {
    if (this.touchedNodes.size > 0) await tx.query(updateSlotNodes, [JSON.stringify([...this.touchedNodes].map(nodeRow))]);
    if (this.touched.size > 0) await tx.query(updateSlots, [JSON.stringify([...this.touched].map(slotRow))]);
    // Before what is written for their nodes, which carries until when their guests have time.
    const displaced = [...this.displaced];
    if (displaced.length > 0) await tx.query(markPreempted, [displaced.map(([id]) => id), new Date(this.now), displaced.map(([, ms]) => new Date(ms))]);
    const effects = await this.leases.write(tx);
    if (this.ended.length > 0) await tx.query(endSlotVmmNodes, [this.ended, new Date(this.now)]);
    return { ...effects, nodesChanged: this.made || this.ended.length > 0, toTend: this.toTend() || effects.borrowed, restored: this.restored.map((n) => ({ ...n.phases, ...this.touchedNodes.get(n) })) };
  }

  /** One that is on its way back needs nobody: its pilot goes, or was told to by whoever decided it. */
  private toTend(): boolean {
    return [...this.touched].some((s) => s.state === 'Requested' || s.state === 'Releasing')
      || [...this.touchedNodes.keys()].some((n) => n.state !== 'Waiting' && n.state !== 'Returning' && !(n.state === 'Reserved' && this.holdsLeases(n)));
  }
}

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

const slotRow = (s: SlotRow): object => ({
  ...s, expected_start: iso(s.expected_start), next_at: iso(s.next_at), ready_at: iso(s.ready_at), released_at: iso(s.released_at), ended_at: iso(s.ended_at),
});

const nodeRow = ([n, phases]: [SlotNodeRow, Record<string, number>]): object => ({
  id: n.id, state: n.state, host: n.host, pilot: n.pilot, node_id: n.node_id, clock_offset_ms: n.clock_offset_ms, until_at: iso(n.until_at), grace_ends_at: iso(n.grace_ends_at), phases,
  reason: n.reason === null ? null : writable(n.reason),
});

/** One transaction on slots, and what follows from its commit. */
export async function changeSlots<T>(deps: SlotDeps, slotIds: readonly string[], change: (batch: SlotBatch, tx: Queryable) => Promise<T> | T): Promise<T> {
  const { result, effects } = await deps.db.transaction(async (tx) => {
    const batch = await SlotBatch.open(deps, tx, slotIds);
    const made = await change(batch, tx);
    return { result: made, effects: await batch.write(tx) };
  });
  for (const moments of effects.restored) for (const step of breakdown(moments)) if (step.group === 'end') deps.ctx.meter?.step(step.name, step.ms);
  // What was committed stands: the nodes are read again later, and what follows must not be lost with them.
  if (effects.nodesChanged) {
    await deps.borrowing?.nodesChanged().catch((e: unknown) => deps.ctx.log.warn('borrowed nodes could not be read; they are again shortly', { error: (e as Error).message }));
  }
  if (effects.intents.length > 0) deps.handOver(effects.intents);
  if (effects.toTend) deps.borrowing?.wake();
  return result;
}
