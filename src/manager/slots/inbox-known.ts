/**
 * What was heard of slots so far, so that a slot that speaks often is not read again each time: which pilot speaks for which
 * host, the highest counter of each pilot process, how many messages are stored. Filled from the tables, changed when it was
 * committed, forgotten when a commit is in doubt. The tables refuse a used counter all the same.
 */
import type { Queryable } from '../../store/db.ts';
import { slotSenders, slotSpeakers } from '../../store/slot-messages.ts';

export interface Speaker {
  /** The node's name as it was first heard. */
  readonly host: string;
  readonly pilot: string;
}

export interface KnownSlot {
  /** By `nodeKey`. */
  readonly speakers: Map<string, Speaker>;
  /** cnonce → highest counter */
  readonly counters: Map<string, number>;
  messages: number;
}

/** Speakers and counters of all slots together: some 20 MiB. */
const MOST_ENTRIES = 100_000;

/** Batch systems and nodes disagree about domains and case: a node is its name to the first dot. */
export const nodeKey = (host: string): string => {
  const dot = host.indexOf('.');
  return (dot < 0 ? host : host.slice(0, dot)).toLowerCase();
};

export class KnownSlots {
  /** The least recently used slot first. */
  private readonly slots = new Map<string, KnownSlot>();

  constructor(private readonly mostEntries = MOST_ENTRIES) {}

  /** Those of `ids` that are not known are read. */
  async load(tx: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, KnownSlot>> {
    const missing = ids.filter((id) => !this.slots.has(id));
    const read = missing.length === 0 ? [] : await readSlots(tx, missing);
    const found = new Map<string, KnownSlot>(read);
    for (const id of ids) {
      const known = this.slots.get(id) ?? found.get(id);
      if (known === undefined) continue;
      found.set(id, known);
      this.slots.delete(id);
      this.slots.set(id, known);
    }
    if (missing.length > 0) this.trim();
    return found;
  }

  /** Pilot processes of a slot that are known; undefined: the slot is not. */
  counted(id: string): number | undefined {
    return this.slots.get(id)?.counters.size;
  }

  forget(ids: Iterable<string>): void {
    for (const id of ids) this.slots.delete(id);
  }

  private trim(): void {
    let entries = 0;
    for (const { speakers, counters } of this.slots.values()) entries += 1 + speakers.size + counters.size;
    for (const [id, { speakers, counters }] of this.slots) {
      if (entries <= this.mostEntries) return;
      entries -= 1 + speakers.size + counters.size;
      this.slots.delete(id);
    }
  }
}

async function readSlots(tx: Queryable, ids: readonly string[]): Promise<Array<[string, KnownSlot]>> {
  const slots = new Map(ids.map((id): [string, KnownSlot] => [id, { speakers: new Map(), counters: new Map(), messages: 0 }]));
  for (const row of await tx.query(slotSpeakers, [ids])) {
    const known = slots.get(row.slot_id);
    if (known === undefined) continue;
    known.messages += row.messages;
    if (!known.speakers.has(nodeKey(row.host))) known.speakers.set(nodeKey(row.host), { host: row.host, pilot: row.pilot });
  }
  for (const row of await tx.query(slotSenders, [ids])) slots.get(row.slot_id)?.counters.set(row.cnonce, row.nc);
  return [...slots];
}
