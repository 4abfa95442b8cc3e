/**
 * The stream that the pilot opens to the service, for sites where nobody connects to compute nodes: an HTTP upgrade, then the
 * agent's protocol. Lost, it is opened again until the pilot ends; leases go on meanwhile.
 */
import { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../control/agent/clock.ts';
import type { Peer } from '../../control/agent/connection.ts';
import type { Log } from '../../control/agent/log.ts';
import { CHANNEL_PATH, CHANNEL_PROTOCOL, NODE_HEADER, PILOT_HEADER } from '../protocol.ts';
import type { Credentials } from '../protocol.ts';
import type { Contacts } from './contacts.ts';
import { schemeOf } from './http.ts';
import { Signer } from './own-service.ts';
import type { PilotName } from './own-service.ts';
import { connectThrough, overStream } from './ssh-way.ts';
import type { SshWay } from './ssh-way.ts';

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
/** The service pings every few seconds. */
const SILENCE_MS = 60_000;
/** A stream that lived so long was sound. */
const SOUND_MS = 10_000;

export interface ChannelParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly credentials: Credentials;
  readonly contacts: Contacts;
  readonly name: PilotName;
  readonly cnonce: string;
  /** After the contacts; null = there is none. */
  readonly ssh: SshWay | null;
  /** 0 ≤ r < 1 */
  readonly random: () => number;
  /** ms that opening may take now. */
  readonly deadlineMs: () => number;
  readonly serve: (peer: Peer) => void;
}

export class ServiceChannel {
  readonly #parts: ChannelParts;
  readonly #signer: Signer;
  #contact = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #timer: Timer | undefined;
  #socket: Duplex | undefined;
  #over = false;
  #complained = '';

  constructor(parts: ChannelParts) {
    this.#parts = parts;
    this.#signer = new Signer(parts.credentials, parts.cnonce);
  }

  open(): void {
    if (this.#over) return;
    this.#try().catch((e: unknown) => {
      const why = (e as Error).message;
      if (this.#complained !== why) this.#parts.log.warn('the channel to the service is not open', { why });
      this.#complained = why;
      this.#contact += 1;
      this.#again();
    });
  }

  close(): void {
    this.#over = true;
    this.#timer?.cancel();
  }

  async #try(): Promise<void> {
    const { contacts, clock, log, serve, ssh } = this.#parts;
    const { url: base, further } = contacts.at(this.#contact, ssh === null ? 0 : 1);
    const socket = await this.#upgrade(new URL(CHANNEL_PATH, base), 1, further ? ssh : null);
    if (this.#over) return void socket.destroy();
    this.#socket = socket;
    this.#complained = '';
    log.info('the channel to the service is open', { contact: further ? `${base} over SSH` : base });
    // A way over SSH sees to its own silence.
    if (!further) {
      const own = socket as Socket;
      own.setNoDelay(true);
      own.setTimeout(SILENCE_MS, () => own.destroy());
    }
    const since = clock.monotonic();
    socket.on('error', () => undefined);
    socket.once('close', () => {
      if (this.#socket !== socket || this.#over) return;
      log.warn('the channel to the service is lost');
      if (clock.monotonic() - since > SOUND_MS) this.#pauseMs = FIRST_PAUSE_MS;
      this.#again();
    });
    serve({ input: socket, output: socket, name: 'service' });
  }

  #again(): void {
    if (this.#over) return;
    const pauseMs = this.#pauseMs * (0.5 + this.#parts.random() / 2);
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * this.#pauseMs);
    this.#timer = this.#parts.clock.after(pauseMs, () => this.open());
  }

  /** @throws Error with what the service said */
  async #upgrade(url: URL, attempt: number, ssh: SshWay | null): Promise<Duplex> {
    const { credentials, name } = this.#parts;
    const { request } = await schemeOf(url);
    const tls = credentials.ca === undefined ? {} : { ca: credentials.ca };
    const sent = request(url, {
      method: 'GET', ...(ssh === null ? { agent: false, ...tls } : await overStream(url, () => connectThrough(ssh, { clock: this.#parts.clock, ms: SILENCE_MS }), tls)),
      headers: {
        connection: 'Upgrade', upgrade: CHANNEL_PROTOCOL, [NODE_HEADER]: name.host, [PILOT_HEADER]: name.pilot,
        authorization: this.#signer.sign({ method: 'GET', uri: url.pathname, body: '' }),
      },
    });
    const answer = await new Promise<Duplex | IncomingMessage>((resolve, reject) => {
      const timer = this.#parts.clock.after(this.#parts.deadlineMs(), () => sent.destroy(new Error('no answer in time')));
      sent.on('upgrade', (_response, socket: Duplex, head: Buffer) => {
        timer.cancel();
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      sent.on('response', (response) => {
        timer.cancel();
        response.resume();
        resolve(response);
      });
      sent.on('error', (e) => {
        timer.cancel();
        reject(e);
      });
      sent.end();
    });
    if (!(answer instanceof IncomingMessage)) return answer;
    sent.destroy();
    if (answer.statusCode === 401 && attempt === 1 && this.#signer.renew(answer.headers['www-authenticate'])) return this.#upgrade(url, 2, ssh);
    throw new Error(`the service answered ${answer.statusCode ?? 0}`);
  }
}
