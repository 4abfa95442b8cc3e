/**
 * Whether an authenticated pilot may say what it says: pure, on what the tables and earlier requests tell of its slot.
 * What is admitted is noted in `KnownSlot` at once, so that the next of the same batch sees it.
 */
import type { Notification, PilotMessage } from '../../pilot/protocol.ts';
import type { NewCounter, NewHearing, NewMessage, SlotStandingRow } from '../../store/slot-messages.ts';
import { nodeKey, type KnownSlot, type Speaker } from './inbox-known.ts';
import { PilotRefusal } from './inbox-refusal.ts';

/** Which request of which pilot process this is (RFC 7616: `cnonce`, `nc`). */
export interface Proof {
  readonly cnonce: string;
  readonly nc: number;
}

export interface Visit {
  readonly notification: Notification;
  /** null: it came with the account that pilots of the original share, whose requests are counted elsewhere. */
  readonly proof: Proof | null;
  /** Service's wall clock, ms. */
  readonly receivedAt: number;
}

export interface Standing {
  readonly row: SlotStandingRow;
  /** Keys of nodes: those of the job, and those whose pilots shall go. */
  readonly hosts: ReadonlySet<string>;
  readonly leaving: ReadonlySet<string>;
}

export interface Admission {
  /** The node's name as it was first heard. */
  readonly host: string;
  readonly release: boolean;
  readonly messages: readonly NewMessage[];
  readonly counter: NewCounter | null;
  readonly hearing: NewHearing | null;
}

/** A pilot that does as it should says less than a dozen things. */
export const mostMessages = (nodes: number): number => 10_000 + 16 * nodes;
/** A node's pilot may be started again a few times, and an administrator's dry runs count too. */
export const mostCounters = (nodes: number): number => 4 * nodes + 16;
const LARGEST_OFFSET = 2 ** 31 - 1;

export const standingOf = (row: SlotStandingRow): Standing => ({
  row, hosts: new Set(row.hosts.map(nodeKey)), leaving: new Set(row.leaving.map(nodeKey)),
});

/** @throws PilotRefusal SlotEnded, Replayed, NotInJob, Busy; then nothing is noted */
export function admit(standing: Standing | undefined, known: KnownSlot | undefined, visit: Visit): Admission {
  const { notification: n, proof } = visit;
  if (standing === undefined || known === undefined || standing.row.final) throw new PilotRefusal('SlotEnded', `Slot ${n.slot} has ended.`);
  checkCounter(standing, known, proof);
  const speaker = speakerFor(standing, known, n);
  const kept = n.messages.filter((m) => m.state !== 'alive' && m.state !== 'test');
  const most = mostMessages(standing.row.nodes);
  if (known.messages + kept.length > most) throw new PilotRefusal('Busy', `Slot ${n.slot} has sent ${most} messages.`);

  const onlyTest = n.messages.length > 0 && n.messages.every((m) => m.state === 'test');
  if (proof !== null) known.counters.set(proof.cnonce, proof.nc);
  if (!onlyTest) known.speakers.set(nodeKey(n.host), speaker);
  known.messages += kept.length;
  // Pilots of the original, and those who open a channel, do not say what their clock shows.
  const offset = proof === null || n.messages.length === 0 ? null : Math.max(-LARGEST_OFFSET, Math.min(LARGEST_OFFSET, Math.round(n.sentAt - visit.receivedAt)));
  return {
    host: speaker.host,
    release: standing.row.state === 'Releasing' || standing.leaving.has(nodeKey(n.host)),
    messages: kept.map((m) => newMessage(standing, speaker, visit, m, offset)),
    counter: proof === null ? null : { slot_id: n.slot, cnonce: proof.cnonce, nc: proof.nc },
    hearing: onlyTest ? null : { slot_id: n.slot, host: speaker.host, pilot: n.pilot, at: visit.receivedAt, offset_ms: offset },
  };
}

function checkCounter({ row }: Standing, { counters }: KnownSlot, proof: Proof | null): void {
  if (proof === null) return;
  const highest = counters.get(proof.cnonce);
  if (highest !== undefined && proof.nc <= highest) throw new PilotRefusal('Replayed', `Request ${proof.nc} of this pilot process came before; the last one was ${highest}.`);
  if (highest === undefined && counters.size >= mostCounters(row.nodes)) throw new PilotRefusal('NotInJob', `${counters.size} pilot processes have spoken for slot ${row.id} already.`);
}

function speakerFor({ row, hosts }: Standing, { speakers }: KnownSlot, n: Notification): Speaker {
  const key = nodeKey(n.host);
  if (hosts.size > 0 && !hosts.has(key)) throw new PilotRefusal('NotInJob', `${n.host} is no node of the job of slot ${row.id}.`);
  const speaker = speakers.get(key);
  if (speaker === undefined) {
    if (speakers.size >= row.nodes) throw new PilotRefusal('NotInJob', `All ${row.nodes} nodes of slot ${row.id} have been heard, and ${n.host} is none of them.`);
    return { host: n.host, pilot: n.pilot };
  }
  if (speaker.pilot !== n.pilot) throw new PilotRefusal('NotInJob', `Another pilot speaks for ${n.host}; this one belongs to a previous life of slot ${row.id}.`);
  return speaker;
}

/**
 * A pilot's clock may say anything. What it says of a moment, less what it says of the request's own, is how long ago that
 * was; nothing happened before the slot was there or after the message had arrived.
 */
function newMessage({ row }: Standing, { host }: Speaker, { notification: n, receivedAt }: Visit, m: PilotMessage, offset: number | null): NewMessage {
  const sentAt = offset === null ? receivedAt : n.sentAt;
  const earliest = Math.min(sentAt, row.created_at + sentAt - receivedAt);
  const sane = (moment: number): number => Math.max(earliest, Math.min(sentAt, moment));
  const at = sane(m.at);
  const stamps = m.stamps === undefined ? {} : { stamps: Object.fromEntries(Object.entries(m.stamps).map(([k, v]) => [k, sane(v)])) };
  return {
    slot_id: n.slot, id: m.id, host, pilot: n.pilot, seq: m.seq, at: receivedAt - (sentAt - at), received_at: receivedAt,
    body: { part: n.part, offsetMs: offset, message: { ...m, at, ...stamps } },
  };
}
