/**
 * Transfers of disks that broke off because their node, or this service, had too much to do or was not reached. Such a disk is
 * fetched again: the time that the node has for it counts from the break, as a transfer may take longer than any operation.
 */
import { isFault, type FaultCode } from '../lease/faults.ts';
import type { IntentRow } from '../store/intents.ts';

/** What is over by itself. */
const PASSES: ReadonlySet<FaultCode> = new Set(['NodeUnreachable', 'Busy']);
/** A node that never gives a whole disk does not keep its lease from its end for ever. */
const MOST = 8;
/** Nothing is heard any more of what was superseded meanwhile. */
const KEPT_MS = 24 * 3_600_000;

export interface Breaks {
  /** One more: what is to be sent again. Undefined: that would be no use, or it has broken off too often. */
  add(row: IntentRow, why: unknown, now: number): IntentRow | undefined;
  /** With the time from which it counts. */
  counted(row: IntentRow): IntentRow;
  forget(id: string): void;
}

export function createBreaks(): Breaks {
  const broken = new Map<string, { readonly at: number; readonly times: number }>();
  return {
    add(row, why, now) {
      if (!isFault(why) || !PASSES.has(why.code)) return undefined;
      for (const [old, { at }] of broken) if (now - at > KEPT_MS) broken.delete(old);
      const times = (broken.get(row.id)?.times ?? 0) + 1;
      broken.set(row.id, { at: now, times });
      return times < MOST ? { ...row, created_at: now } : undefined;
    },
    counted(row) {
      const since = broken.get(row.id);
      return since === undefined ? row : { ...row, created_at: since.at };
    },
    forget: (id) => void broken.delete(id),
  };
}
