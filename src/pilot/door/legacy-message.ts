/**
 * The line form of the original's notifications (Nimbus 2.10.1, `/pilot_notification/v01/`): sender, state, code, and what
 * is left is the message. Its pilots give no message ids, count nothing and know seconds only.
 */
import { createHash } from 'node:crypto';
import { writable } from '../../lease/text.ts';
import { PilotRefusal } from '../../manager/slots/inbox-refusal.ts';
import { ANY_SLOT_ID, HOST_NAME, type MessageState, type Notification, type PilotMessage } from '../protocol.ts';

/** Pilots of the original are all the same process, as far as anyone can tell. */
export const LEGACY_PILOT = '0'.repeat(16);

/** In the order of a pilot's life, which stands for the number that they do not send. */
const STATES: Readonly<Record<string, { readonly state: MessageState; readonly seq: number }>> = {
  'pilot-test': { state: 'test', seq: 1 },
  'pilot-reserved': { state: 'reserved', seq: 2 },
  'pilot-earlyunreserving': { state: 'early-unreserving', seq: 3 },
  'pilot-unreserving': { state: 'unreserving', seq: 4 },
  'pilot-killed': { state: 'killed', seq: 5 },
};
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const MOST_NAMES = 1024;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** @throws PilotRefusal Malformed, SlotEnded (an id that no slot of ours can have) */
export function readLegacy(body: Buffer, receivedAt: number): Notification {
  const [sender = '', word = '', code = '', ...rest] = lines(body);
  const [slot = '', host = '', ...more] = sender.split('+++');
  if (!ANY_SLOT_ID.test(slot) || !HOST_NAME.test(host) || more.length > 0) throw malformed('the first line must be SLOTID+++HOSTNAME');
  const known = Object.hasOwn(STATES, word) ? STATES[word] : undefined;
  if (known === undefined) throw malformed('the second line must be a state');
  if (!/^\d{1,3}$/.test(code) || Number(code) > 255) throw malformed('the third line must be a code from 0 to 255');
  const said = rest.join('\n').trim();
  const id = createHash('sha256').update([sender, word, code, said].join('\n')).digest('hex').slice(0, 32);
  const message = { id, seq: known.seq, at: receivedAt, state: known.state, code: Number(code) };
  return { v: 2, slot, host, part: 0, pilot: LEGACY_PILOT, sentAt: receivedAt, messages: [{ ...message, ...detail(message, said) }] };
}

function lines(body: Buffer): string[] {
  try {
    return utf8.decode(body).split(/\r?\n/);
  } catch {
    throw malformed('it is no UTF-8');
  }
}

function detail({ state, code }: Pick<PilotMessage, 'state' | 'code'>, said: string): Partial<PilotMessage> {
  if (state === 'killed') return { names: namesIn(said) };
  if (code !== 0) return said === '' ? {} : { text: errorText(said) };
  return (state === 'reserved' || state === 'early-unreserving') ? { at: timestamp(said) } : {};
}

function namesIn(said: string): string[] {
  const names = said === '' ? [] : said.split(',');
  if (names.length > MOST_NAMES || !names.every((n) => NAME.test(n))) throw malformed('the fourth line must be names of VMs, with commas between them');
  return names;
}

/** `YYYY-MM-DD-HH-MM-SS` in UTC; a leap second is the next one. */
function timestamp(said: string): number {
  const m = /^(\d{4})-(\d{2})-(\d{2})-(\d{2})-(\d{2})-(\d{2})$/.exec(said);
  const [year = 0, month = 0, day = 0, hour = 99, minute = 99, second = 99] = (m ?? []).slice(1).map(Number);
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 61) throw malformed('the fourth line must be a time as 2026-01-31-23-59-59');
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** Error text comes as it would stand in a shell command: in single quotes, characters escaped, `]eol[` for a line's end. */
function errorText(said: string): string {
  const bare = /^'.*'$/s.test(said) ? said.slice(1, -1) : said;
  return writable(bare.replace(/\\([\\'`|;()?#$^&*=])/g, '$1').replaceAll(']eol[', '\n'));
}

const malformed = (why: string): PilotRefusal => new PilotRefusal('Malformed', `The notification cannot be read: ${why}.`);
