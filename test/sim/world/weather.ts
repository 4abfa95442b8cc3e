/** What goes wrong with messages and statements, as shares of all of them. Calm, nothing does. */
export interface Weather {
  /** Mean of what a message takes, ms; 0 = it is there at once. */
  latencyMs: number;
  /** Lines that are lost, come twice, come late or out of their order. */
  lost: number;
  doubled: number;
  late: number;
  reordered: number;
  /** Statements that fail; commits whose answer is lost; statements that take their time. */
  statementFails: number;
  commitLost: number;
  statementSlow: number;
}

export const CALM: Readonly<Weather> = { latencyMs: 0, lost: 0, doubled: 0, late: 0, reordered: 0, statementFails: 0, commitLost: 0, statementSlow: 0 };

export function isCalm(w: Weather): boolean {
  return w.latencyMs + w.lost + w.doubled + w.late + w.reordered + w.statementFails + w.commitLost + w.statementSlow === 0;
}
