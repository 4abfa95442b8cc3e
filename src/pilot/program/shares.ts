/**
 * How several pilots divide one host. Figures are absolute and follow from the state files alone, so that a change which
 * was made twice, or never, or by a pilot that is dead, comes out right at the next one. Pure; the caller holds the memory lock.
 * Pilots of one node are of one account (`Room.enter`): nobody else's files are believed.
 *
 * `baseline` is what the host has when no pilot has anything: the first pilot reads it, the later ones inherit it.
 */
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';
import type { SlotOnNode } from './state.ts';
import type { HostTarget } from './types.ts';

const sum = (targets: readonly HostTarget[]): number => targets.reduce((mb, t) => mb + t.mb, 0);

export const baselineOf = (targets: readonly HostTarget[]): number | null => (targets.length === 0 ? null : Math.max(...targets.map((t) => t.beforeMb)));

/** @throws PilotError actionFailed when the host would keep less than `minMb` */
export function planReduce(hostMb: number, others: readonly HostTarget[], mb: number, minMb: number): HostTarget {
  const beforeMb = baselineOf(others) ?? hostMb;
  const afterMb = beforeMb - sum(others) - mb;
  if (afterMb < minMb) {
    const shared = others.length === 0 ? '' : `, of which other pilots have ${sum(others)} MB`;
    throw new PilotError(EXIT.actionFailed, `${mb} MB would leave the host ${afterMb} MB, and it keeps at least ${minMb} (minmem); it has ${beforeMb} MB without pilots${shared}`);
  }
  return { mb, beforeMb, afterMb };
}

/** What the host has to have when `mine` is given back: `beforeMb` of the result. */
export function planRestore(mine: HostTarget, others: readonly HostTarget[]): HostTarget {
  const baseline = baselineOf([mine, ...others]) ?? mine.beforeMb;
  const backMb = baseline - sum(others);
  return { mb: mine.mb, beforeMb: backMb, afterMb: backMb - mine.mb };
}

/** What pilots of this boot have, dead ones too: they hold it until they are recovered. */
export function sharesOf(slots: readonly SlotOnNode[], boot: string): readonly HostTarget[] {
  return slots.flatMap(({ state }) => (state === null || state.target === null || state.bootId !== boot ? [] : [state.target]));
}
