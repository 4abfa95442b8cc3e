/**
 * Takes what pilots say. Everything that arrives while one transaction runs goes into the next together; an answer is given
 * only after the commit, so what a pilot has an acknowledgement for is stored. Applying it to slots and leases comes later.
 */
import { Fault } from '../../lease/faults.ts';
import type { Notification, NotificationAnswer } from '../../pilot/protocol.ts';
import { createBatcher } from '../../platform/batcher.ts';
import type { Context } from '../../platform/context.ts';
import { inHalves } from '../../platform/halves.ts';
import { isUnavailable, type Db, type Queryable } from '../../store/db.ts';
import { slotStanding, storeMessages, type NewCounter, type NewHearing } from '../../store/slot-messages.ts';
import { admit, standingOf, type Admission, type Proof, type Visit } from './inbox-admit.ts';
import { createSlotSecrets, type SlotSecret } from './inbox-credentials.ts';
import { KnownSlots, type KnownSlot } from './inbox-known.ts';
import { PilotRefusal } from './inbox-refusal.ts';

export interface InboxDeps {
  readonly ctx: Context;
  readonly db: Db;
  /** Messages of these slots were stored that were not there before; called after the commit, must not throw. */
  readonly stored: (slotIds: readonly string[]) => void;
}

/** Who wants to open the agent's channel. */
export interface ChannelVisit {
  readonly slot: string;
  readonly host: string;
  readonly pilot: string;
}

export interface Inbox {
  /** null: no such slot. @throws Fault Unavailable, Busy */
  secretOf(slot: string): Promise<SlotSecret | null>;
  /**
   * `slot` is the one that the request's sender has proved to be of. Resolves when everything is stored.
   * @throws PilotRefusal SlotEnded, Replayed, NotInJob, Busy; Fault Unavailable, after which it may be stored all the same
   */
  take(slot: string, notification: Notification, proof: Proof | null): Promise<NotificationAnswer>;
  /** The same for a channel; resolves with the node's name as it was first heard. @throws as `take` */
  admitChannel(visit: ChannelVisit, proof: Proof): Promise<{ readonly host: string }>;
  idle(): Promise<void>;
  readonly waiting: number;
}

const MOST_IN_BATCH = 1_024;
const MOST_WAITING = 8_192;

export function createInbox(deps: InboxDeps): Inbox {
  const { clock } = deps.ctx;
  const known = new KnownSlots();
  const batcher = createBatcher<Visit, Admission>({
    most: MOST_IN_BATCH,
    mostWaiting: MOST_WAITING,
    full: () => new PilotRefusal('Busy', 'Too many notifications are waiting; try again shortly.'),
    // A message that cannot be written must not keep its neighbours from being.
    run: (all) => inHalves<Visit, Admission>(all, (visits) => storeBatch(deps, known, visits), isUnavailable),
  });
  const visit = (notification: Notification, proof: Proof | null): Promise<Admission> => batcher.add({ notification, proof, receivedAt: clock.now() });

  return {
    secretOf: createSlotSecrets({ db: deps.db, clock }),
    async take(slot, notification, proof) {
      if (notification.slot !== slot) throw new PilotRefusal('NotInJob', `Pilots of slot ${slot} do not speak for slot ${notification.slot}.`);
      const { release } = await visit(notification, proof);
      return { ack: notification.messages.map((m) => m.id), at: clock.now(), do: release ? 'release' : 'stay' };
    },
    async admitChannel({ slot, host, pilot }, proof) {
      const { host: name } = await visit({ v: 2, slot, host, part: 0, pilot, sentAt: clock.now(), messages: [] }, proof);
      return { host: name };
    },
    idle: () => batcher.idle(),
    get waiting() { return batcher.waiting; },
  };
}

async function storeBatch(deps: InboxDeps, known: KnownSlots, visits: readonly Visit[]): Promise<ReadonlyArray<Admission | Error>> {
  const slotIds = [...new Set(visits.map((v) => v.notification.slot))];
  try {
    const { outcomes, fresh } = await deps.db.transaction((tx) => admitAll(tx, known, slotIds, visits));
    if (fresh.length > 0) deps.stored(fresh);
    return outcomes;
  } catch (e) {
    known.forget(slotIds);
    throw e;
  }
}

async function admitAll(tx: Queryable, known: KnownSlots, slotIds: readonly string[], visits: readonly Visit[]) {
  const standing = new Map((await tx.query(slotStanding, [slotIds])).map((row) => [row.id, standingOf(row)]));
  // Another service has heard a pilot that this one has not; pilots of the original are not counted.
  const uncounted = new Set(visits.flatMap((v) => (v.proof === null ? [v.notification.slot] : [])));
  known.forget([...standing.values()].flatMap(({ row }) => (uncounted.has(row.id) || known.counted(row.id) !== row.senders ? [row.id] : [])));
  const slots = await known.load(tx, [...standing.keys()]);
  const outcomes = visits.map((v): Admission | Error => {
    try {
      return admit(standing.get(v.notification.slot), slots.get(v.notification.slot), v);
    } catch (e) {
      if (e instanceof PilotRefusal) return e;
      throw e;
    }
  });
  const admitted = outcomes.filter((o): o is Admission => !(o instanceof Error));
  return { outcomes, fresh: admitted.length === 0 ? [] : await write(tx, slots, admitted) };
}

/** The slots that have something new to apply. */
async function write(tx: Queryable, slots: ReadonlyMap<string, KnownSlot>, admitted: readonly Admission[]): Promise<readonly string[]> {
  const messages = admitted.flatMap((a) => a.messages);
  const counters = new Map<string, NewCounter>();
  const hearings = new Map<string, NewHearing>();
  for (const { counter, hearing } of admitted) {
    // The later of a batch has the higher counter, and was heard later.
    if (counter !== null) counters.set(`${counter.slot_id} ${counter.cnonce}`, counter);
    if (hearing !== null) hearings.set(`${hearing.slot_id} ${hearing.host}`, hearing);
  }
  const [stored] = await tx.query(storeMessages, [JSON.stringify(messages), JSON.stringify([...counters.values()]), JSON.stringify([...hearings.values()])]);
  if (stored?.counters !== counters.size) throw new Fault('Unavailable', 'Another process takes messages of the same pilots; send it again.');
  // Repeats were stored before and count once.
  for (const m of messages) admittedSlot(slots, m.slot_id).messages -= 1;
  for (const slot of stored.fresh) admittedSlot(slots, slot).messages += 1;
  return [...new Set(stored.fresh)];
}

function admittedSlot(slots: ReadonlyMap<string, KnownSlot>, id: string): KnownSlot {
  const slot = slots.get(id);
  if (slot === undefined) throw new Error(`slot ${id} was admitted and is not known`);
  return slot;
}
