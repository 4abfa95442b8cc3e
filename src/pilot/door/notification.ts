/** The body of a notification: JSON, checked field by field. What a later pilot may add is passed over. */
import { z } from 'zod';
import { writable } from '../../lease/text.ts';
import { PilotRefusal } from '../../manager/slots/inbox-refusal.ts';
import { HOST_NAME, MAX_MESSAGES, MESSAGE_ID, PILOT_ID, PILOT_STAMPS, SLOT_ID, type Notification } from '../protocol.ts';

/** ms since the epoch, before the year 10000: a time that every part of the house can write. */
const moment = z.int().min(0).max(253_402_300_799_999);
const text = z.string().transform(writable);
const seconds31 = z.int().min(0).max(2 ** 31 - 1);
/** Of VMs: lease ids, and what the original calls them. */
const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const account = z.string().regex(/^[A-Za-z_][A-Za-z0-9._-]{0,63}\$?$/);
const directory = z.string().max(1024).regex(/^\/[^\x00-\x1f\x7f]*$/);
const hostKey = z.string().max(4096).regex(/^[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}$/);
const version = z.string().regex(/^[0-9A-Za-z.+-]{1,64}$/);

const message = z.object({
  id: z.string().regex(MESSAGE_ID),
  seq: z.int().min(1).max(2 ** 31 - 1),
  at: moment,
  state: z.enum(['test', 'reserved', 'early-unreserving', 'unreserving', 'killed', 'restored', 'alive']),
  code: z.int().min(0).max(255),
  text: text.exactOptional(),
  names: z.array(name).max(1024).exactOptional(),
  graceMs: seconds31.exactOptional(),
  stamps: z.object(Object.fromEntries(PILOT_STAMPS.map((s) => [s, moment.exactOptional()]))).exactOptional(),
  reserved: z.object({
    memoryMb: seconds31,
    until: moment,
    agent: z.object({ user: account, stateDir: directory, hostKeys: z.array(hostKey).max(16) }).exactOptional(),
    version,
  }).exactOptional(),
});

const notification: z.ZodType<Notification> = z.object({
  v: z.literal(2),
  slot: z.string().regex(SLOT_ID),
  host: z.string().regex(HOST_NAME),
  part: z.int().min(0).max(65_535),
  pilot: z.string().regex(PILOT_ID),
  sentAt: moment,
  messages: z.array(message).min(1).max(MAX_MESSAGES),
});

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** @throws PilotRefusal Malformed, which names the first field that is wrong */
export function readNotification(body: Buffer): Notification {
  let json: unknown;
  try {
    json = JSON.parse(utf8.decode(body));
  } catch {
    throw new PilotRefusal('Malformed', 'The body is no JSON in UTF-8.');
  }
  const read = notification.safeParse(json);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  throw new PilotRefusal('Malformed', `${issue?.path.join('.') || 'The body'}: ${issue?.message ?? 'cannot be read'}`);
}
