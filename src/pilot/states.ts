/**
 * The life of a slot and of its nodes, as data. A slot is one batch job.
 *
 * A slot begins `Requested`: its row exists, no job does. A worker marks it `Submitting` and calls the batch system; from
 * then until an answer is written the job may or may not exist, and only the batch system's own list, searched by the
 * job's name, tells. `Queued` has a job id and waits. `Starting` runs, or a pilot was heard; `Ready` has heard a pilot of
 * every node that leases wait for. `Releasing` wants no job any more: it is cancelled, or its pilots have been told to go, until the batch system
 * says that it is gone. `Ended` is final.
 *
 * A slot node begins `Waiting`. `Reserved`: its pilot has made room, leases may use it. `Preempted`: the batch system wants
 * it back, the grace runs. `Returning`: the pilot was told to go, or says that it goes. `Returned`: the pilot has said that
 * everything is restored. `Failed`: the pilot could not make room. `Lost`: the job is gone and the pilot never said goodbye, or
 * no pilot was heard and nobody waits for one.
 */
export const SLOT_STATES = ['Requested', 'Submitting', 'Queued', 'Starting', 'Ready', 'Releasing', 'Ended'] as const;
export type SlotState = (typeof SLOT_STATES)[number];

export type SlotTrigger =
  | 'submit' | 'submitted' | 'not-submitted' | 'rejected' | 'running' | 'requeued' | 'reported' | 'complete' | 'release' | 'gone';

export interface SlotTransition {
  readonly from: readonly SlotState[];
  readonly trigger: SlotTrigger;
  readonly to: SlotState;
}

export const SLOT_TRANSITIONS: readonly SlotTransition[] = [
  { from: ['Requested'], trigger: 'submit', to: 'Submitting' },
  // The batch system did not take it, and says so in a way that another attempt may mend.
  { from: ['Submitting'], trigger: 'not-submitted', to: 'Requested' },
  // Also found in the list after it was believed lost.
  { from: ['Requested', 'Submitting'], trigger: 'submitted', to: 'Queued' },
  { from: ['Requested', 'Submitting'], trigger: 'rejected', to: 'Ended' },
  { from: ['Requested', 'Submitting', 'Queued'], trigger: 'running', to: 'Starting' },
  // A pilot may be heard before the submission's own answer, or before the next poll.
  { from: ['Requested', 'Submitting', 'Queued'], trigger: 'reported', to: 'Starting' },
  { from: ['Starting'], trigger: 'complete', to: 'Ready' },
  // Its pilots have run and are gone; what they held cannot be had again.
  { from: ['Starting', 'Ready'], trigger: 'requeued', to: 'Releasing' },
  { from: ['Submitting', 'Queued', 'Starting', 'Ready'], trigger: 'release', to: 'Releasing' },
  // No job was ever asked for.
  { from: ['Requested'], trigger: 'release', to: 'Ended' },
  { from: ['Requested', 'Submitting', 'Queued', 'Starting', 'Ready', 'Releasing'], trigger: 'gone', to: 'Ended' },
];

export const SLOT_NODE_STATES = ['Waiting', 'Reserved', 'Preempted', 'Returning', 'Returned', 'Failed', 'Lost'] as const;
export type SlotNodeState = (typeof SLOT_NODE_STATES)[number];

export type SlotNodeTrigger = 'reserved' | 'failed' | 'preempted' | 'release' | 'unreserving' | 'restored' | 'gone';

export interface SlotNodeTransition {
  readonly from: readonly SlotNodeState[];
  readonly trigger: SlotNodeTrigger;
  readonly to: SlotNodeState;
}

export const SLOT_NODE_TRANSITIONS: readonly SlotNodeTransition[] = [
  { from: ['Waiting'], trigger: 'reserved', to: 'Reserved' },
  { from: ['Waiting', 'Reserved', 'Preempted', 'Returning'], trigger: 'failed', to: 'Failed' },
  { from: ['Waiting', 'Reserved'], trigger: 'preempted', to: 'Preempted' },
  { from: ['Reserved', 'Preempted'], trigger: 'release', to: 'Returning' },
  { from: ['Waiting', 'Reserved', 'Preempted'], trigger: 'unreserving', to: 'Returning' },
  { from: ['Waiting', 'Reserved', 'Preempted', 'Returning', 'Failed', 'Lost'], trigger: 'restored', to: 'Returned' },
  { from: ['Waiting', 'Reserved', 'Preempted', 'Returning'], trigger: 'gone', to: 'Lost' },
];

const SLOTS = new Map(SLOT_TRANSITIONS.flatMap((t) => t.from.map((from) => [`${from} ${t.trigger}`, t.to] as const)));
const NODES = new Map(SLOT_NODE_TRANSITIONS.flatMap((t) => t.from.map((from) => [`${from} ${t.trigger}`, t.to] as const)));

/** The next state, or undefined when `trigger` means nothing in state `from`. */
export const slotAfter = (from: SlotState, trigger: SlotTrigger): SlotState | undefined => SLOTS.get(`${from} ${trigger}`);
export const slotNodeAfter = (from: SlotNodeState, trigger: SlotNodeTrigger): SlotNodeState | undefined => NODES.get(`${from} ${trigger}`);

/** Nothing of the slot is left on this node, as far as anyone can know. */
export const nodeIsOver = (s: SlotNodeState): boolean => s === 'Returned' || s === 'Failed' || s === 'Lost';
