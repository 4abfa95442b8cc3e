/**
 * Transfers of disks that broke off because their node, or this service, had too much to do or was not reached. Such a disk is
 * fetched again: the time that the node has for it counts from the break, as a transfer may take longer than any operation. That a
 * service has ended is a break too; the next one, or another that takes its work over, counts from when it sends the request itself.
 */
import { isFault, type FaultCode } from '../lease/faults.ts';
import type { IntentKind } from '../lease/states.ts';
import type { IntentRow } from '../store/intents.ts';

const FETCHED: ReadonlySet<IntentKind> = new Set(['save', 'copy']);
/** What is over by itself. */
const PASSES: ReadonlySet<FaultCode> = new Set(['NodeUnreachable', 'Busy']);
/** A node that never gives a whole disk does not keep its lease from its end for ever. */
const MOST = 8;
/** Nor does one whose disk ends the service: the row counts in all its lives. Far more than a node causes that comes and goes. */
const MOST_TRIES = 1000;
/** Nothing is heard any more of what was superseded meanwhile. */
const KEPT_MS = 24 * 3_600_000;

export interface Breaks {
  /** It is sent. */
  begin(row: IntentRow, now: number): void;
  /** One more: what is to be sent again. Undefined: that would be no use, or it has broken off too often. */
  add(row: IntentRow, why: unknown, now: number): IntentRow | undefined;
  /** With the time from which it counts. */
  counted(row: IntentRow): IntentRow;
  /** It is not tried any more. */
  isWornOut(row: IntentRow): boolean;
  forget(id: string): void;
}

export function createBreaks(): Breaks {
  const broken = new Map<string, { readonly at: number; readonly times: number }>();
  return {
    begin(row, now) {
      if (!FETCHED.has(row.kind) || broken.has(row.id)) return;
      for (const [old, { at }] of broken) if (now - at > KEPT_MS) broken.delete(old);
      broken.set(row.id, { at: now, times: 0 });
    },
    add(row, why, now) {
      if (!isFault(why) || !PASSES.has(why.code)) return undefined;
      const times = (broken.get(row.id)?.times ?? 0) + 1;
      broken.set(row.id, { at: now, times });
      return times < MOST ? { ...row, created_at: now } : undefined;
    },
    counted(row) {
      const since = broken.get(row.id);
      return since === undefined ? row : { ...row, created_at: since.at };
    },
    isWornOut: ({ kind, attempts }) => FETCHED.has(kind) && attempts > MOST_TRIES,
    forget: (id) => void broken.delete(id),
  };
}
