/**
 * Secrets of slots for the notification door. They never change, so they are kept; that a slot is unknown is kept for a
 * moment, so that guessing costs the database no more than knowing. What is asked at the same moment is one query.
 */
import { Fault } from '../../lease/faults.ts';
import { SLOT_ID } from '../../pilot/protocol.ts';
import { createBatcher } from '../../platform/batcher.ts';
import type { Clock } from '../../platform/context.ts';
import type { Db } from '../../store/db.ts';
import { slotCredentials } from '../../store/slot-messages.ts';

export interface SlotSecret {
  /** Digest password. */
  readonly secret: string;
  /** Digest nonce, valid as long as the slot lives. */
  readonly nonce: string;
}

const MOST_KEPT = 20_000;
const UNKNOWN_MS = 1_000;
const MOST_AT_ONCE = 1_024;
const MOST_WAITING = 8_192;

export function createSlotSecrets(deps: { readonly db: Db; readonly clock: Clock }): (slot: string) => Promise<SlotSecret | null> {
  const { db, clock } = deps;
  const kept = new Map<string, SlotSecret | { readonly unknownUntil: number }>();
  const keep = (slot: string, found: SlotSecret | null): void => {
    kept.delete(slot);
    for (const oldest of kept.keys()) {
      if (kept.size < MOST_KEPT) break;
      kept.delete(oldest);
    }
    kept.set(slot, found ?? { unknownUntil: clock.monotonic() + UNKNOWN_MS });
  };
  const batcher = createBatcher<string, SlotSecret | null>({
    most: MOST_AT_ONCE,
    mostWaiting: MOST_WAITING,
    full: () => new Fault('Busy', 'Too many requests of unknown pilots are waiting.'),
    async run(slots) {
      const rows = new Map((await db.query(slotCredentials, [[...new Set(slots)]])).map((r) => [r.id, { secret: r.secret, nonce: r.nonce }]));
      return slots.map((slot) => {
        const found = rows.get(slot) ?? null;
        keep(slot, found);
        return found;
      });
    },
  });

  return (slot) => {
    if (!SLOT_ID.test(slot)) return Promise.resolve(null);
    const entry = kept.get(slot);
    if (entry === undefined) return batcher.add(slot);
    if ('secret' in entry) return Promise.resolve(entry);
    return entry.unknownUntil > clock.monotonic() ? Promise.resolve(null) : batcher.add(slot);
  };
}
