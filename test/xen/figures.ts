/** Times of the suite, gathered as it runs and printed at its end as one table. */
import type { PilotMessage, PilotStamp } from '../../src/pilot/protocol.ts';
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

/** From the start of a program's process to its end, ms, timed in dom0. @throws Error when it does not end with 0 */
export async function programMs(machine: XenMachine, argv: readonly string[]): Promise<number> {
  return (JSON.parse(await machine.must(['/usr/local/bin/node', BY_HAND, 'program', '0', ...argv], { timeoutMs: 120_000 })) as ByHand).callsMs;
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

/** The fastest run beside the median: what else runs on the machine lengthens one, and the other less. */
const ms = (values: readonly number[]): string => (values.length === 0 ? '–' : `${median(values).toFixed(0)} (${Math.min(...values).toFixed(0)})`);

/** ms between two moments of a pilot's life. @throws Error when it has not said both */
export function between({ stamps }: PilotMessage, from: PilotStamp, to: PilotStamp): number {
  const [begun, ended] = [stamps?.[from], stamps?.[to]];
  if (begun === undefined || ended === undefined) throw new Error(`the pilot has not said when it came to ${begun === undefined ? from : to}`);
  return ended - begun;
}

/** ms as a Markdown table: medians, in parentheses the fastest run. */
export function table(rows: readonly Row[]): string {
  return [
    '| ms: median (fastest) | xl by hand: calls | … until reached | pilot | pilot above by hand | the paper |',
    '|---|---|---|---|---|---|',
    ...rows.map(({ what, paperMs, byHand, pilotMs }) => {
      const reached = byHand.map(({ reachedMs }) => reachedMs);
      const above = pilotMs.length === 0 || reached.length === 0 ? '–' : `${(median(pilotMs) - median(reached)).toFixed(0)} (${(Math.min(...pilotMs) - Math.min(...reached)).toFixed(0)})`;
      return `| ${what} | ${ms(byHand.map(({ callsMs }) => callsMs))} | ${ms(reached)} | ${ms(pilotMs)} | ${above} | ${paperMs ?? '–'} |`;
    }),
  ].join('\n');
}
