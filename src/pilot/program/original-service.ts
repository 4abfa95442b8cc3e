/**
 * The way to an original service (Nimbus 2.10.1), byte for byte as its own pilot speaks: one message a request, a body of
 * lines, MD5 digest with the site's shared account; where that fails, SSH to a script that writes the message into a file.
 */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../control/agent/clock.ts';
import { LEGACY_NOTIFY_PATH } from '../protocol.ts';
import type { MessageState, PilotMessage } from '../protocol.ts';
import type { PilotConfig } from './config.ts';
import type { Contact } from './contact.ts';
import { withDeadline } from './deadline.ts';
import { authorization, parseChallenge } from './digest.ts';
import type { Challenge } from './digest.ts';
import { httpClient } from './http.ts';
import type { HttpAnswer, HttpClient } from './http.ts';
import { runCommand } from './memory/command.ts';
import { DeliveryError } from './sender.ts';
import type { Delivery, Sender } from './sender.ts';

/** What urllib2 says of a body whose type nobody set. */
const FORM = 'application/x-www-form-urlencoded';
/** Signs that the original escapes in error texts, on both ways. */
const ESCAPED = /[\\'`|;()?#$^&*=]/g;
const MAX_TEXT = 2000;

export interface OriginalServiceParts {
  readonly clock: Clock;
  readonly contact: Contact;
  readonly http: PilotConfig['http'];
  readonly ssh: PilotConfig['ssh'];
  readonly slot: string;
  readonly host: string;
}

/** State and words of a message; null when the original has no such message. */
export function originalForm(message: PilotMessage): { readonly state: string; readonly code: number; readonly text: string } | null {
  const { code } = message;
  const state = STATES[message.state];
  if (message.state === 'restored' && code !== 0) return { state: 'pilot-unreserving', code, text: errorText(message.text) };
  if (state === null) return null;
  if (message.state === 'killed') return { state, code, text: (message.names ?? []).join(',') };
  if (code !== 0) return { state, code, text: errorText(message.text) };
  return { state, code, text: message.state === 'reserved' || message.state === 'early-unreserving' ? timestamp(message.at) : '' };
}

const STATES: Readonly<Record<MessageState, string | null>> = {
  test: 'pilot-test', reserved: 'pilot-reserved', 'early-unreserving': 'pilot-earlyunreserving', unreserving: 'pilot-unreserving',
  killed: 'pilot-killed', restored: null, alive: null,
};

/** `YYYY-MM-DD-HH-MM-SS`, UTC. */
const timestamp = (at: number): string => new Date(at).toISOString().slice(0, 19).replace(/[T:]/g, '-');

/** In the original's quotes; a line feed travels as the word `]eol[`. */
function errorText(text: string | undefined): string {
  const line = (text ?? '').slice(0, MAX_TEXT).replace(/\s*\r?\n\s*/g, ' ]eol[ ').replace(/[\x00-\x1f\x7f]/g, ' ');
  return `'PILOT ERROR: ${line.replace(ESCAPED, '\\$&')}'`;
}

export class OriginalService implements Sender {
  readonly batch = 1;
  readonly #parts: OriginalServiceParts;
  readonly #http: HttpClient;
  #challenge: Challenge | undefined;
  #count = 0;

  constructor(parts: OriginalServiceParts) {
    this.#parts = parts;
    this.#http = httpClient(parts.clock, {});
  }

  async send(messages: readonly PilotMessage[], deadlineMs: number, signal: AbortSignal): Promise<Delivery> {
    const [message] = messages;
    const form = message === undefined ? null : originalForm(message);
    const delivery = { acknowledged: messages.map((m) => m.id), release: false };
    if (form === null) return delivery;
    const { contact, http, ssh } = this.#parts;
    const failures: Error[] = [];
    // Both ways share the deadline, or the second would never be gone.
    const ways = [contact.http !== null && http !== null, contact.ssh !== null && ssh !== null].filter((w) => w).length;
    for (const way of [() => this.#overHttp(form, deadlineMs / ways, signal), () => this.#overSsh(form, deadlineMs / ways, signal)]) {
      try {
        if (await way()) return delivery;
      } catch (e) {
        failures.push(e instanceof Error ? e : new Error(String(e)));
      }
    }
    throw failures[0] ?? new DeliveryError('message', 'neither [http] account nor [systempaths] ssh is configured for this contact');
  }

  close(): void {
    this.#http.close();
  }

  get #sender(): string {
    return `${this.#parts.slot}+++${this.#parts.host}`;
  }

  /** False when there is no such way. */
  async #overHttp({ state, code, text }: Form, deadlineMs: number, signal: AbortSignal): Promise<boolean> {
    const { contact, http, clock } = this.#parts;
    if (contact.http === null || http === null) return false;
    const body = `${[this.#sender, state, String(code), ...(text === '' ? [] : [text])].join('\n')}\n`;
    const url = new URL(LEGACY_NOTIFY_PATH, contact.http);
    const end = clock.monotonic() + deadlineMs;
    const post = (): Promise<HttpAnswer> => this.#http.post(url, this.#headers(url, body, http), body, Math.max(1, end - clock.monotonic()), signal);
    let answer = await post();
    if (answer.status === 401) {
      const asked = parseChallenge(answer.headers['www-authenticate']);
      if (asked === undefined) throw new DeliveryError('final', 'the service asks for an authentication that is not digest');
      this.#challenge = asked;
      this.#count = 0;
      answer = await post();
    }
    if (answer.status === 200) return true;
    const words = `the service answered ${answer.status}: ${answer.body.slice(0, 200)}`;
    if (answer.status === 406) throw new DeliveryError('message', words);
    throw new DeliveryError(answer.status === 401 || answer.status === 403 ? 'final' : 'retry', words);
  }

  #headers(url: URL, body: string, http: { account: string; secret: string }): Record<string, string> {
    if (this.#challenge === undefined) return { 'content-type': FORM };
    this.#count += 1;
    const request = { method: 'POST', uri: url.pathname, body };
    const cnonce = randomBytes(8).toString('hex');
    return { 'content-type': FORM, authorization: authorization({ user: http.account, secret: http.secret }, this.#challenge, request, this.#count, cnonce) };
  }

  /** False when there is no such way. */
  async #overSsh({ state, code, text }: Form, deadlineMs: number, signal: AbortSignal): Promise<boolean> {
    const { contact, ssh, clock } = this.#parts;
    if (contact.ssh === null || ssh === null) return false;
    const { target, port, path } = contact.ssh;
    const key = ssh.credential === null ? [] : ['-i', ssh.credential];
    const words = [path, 'write', this.#sender, state, String(code), ...(text === '' ? [] : [shellWord(text)])];
    const argv = [ssh.program, ...key, '-p', String(port), '-o', 'BatchMode=yes', target, ...words];
    await withDeadline(clock, deadlineMs, (limit) => runCommand(argv, { clock, signal: limit }), signal);
    return true;
  }
}

type Form = Exclude<ReturnType<typeof originalForm>, null>;

/** One word for the shell at the other end: ssh(1) joins its arguments with spaces. */
const shellWord = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
