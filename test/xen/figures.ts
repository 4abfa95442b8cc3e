/** Times of the suite, gathered as it runs and printed at its end as one table. */
import { AS_BATCH_USER, XL } from './pilots.ts';
import type { XenMachine } from './machine.ts';

const BY_HAND = '/opt/by-hand.cjs';

export interface ByHand {
  /** Until the last call of xl has returned. */
  readonly callsMs: number;
  /** Until dom0's kernel has the memory that it is to have. */
  readonly reachedMs: number;
}

export async function installByHand(machine: XenMachine, file: string): Promise<void> {
  await machine.write(BY_HAND, { file }, 0o755);
}

/** The calls of xl that `what` needs, by sudo as the batch user, timed in dom0. */
export async function byHand(machine: XenMachine, what: 'reduce' | 'restore' | 'kill-all', dom0Mb: number): Promise<ByHand> {
  return JSON.parse(await machine.must([...AS_BATCH_USER, '/usr/local/bin/node', BY_HAND, what, `${dom0Mb}`, ...XL])) as ByHand;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] ?? Number.NaN : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

export interface Row {
  readonly what: string;
  /** The figure of Euro-Par 2008, ms; absent where it has none. */
  readonly paperMs?: number;
  readonly byHand: readonly ByHand[];
  readonly pilotMs: readonly number[];
}

const ms = (values: readonly number[]): string => (values.length === 0 ? '–' : `${median(values).toFixed(0)} ms`);

/** Medians as a Markdown table. */
export function table(rows: readonly Row[]): string {
  return [
    '| what | xl by hand: calls | … until reached | pilot | pilot above by hand | the paper |',
    '|---|---|---|---|---|---|',
    ...rows.map(({ what, paperMs, byHand, pilotMs }) => {
      const reached = byHand.map(({ reachedMs }) => reachedMs);
      const above = pilotMs.length === 0 || reached.length === 0 ? '–' : `${(median(pilotMs) - median(reached)).toFixed(0)} ms`;
      return `| ${what} | ${ms(byHand.map(({ callsMs }) => callsMs))} | ${ms(reached)} | ${ms(pilotMs)} | ${above} | ${paperMs === undefined ? '–' : `${paperMs} ms`} |`;
    }),
  ].join('\n');
}
