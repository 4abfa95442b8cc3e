/**
 * Where the time of a lease goes. The names follow the evaluation of Freeman and Keahey (Euro-Par 2008): proc is what the
 * service does before anyone else is asked; slot is the batch system's part, torque until the pilot's process begins, pilot
 * until it has made room, ping until the service knows; vm is the node's part, invoke the way to the agent, create the
 * agent's work, post the way back; destroy, sigterm and restore are the same ways at the end.
 */
export const LEASE_PHASES = [
  'accepted', 'placed', 'sent', 'received', 'propagate-begun', 'propagated', 'start-begun', 'started', 'finished', 'recorded',
] as const;
export type LeasePhase = (typeof LEASE_PHASES)[number];

/** Moments of a borrowed node, of leases in pilot mode; the pilot's own come from its clock, corrected. */
export const SLOT_PHASES = [
  'submit-begun', 'submitted', 'job-running', 'pilot-start', 'reduce-begun', 'reduced', 'notify', 'reported',
  'release-decided', 'sigterm', 'restore-begun', 'restored',
] as const;
export type SlotPhase = (typeof SLOT_PHASES)[number];

/** From the trail of a lease: when its end was asked for, and when its VM was known to be gone. */
export type EndPhase = 'end-asked' | 'ended';

export type Moment = LeasePhase | SlotPhase | EndPhase;
/** ms since the epoch on the service's clock */
export type Moments = Readonly<Partial<Record<Moment, number>>>;

/** `slot` and `vm` are parts of the start; `end` comes after it. */
export type StepGroup = 'start' | 'slot' | 'vm' | 'end';

export interface PhaseStep {
  readonly name: string;
  readonly group: StepGroup;
  readonly from: Moment;
  readonly to: Moment;
  /** Counts in place of `to` when that is missing or lies before `from`. */
  readonly or?: Moment;
  readonly what: string;
  /** It spans the other steps of its group. */
  readonly sum?: true;
}

const PROC: PhaseStep = { name: 'proc', group: 'start', from: 'accepted', to: 'placed', what: 'request checked, placed and written' };
const TOTAL: PhaseStep = { name: 'total', group: 'start', from: 'accepted', to: 'recorded', what: 'accepted to Running', sum: true };

const onNode = (from: Moment): readonly PhaseStep[] => [
  { name: 'invoke', group: 'vm', from, to: 'received', what: 'message to the node’s agent' },
  { name: 'propagate', group: 'vm', from: 'received', to: 'propagated', what: 'image made ready on the node' },
  { name: 'create', group: 'vm', from: 'propagated', to: 'started', what: 'VM started' },
  { name: 'post', group: 'vm', from: 'started', to: 'recorded', what: 'result reported and written' },
];

const END: readonly PhaseStep[] = [
  { name: 'destroy', group: 'end', from: 'end-asked', to: 'ended', what: 'end asked for to VM gone' },
  // A pilot that is told to go gets no signal; one whose job is preempted got it before anyone decided anything.
  { name: 'sigterm', group: 'end', from: 'release-decided', to: 'sigterm', or: 'restore-begun', what: 'node no longer needed to pilot knowing it' },
  { name: 'restore', group: 'end', from: 'restore-begun', to: 'restored', what: 'memory given back to the node' },
];

/** On a node of the service's own. */
export const BREAKDOWN: readonly PhaseStep[] = [PROC, ...onNode('placed'), TOTAL, END[0] as PhaseStep];

/** On a node of the batch system: the lease is placed when its slot is written, and has a node when the pilot reports. */
export const BORROWED_BREAKDOWN: readonly PhaseStep[] = [
  PROC,
  { name: 'handover', group: 'start', from: 'placed', to: 'submit-begun', what: 'slot written to its submission' },
  { name: 'torque', group: 'slot', from: 'submit-begun', to: 'pilot-start', what: 'submission to the pilot’s process' },
  { name: 'pilot', group: 'slot', from: 'pilot-start', to: 'notify', what: 'room made on the node' },
  { name: 'ping', group: 'slot', from: 'notify', to: 'reported', what: 'pilot’s message to the service' },
  { name: 'slot', group: 'slot', from: 'submit-begun', to: 'reported', what: 'torque, pilot and ping', sum: true },
  ...onNode('reported'),
  { name: 'vm', group: 'vm', from: 'reported', to: 'recorded', what: 'invoke, propagate, create and post', sum: true },
  TOTAL,
  ...END,
];

export interface BreakdownRow {
  readonly name: string;
  readonly group: StepGroup;
  readonly ms: number;
  readonly what: string;
  readonly sum: boolean;
}

/** Durations of the steps whose both ends are known. Clock error may not make a step negative. */
export function breakdown(moments: Moments): BreakdownRow[] {
  const borrowed = SLOT_PHASES.some((p) => moments[p] !== undefined);
  return (borrowed ? BORROWED_BREAKDOWN : BREAKDOWN).flatMap((step) => {
    const [from, to] = [moments[step.from], end(moments, step)];
    if (from === undefined || to === undefined) return [];
    return [{ name: step.name, group: step.group, ms: Math.max(0, to - from), what: step.what, sum: step.sum === true }];
  });
}

function end(moments: Moments, { from, to, or }: PhaseStep): number | undefined {
  const at = moments[to];
  if (or === undefined || (at !== undefined && at >= (moments[from] ?? Infinity))) return at;
  return moments[or];
}

export interface SummaryRow {
  readonly name: string;
  readonly group: StepGroup;
  readonly what: string;
  readonly sum: boolean;
  /** ms over the leases that have the step */
  readonly mean: number;
  readonly max: number;
  /** ms of the lease that was ready last, or, of the steps at the end, whose node was given back last; null = it has no such step. */
  readonly critical: number | null;
}

/** Steps of a group of leases, in the order of the table. */
export function summary(leases: readonly Moments[]): SummaryRow[] {
  const rows = leases.map(breakdown);
  const [ready, over] = [last(leases, (m) => m.recorded ?? m.reported), last(leases, (m) => m.restored ?? m.ended)];
  return [...BORROWED_BREAKDOWN].flatMap(({ name, group, what, sum }) => {
    const all = rows.flatMap((r) => r.filter((s) => s.name === name).map((s) => s.ms));
    if (all.length === 0) return [];
    const path = rows[group === 'end' ? over : ready] ?? [];
    return [{
      name, group, what, sum: sum === true, mean: all.reduce((a, b) => a + b, 0) / all.length, max: Math.max(...all),
      critical: path.find((s) => s.name === name)?.ms ?? null,
    }];
  });
}

/** Index of the lease of which `at` is latest; -1 = none has it. */
function last(leases: readonly Moments[], at: (m: Moments) => number | undefined): number {
  const times = leases.map((m) => at(m) ?? -Infinity);
  const latest = times.reduce((a, b) => Math.max(a, b), -Infinity);
  return latest === -Infinity ? -1 : times.indexOf(latest);
}
