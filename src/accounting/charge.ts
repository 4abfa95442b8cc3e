/** Minutes from intervals. Pure. A VM that never ran costs nothing. */

export interface Interval {
  /** ms since the epoch */
  readonly start: number;
  /** null while it lasts */
  readonly stop: number | null;
}

const MINUTE_MS = 60_000;

/**
 * Whole minutes of all intervals together, rounded up to a multiple of the granularity; an open interval counts until `now`.
 * A granularity below a minute is a minute, as minutes are what is charged.
 */
export function chargedMinutes(intervals: readonly Interval[], now: number, granularityS: number): number {
  return roundUp(Math.ceil(usedMs(intervals, now) / MINUTE_MS), granularityS);
}

/** Minutes that a live lease holds in reserve, rounded as its charge would be. */
export function reservedMinutes(reservedS: number, live: boolean, granularityS: number): number {
  return live ? roundUp(Math.ceil(reservedS / 60), granularityS) : 0;
}

/** Total of the intervals. Throws when two overlap, or one but the last is open: the same time would be billed twice. */
export function usedMs(intervals: readonly Interval[], now: number): number {
  const sorted = [...intervals].sort((a, b) => a.start - b.start || stopOf(a, Infinity) - stopOf(b, Infinity));
  let total = 0;
  let before = -Infinity;
  for (const interval of sorted) {
    if (interval.start < before) throw new Error(`usage intervals overlap at ${new Date(interval.start).toISOString()}`);
    before = stopOf(interval, Infinity);
    if (before < interval.start) throw new Error(`a usage interval stops before it starts at ${new Date(interval.start).toISOString()}`);
    total += Math.max(0, stopOf(interval, now) - interval.start);
  }
  return total;
}

const stopOf = (interval: Interval, open: number): number => interval.stop ?? open;

function roundUp(minutes: number, granularityS: number): number {
  const step = Math.max(1, Math.ceil(granularityS / 60));
  return Math.ceil(minutes / step) * step;
}
