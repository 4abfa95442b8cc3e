/**
 * Transfers of disks that broke off because their node, this service or the database had too much to do or was not reached. Such a disk
 * is fetched again: the time that the node has for it counts from the break, as a transfer may take longer than any operation. That a
 * service has ended is a break too; the next one, or another that takes its work over, counts from when it sends the request itself.
 */
import { isFault, type FaultCode } from '../lease/faults.ts';
import type { IntentKind } from '../lease/states.ts';
import type { IntentRow } from '../store/intents.ts';

const FETCHED: ReadonlySet<IntentKind> = new Set(['save', 'copy']);
/** What is over by itself. */
const PASSES: ReadonlySet<FaultCode> = new Set(['NodeUnreachable', 'Busy', 'Unavailable']);
/** A node that never gives a whole disk does not keep its lease from its end for ever. */
const MOST = 8;
/** Nor does one whose disk ends the service: the row counts in all its lives. Far more than a node causes that comes and goes. */
const MOST_TRIES = 1000;
/** After a disk that came whole and could not be written down: its transfer cost the most, and a copy of it may have to stay. */
const PAUSE_FIRST_MS = 30_000;
const PAUSE_MOST_MS = 15 * 60_000;
/** Nothing is heard any more of what was superseded meanwhile. */
const KEPT_MS = 24 * 3_600_000;

export interface Breaks {
  /** It is sent. */
  begin(row: IntentRow, now: number): void;
  /** One more: what is to be sent again. Undefined: that would be no use, or it has broken off too often. */
  add(row: IntentRow, why: unknown, now: number): IntentRow | undefined;
  /** Its node had no room for it: what it is asked for counts from when it is sent. */
  notSent(id: string, now: number): void;
  /** With the time from which it counts. */
  counted(row: IntentRow): IntentRow;
  /** How long it rests that has broken off so often. */
  pauseMs(id: string): number;
  /** Why it is not tried any more, if it is not. */
  wornOut(row: IntentRow): string | undefined;
  forget(id: string): void;
}

export function createBreaks(): Breaks {
  const broken = new Map<string, { readonly at: number; readonly times: number; readonly why: string }>();
  return {
    begin(row, now) {
      if (!FETCHED.has(row.kind) || broken.has(row.id)) return;
      for (const [old, { at }] of broken) if (now - at > KEPT_MS) broken.delete(old);
      broken.set(row.id, { at: now, times: 0, why: '' });
    },
    add(row, why, now) {
      if (!isFault(why) || !PASSES.has(why.code)) return undefined;
      const times = (broken.get(row.id)?.times ?? 0) + 1;
      broken.set(row.id, { at: now, times, why: why.text });
      return times < MOST ? { ...row, sent_at: now } : undefined;
    },
    notSent(id, now) {
      const of = broken.get(id);
      if (of?.times === 0) broken.delete(id);
      else if (of !== undefined) broken.set(id, { ...of, at: now });
    },
    counted(row) {
      const since = broken.get(row.id);
      return since === undefined ? row : { ...row, sent_at: since.at };
    },
    pauseMs: (id) => Math.min(PAUSE_MOST_MS, PAUSE_FIRST_MS * 2 ** ((broken.get(id)?.times ?? 1) - 1)),
    wornOut({ id, kind, attempts }) {
      if (!FETCHED.has(kind)) return undefined;
      if (attempts > MOST_TRIES) return `its disk was asked for ${MOST_TRIES} times, and never came`;
      const of = broken.get(id);
      return of !== undefined && of.times >= MOST ? `its transfer broke off ${MOST} times; the last time: ${of.why}` : undefined;
    },
    forget: (id) => void broken.delete(id),
  };
}
