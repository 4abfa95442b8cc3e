/**
 * The service's end of the wire, small and faithful, written from RFC 7616 and RFC 2617 and not from the pilot's code: our own
 * form (v02) and that of the original (v01). It verifies what it is sent, keeps it, and behaves as a test wants.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Credentials, MessageState, Notification, PilotMessage } from '../../../src/pilot/protocol.ts';
import { freePort } from '../../support/ports.ts';

export type Behaviour = 'answer' | 'hang' | 'cut' | 'release' | { readonly status: number; readonly body?: string; readonly headers?: Record<string, string> };

export interface Received {
  readonly url: string;
  readonly body: string;
  readonly headers: IncomingMessage['headers'];
  /** null = there was no, or no good, authentication. */
  readonly nc: number | null;
}

export interface Tls {
  readonly cert: string;
  readonly key: string;
}

const hash = (algorithm: string, text: string): string => createHash(algorithm).update(text).digest('hex');

class Wire {
  readonly requests: Received[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #listeners = new Set<() => void>();
  #server: Server | undefined;
  #port = 0;
  #scheme = 'http';

  constructor(readonly take: (request: IncomingMessage, body: string, response: ServerResponse) => void) {}

  get url(): string {
    return `${this.#scheme}://127.0.0.1:${this.#port}`;
  }

  /** On the same port as before. */
  async start(onUpgrade?: (request: IncomingMessage, socket: Socket) => void, tls?: Tls): Promise<void> {
    const take = (request: IncomingMessage, response: ServerResponse): void => {
      let body = '';
      request.setEncoding('utf8').on('data', (chunk: string) => { body += chunk; }).on('end', () => {
        this.take(request, body, response);
        this.changed();
      });
      request.on('error', () => undefined);
    };
    this.#scheme = tls === undefined ? 'http' : 'https';
    const server = tls === undefined ? createServer(take) : createTlsServer(tls, take);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).once('close', () => this.#sockets.delete(socket));
    });
    if (onUpgrade !== undefined) server.on('upgrade', (request, socket) => onUpgrade(request, socket as Socket));
    this.#port ||= await freePort('127.0.0.1');
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(this.#port, '127.0.0.1', resolve));
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** The first thing of which `pick` makes something, past or to come. The test's own time-out is the deadline. */
  wait<T>(pick: () => T | undefined): Promise<T> {
    return new Promise((resolve) => {
      const look = (): void => {
        const picked = pick();
        if (picked === undefined) return;
        this.#listeners.delete(look);
        resolve(picked);
      };
      this.#listeners.add(look);
      look();
    });
  }
}

function parameters(header: string | undefined): Map<string, string> {
  const found = [...(header ?? '').replace(/^Digest /, '').matchAll(/(\w+)=(?:"([^"]*)"|([^, ]+))/g)];
  return new Map(found.map((m) => [m[1] ?? '', m[2] ?? m[3] ?? '']));
}

/** Our own service, for one slot. */
export class Service {
  readonly credentials: Credentials;
  readonly messages: PilotMessage[] = [];
  readonly notifications: Notification[] = [];
  readonly channels: Socket[] = [];
  /** What becomes of the next requests; then `usual`. */
  readonly next: Behaviour[] = [];
  usual: Behaviour = 'answer';
  /** Decides by what a request carries; undefined = `next`, `usual`. */
  rule: (notification: Notification) => Behaviour | undefined = () => undefined;
  nonce = randomBytes(16).toString('hex');
  /** Where it says that services listen. */
  contacts: readonly unknown[] | undefined;
  readonly wire: Wire;
  #highest = new Map<string, number>();

  constructor(slot = 'sl-0123456789ab', readonly channel = false) {
    this.wire = new Wire((request, body, response) => this.#take(request, body, response));
    const secret = randomBytes(16).toString('hex');
    const nonce = this.nonce;
    const wire = this.wire;
    this.credentials = { slot, get contacts() { return [wire.url]; }, secret, nonce, channel };
  }

  start(tls?: Tls): Promise<void> {
    return this.wire.start((request, socket) => {
      if (this.#authentic(request, '') === null) return void socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n');
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: nimbus-control\r\n\r\n');
      this.channels.push(socket);
      this.wire.requests.push({ url: request.url ?? '', body: '', headers: request.headers, nc: 0 });
      this.wire.changed();
    }, tls);
  }

  stop(): Promise<void> {
    return this.wire.stop();
  }

  message(state: MessageState): Promise<PilotMessage> {
    return this.wire.wait(() => this.messages.find((m) => m.state === state));
  }

  states(): string[] {
    return this.messages.map((m) => (m.code === 0 ? m.state : `${m.state} ${m.code}`));
  }

  #take(request: IncomingMessage, body: string, response: ServerResponse): void {
    const nc = this.#authentic(request, body);
    this.wire.requests.push({ url: request.url ?? '', body, headers: request.headers, nc });
    if (nc === null) {
      response.writeHead(401, { 'www-authenticate': `Digest realm="nimbus-pilot", qop="auth-int", algorithm=SHA-256, nonce="${this.nonce}", opaque="", stale=true` }).end();
      return;
    }
    const notification = JSON.parse(body) as Notification;
    const behaviour = this.rule(notification) ?? this.next.shift() ?? this.usual;
    if (behaviour === 'hang') return;
    if (behaviour === 'cut') return void request.socket.destroy();
    if (typeof behaviour === 'object') return void response.writeHead(behaviour.status, behaviour.headers).end(behaviour.body ?? '');
    this.notifications.push(notification);
    for (const m of notification.messages) if (!this.messages.some((known) => known.id === m.id)) this.messages.push(m);
    const answer = { ack: notification.messages.map((m) => m.id), at: Date.now(), do: behaviour === 'release' ? 'release' : 'stay', contacts: this.contacts };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }

  /** RFC 7616, 3.4: SHA-256, qop=auth-int. The counter when everything is right and it was never seen. */
  #authentic(request: IncomingMessage, body: string): number | null {
    const p = parameters(request.headers.authorization);
    const { slot, secret } = this.credentials;
    const a1 = hash('sha256', `${slot}:nimbus-pilot:${secret}`);
    const a2 = hash('sha256', `${request.method ?? ''}:${request.url ?? ''}:${hash('sha256', body)}`);
    const wanted = hash('sha256', [a1, this.nonce, p.get('nc'), p.get('cnonce'), 'auth-int', a2].join(':'));
    const nc = Number.parseInt(p.get('nc') ?? '0', 16);
    const cnonce = p.get('cnonce') ?? '';
    const right = p.get('username') === slot && p.get('uri') === request.url && p.get('nonce') === this.nonce && p.get('response') === wanted;
    if (!right || nc <= (this.#highest.get(cnonce) ?? 0)) return null;
    this.#highest.set(cnonce, nc);
    return nc;
  }
}

/** An original service: Jetty's digest (RFC 2617, MD5), a body of lines. */
export class OriginalSite {
  readonly bodies: string[] = [];
  usual: Behaviour = 'answer';
  readonly wire: Wire;
  readonly #nonce = randomBytes(8).toString('hex');

  constructor(readonly account = 'pilotaccount', readonly secret = 'a secret "of the site" \\') {
    this.wire = new Wire((request, body, response) => this.#take(request, body, response));
  }

  #take(request: IncomingMessage, body: string, response: ServerResponse): void {
    const nc = this.#authentic(request) ? 1 : null;
    this.wire.requests.push({ url: request.url ?? '', body, headers: request.headers, nc });
    if (this.usual === 'hang') return;
    if (nc === null) {
      response.writeHead(401, { 'www-authenticate': `Digest realm="pilotrealm", domain="", nonce="${this.#nonce}", algorithm=MD5, qop="auth", stale=false` }).end();
      return;
    }
    if (typeof this.usual === 'object') return void response.writeHead(this.usual.status).end(this.usual.body ?? '');
    this.bodies.push(body);
    response.writeHead(200).end('OK');
  }

  #authentic(request: IncomingMessage): boolean {
    const header = (request.headers.authorization ?? '').replaceAll('\\"', '"').replaceAll('\\\\', '\\');
    const p = parameters(header);
    const a1 = hash('md5', `${this.account}:pilotrealm:${this.secret}`);
    const a2 = hash('md5', `POST:${request.url ?? ''}`);
    return p.get('response') === hash('md5', [a1, this.#nonce, p.get('nc'), p.get('cnonce'), 'auth', a2].join(':'));
  }
}
