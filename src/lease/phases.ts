/**
 * Where the time of a lease's start goes. The names follow the evaluation of Freeman and Keahey (Euro-Par 2008): proc is
 * what the service does before it calls the node, invoke the way to the agent, create the agent's work, post the way back.
 */
export const LEASE_PHASES = [
  'accepted', 'placed', 'sent', 'received', 'propagate-begun', 'propagated', 'start-begun', 'started', 'finished', 'recorded',
] as const;
export type LeasePhase = (typeof LEASE_PHASES)[number];

export interface PhaseStep {
  readonly name: string;
  readonly from: LeasePhase;
  readonly to: LeasePhase;
  readonly what: string;
}

export const BREAKDOWN: readonly PhaseStep[] = [
  { name: 'proc', from: 'accepted', to: 'placed', what: 'request checked, placed and written' },
  { name: 'invoke', from: 'placed', to: 'received', what: 'message to the node’s agent' },
  { name: 'propagate', from: 'received', to: 'propagated', what: 'image made ready on the node' },
  { name: 'create', from: 'propagated', to: 'started', what: 'VM started' },
  { name: 'post', from: 'started', to: 'recorded', what: 'result reported and written' },
];

export interface BreakdownRow {
  readonly name: string;
  readonly ms: number;
  readonly what: string;
}

/** Durations of the steps whose both ends are known, and their total. Clock error may not make a step negative. */
export function breakdown(phases: Readonly<Partial<Record<LeasePhase, number>>>): BreakdownRow[] {
  const rows = BREAKDOWN.flatMap(({ name, from, to, what }) => {
    const [a, b] = [phases[from], phases[to]];
    return a === undefined || b === undefined ? [] : [{ name, ms: Math.max(0, b - a), what }];
  });
  const [first, last] = [phases.accepted, phases.recorded];
  if (first !== undefined && last !== undefined) rows.push({ name: 'total', ms: Math.max(0, last - first), what: 'accepted to Running' });
  return rows;
}
