/** A pilot's side of the wire, written from RFC 7616 and `src/pilot/protocol.ts` without the door's own code. */
import { createHash, randomBytes } from 'node:crypto';
import { request, type IncomingHttpHeaders, type RequestOptions } from 'node:http';
import { CHANNEL_PATH, NOTIFY_PATH, REALM, type Notification, type PilotMessage } from '../../../src/pilot/protocol.ts';
import type { TestSlot } from './door.ts';

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
export const newPilotId = (): string => randomBytes(8).toString('hex');
export const newMessageId = (): string => randomBytes(16).toString('hex');

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Code of a refusal, or ''. */
  readonly code: string;
}

export interface Proving {
  readonly cnonce?: string;
  readonly nc?: number;
  readonly nonce?: string;
  readonly method?: string;
  readonly uri?: string;
}

export function authorization(slot: TestSlot, body: string | Buffer, proving: Proving = {}): string {
  const { cnonce = randomBytes(8).toString('hex'), nc = 1, nonce = slot.nonce, method = 'POST', uri = NOTIFY_PATH } = proving;
  const count = nc.toString(16).padStart(8, '0');
  const ha1 = sha256(`${slot.id}:${REALM}:${slot.secret}`);
  const ha2 = sha256(`${method}:${uri}:${sha256(body)}`);
  const response = sha256(`${ha1}:${nonce}:${count}:${cnonce}:auth-int:${ha2}`);
  return `Digest username="${slot.id}", realm="${REALM}", nonce="${nonce}", uri="${uri}", algorithm=SHA-256, qop=auth-int, nc=${count}, cnonce="${cnonce}", response="${response}"`;
}

let seq = 0;
export const message = (over: Partial<PilotMessage> = {}): PilotMessage => ({ id: newMessageId(), seq: (seq += 1), at: Date.now(), state: 'unreserving', code: 0, ...over });

export const notification = (slot: TestSlot, over: Partial<Notification> = {}): Notification => ({
  v: 2, slot: slot.id, host: 'n1', part: 0, pilot: '0123456789abcdef', sentAt: Date.now(), messages: [message()], ...over,
});

export function send(port: number, options: RequestOptions, body: string | Buffer = ''): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port, agent: false, ...options }, (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => { text += chunk; });
      res.on('error', reject);
      res.on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, text, code: /"code":"(\w+)"/.exec(text)?.[1] ?? '' }));
    });
    req.on('error', reject);
    req.end(body);
  });
}

/** One authenticated notification on a connection of its own. */
export function post(port: number, slot: TestSlot, said: Notification | string | Buffer, proving: Proving = {}): Promise<Reply> {
  const body = typeof said === 'string' || Buffer.isBuffer(said) ? said : JSON.stringify(said);
  return send(port, { method: 'POST', path: NOTIFY_PATH, headers: { 'Content-Type': 'application/json', 'Authorization': authorization(slot, body, proving) } }, body);
}

export interface ChannelAsk extends Proving {
  readonly host?: string;
  readonly pilot?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The head of a request for the agent's channel. */
export const channelHead = (slot: TestSlot, ask: ChannelAsk = {}): string => [
  `GET ${CHANNEL_PATH} HTTP/1.1`, 'Host: x', 'Connection: Upgrade', 'Upgrade: nimbus-control', `Nimbus-Node: ${ask.host ?? 'n1'}`,
  `Nimbus-Pilot: ${ask.pilot ?? '0123456789abcdef'}`, `Authorization: ${authorization(slot, '', { method: 'GET', uri: CHANNEL_PATH, ...ask })}`,
  ...Object.entries(ask.headers ?? {}).map(([k, v]) => `${k}: ${v}`), '', '',
].join('\r\n');
