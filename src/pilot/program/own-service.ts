/**
 * The way to our own service: JSON, signed before the first byte leaves (see `../protocol.ts`). Contacts are tried in
 * turn, then the way over SSH where there is one; what answered is asked first the next time.
 */
import type { Duplex } from 'node:stream';
import { MAX_BODY, MAX_MESSAGES, NOTIFY_PATH, REALM } from '../protocol.ts';
import type { Credentials, Notification, NotificationAnswer, PilotMessage } from '../protocol.ts';
import type { Clock } from '../../control/agent/clock.ts';
import type { Contacts } from './contacts.ts';
import { authorization, parseChallenge } from './digest.ts';
import type { Challenge, SignedRequest } from './digest.ts';
import { httpClient } from './http.ts';
import type { HttpAnswer, HttpClient } from './http.ts';
import { connectThrough } from './ssh-way.ts';
import type { SshWay } from './ssh-way.ts';
import { DeliveryError } from './sender.ts';
import type { Delivery, Sender } from './sender.ts';

export interface PilotName {
  readonly slot: string;
  readonly host: string;
  readonly part: number;
  /** This pilot process, `PILOT_ID`. */
  readonly pilot: string;
}

/** Signs with the slot's secret; each has its own `cnonce`, so that two streams of requests need not agree on counters. */
export class Signer {
  readonly #credentials: Credentials;
  readonly #cnonce: string;
  #challenge: Challenge;
  #count = 0;

  constructor(credentials: Credentials, cnonce: string) {
    this.#credentials = credentials;
    this.#cnonce = cnonce;
    this.#challenge = { realm: REALM, nonce: credentials.nonce, algorithm: 'SHA-256', qop: 'auth-int', opaque: '' };
  }

  sign(request: SignedRequest): string {
    this.#count += 1;
    return authorization({ user: this.#credentials.slot, secret: this.#credentials.secret }, this.#challenge, request, this.#count, this.#cnonce);
  }

  /** Takes another nonce over. False when the challenge asks for nothing new: the secret is what is refused. */
  renew(header: string | undefined): boolean {
    const asked = parseChallenge(header);
    if (asked === undefined || asked.realm !== REALM || asked.algorithm !== 'SHA-256' || asked.qop !== 'auth-int') return false;
    if (asked.nonce === this.#challenge.nonce && asked.stale !== true) return false;
    this.#challenge = { ...asked, opaque: asked.opaque ?? '' };
    return true;
  }
}

export interface OwnServiceParts {
  readonly clock: Clock;
  readonly credentials: Credentials;
  readonly contacts: Contacts;
  readonly name: PilotName;
  readonly cnonce: string;
  /** After the contacts; null = there is none. */
  readonly ssh: SshWay | null;
}

export class OwnService implements Sender {
  readonly batch = MAX_MESSAGES;
  readonly #parts: OwnServiceParts;
  readonly #http: HttpClient;
  readonly #signer: Signer;
  #first = 0;

  constructor(parts: OwnServiceParts) {
    this.#parts = parts;
    this.#http = httpClient(parts.clock, parts.credentials);
    this.#signer = new Signer(parts.credentials, parts.cnonce);
  }

  async send(messages: readonly PilotMessage[], deadlineMs: number, signal: AbortSignal): Promise<Delivery> {
    const { ssh } = this.#parts;
    const { url: base, further } = this.#parts.contacts.at(this.#first, ssh === null ? 0 : 1);
    const url = new URL(NOTIFY_PATH, base);
    const connect = further && ssh !== null ? () => connectThrough(ssh) : undefined;
    try {
      const { delivery, contacts } = read(await this.#post(url, messages, deadlineMs, signal, connect), messages);
      if (this.#parts.contacts.learn(contacts)) this.#first = 0;
      return delivery;
    } catch (e) {
      // Whatever is wrong with this one, the next contact is asked the next time.
      if (!(e instanceof DeliveryError && e.trouble !== 'retry')) this.#first += 1;
      throw e instanceof Error && !(e instanceof DeliveryError) ? new DeliveryError('retry', `${url.origin}${further ? ' over SSH' : ''}: ${e.message}`) : e;
    }
  }

  close(): void {
    this.#http.close();
  }

  async #post(url: URL, messages: readonly PilotMessage[], deadlineMs: number, signal: AbortSignal, connect: (() => Duplex) | undefined): Promise<HttpAnswer> {
    const { clock, name } = this.#parts;
    const end = clock.monotonic() + deadlineMs;
    for (let attempt = 1; ; attempt += 1) {
      const body = JSON.stringify({ v: 2, ...name, sentAt: clock.now(), messages } satisfies Notification);
      if (body.length > MAX_BODY) throw new DeliveryError('message', `a body of ${body.length} bytes`);
      const headers = { 'content-type': 'application/json', authorization: this.#signer.sign({ method: 'POST', uri: url.pathname, body }) };
      const answer = await this.#http.post(url, headers, body, Math.max(1, end - clock.monotonic()), signal, connect);
      if (answer.status !== 401 || attempt > 1 || !this.#signer.renew(answer.headers['www-authenticate'])) return answer;
    }
  }
}

function read(answer: HttpAnswer, messages: readonly PilotMessage[]): { delivery: Delivery; contacts: unknown } {
  const said = parse(answer.body);
  switch (answer.status) {
    case 200:
      break;
    case 400:
    case 413:
      throw new DeliveryError('message', refusal(answer, said));
    case 401:
    case 403:
      throw new DeliveryError('final', refusal(answer, said));
    case 410:
      throw new DeliveryError('final', refusal(answer, said), true);
    default:
      throw new DeliveryError('retry', refusal(answer, said));
  }
  const { ack, do: order, contacts } = said as Partial<NotificationAnswer>;
  if (!Array.isArray(ack)) throw new DeliveryError('retry', 'an answer that acknowledges nothing');
  return { delivery: { acknowledged: messages.map((m) => m.id).filter((id) => ack.includes(id)), release: order === 'release' }, contacts };
}

function parse(body: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(body)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function refusal({ status }: HttpAnswer, said: Record<string, unknown>): string {
  const { code, message } = Object(said['error']) as { code?: unknown; message?: unknown };
  return [`the service answered ${status}`, code, message].filter((w) => typeof w === 'string').join(': ').slice(0, 500);
}
