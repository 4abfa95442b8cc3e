/** The listener for pilots: HTTP or HTTPS, bounded in connections, requests, headers, bodies and time. */
import { readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Inbox } from '../../manager/slots/inbox.ts';
import { PilotRefusal } from '../../manager/slots/inbox-refusal.ts';
import type { Config } from '../../platform/config.ts';
import type { Context } from '../../platform/context.ts';
import { hostAndPort, urlHost } from '../../platform/http/address.ts';
import { ClientGone, createBodyReader } from '../../platform/http/body.ts';
import { trackAnswers } from '../../platform/http/connections.ts';
import { LEGACY_NOTIFY_PATH, MAX_BODY, NOTIFY_PATH, type RefusalCode } from '../protocol.ts';
import { refused, type Answer } from './answers.ts';
import { createAuthenticate } from './authenticate.ts';
import { createChannelDoor } from './channel.ts';
import { handleClientErrors } from './client-errors.ts';
import { createLegacy } from './legacy.ts';
import { notify } from './notify.ts';
import { asRefusal, peerOf, type ChannelDesk, type PilotDoorParts, type Received } from './parts.ts';
import { createRefusals } from './refusals.ts';

export interface PilotServer {
  listen(): Promise<{ url: string; port: number }>;
  /** Requests that were refused since the start, by code. */
  readonly refused: Readonly<Record<RefusalCode, number>>;
  /** Finishes what has begun, within a bound, and takes nothing new; channels end at once. */
  close(): Promise<void>;
}

export interface PilotServerDeps {
  readonly inbox: Inbox;
  readonly channels: ChannelDesk;
  /** Base URLs at which pilots find services, this one first; absent: as their credentials say. */
  readonly contacts?: () => readonly string[];
}

const LIMITS: ServerOptions = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 20_000,
  // Longer than the pause between two signs of life of a pilot.
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 2_000,
};
/** Channels included. */
const MAX_CONNECTIONS = 16_384;
/** All pilots of a large job connect in the same moment. */
const BACKLOG = 4_096;
const MAX_REQUESTS = 8_192;
/** Requests of one connection that may wait for their turn. */
const MAX_PIPELINED = 100;
const DRAIN_MS = 5_000;

const NOTHING_HERE: Answer = { ...refused(new PilotRefusal('Malformed', 'There is nothing at this path.')), status: 404 };

type Exchange = (request: Received) => Promise<Answer>;

/** `limits` shortens the times that a test waits for. */
export function createPilotServer(ctx: Context, deps: PilotServerDeps, config: Config['pilot'], limits: ServerOptions = {}): PilotServer {
  const secure = config.tls_certificate !== '' && config.tls_key !== '';
  const bodies = createBodyReader(MAX_BODY);
  const parts: PilotDoorParts = { ctx, inbox: deps.inbox, contacts: deps.contacts ?? (() => []), refusals: createRefusals(ctx) };
  const authenticate = createAuthenticate(ctx, deps.inbox);
  const channels = createChannelDoor(parts, authenticate, deps.channels);
  const exchanges = new Map<string, Exchange>([
    [NOTIFY_PATH, (request) => notify(parts, authenticate, request)],
    [LEGACY_NOTIFY_PATH, createLegacy(parts, config)],
  ]);
  let running = 0;
  let closing = false;

  const respond = (response: ServerResponse, { status, contentType, headers, body }: Answer, close: boolean): void => {
    const head = ['Content-Type', contentType, 'Content-Length', String(Buffer.byteLength(body)), ...headers];
    if (status === 405) head.push('Allow', 'POST');
    if (close || closing) head.push('Connection', 'close');
    response.writeHead(status, head).end(body);
  };

  const carryOut = async (exchange: Exchange, request: IncomingMessage): Promise<Answer> => {
    try {
      const body = await bodies.read(request);
      return await exchange({ method: 'POST', target: request.url ?? '', authorization: request.headers.authorization, body, peer: peerOf(request) });
    } catch (e) {
      if (e instanceof ClientGone) throw e;
      const refusal = asRefusal(ctx, e);
      parts.refusals.note({ code: refusal.code, message: refusal.message, slot: '', proved: false, peer: peerOf(request)() });
      return refused(refusal);
    }
  };

  /** Answers that need nothing but the request's head. */
  const atOnce = (request: IncomingMessage): Answer | undefined => {
    if (request.method !== 'POST') return { ...refused(new PilotRefusal('Malformed', 'Notifications are sent with POST.')), status: 405 };
    if (running >= MAX_REQUESTS || outstanding(request.socket).length > MAX_PIPELINED) return refused(new PilotRefusal('Busy', 'Too many requests are being answered; try again shortly.'));
    return undefined;
  };

  const begin = (request: IncomingMessage, response: ServerResponse): void => {
    const exchange = exchanges.get(pathOf(request));
    if (exchange === undefined) return respond(response, NOTHING_HERE, true);
    const known = atOnce(request);
    if (known !== undefined) return respond(response, known, true);
    running++;
    carryOut(exchange, request)
      .then((a) => respond(response, a, !request.complete))
      .catch((e: unknown) => {
        // A pilot that went away repeats what it has no acknowledgement for.
        if (!(e instanceof ClientGone)) ctx.log.error('a pilot\'s request could not be answered', { error: String(e) });
        response.destroy();
      })
      .finally(() => { running--; });
  };

  const server: Server = secure
    ? createHttps({ ...LIMITS, ...limits, cert: readFileSync(config.tls_certificate), key: readFileSync(config.tls_key) })
    : createHttp({ ...LIMITS, ...limits });
  server.maxConnections = MAX_CONNECTIONS;
  const outstanding = trackAnswers(server);
  /** One after the other on a connection: their counters go up. */
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const before = outstanding(request.socket).at(-2);
    if (before === undefined) begin(request, response);
    else before.once('close', () => begin(request, response));
  });
  server.on('upgrade', (request: IncomingMessage, socket, head: Buffer) => {
    // An answer on this connection is under way; another protocol cannot begin.
    if (outstanding(socket).length > 0 || closing) socket.destroy();
    else channels.upgrade(request, socket, head);
  });
  handleClientErrors(server, ctx, outstanding);

  return {
    refused: parts.refusals.counts,
    async listen() {
      const { host, port } = hostAndPort(config.listen);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ port: Number(port), backlog: BACKLOG, ...(host === '' || host === '*' ? {} : { host }) }, () => {
          server.off('error', reject);
          resolve();
        });
      });
      server.on('error', (e) => ctx.log.error('the listener for pilots failed', { error: e.message }));
      const at = (server.address() as AddressInfo).port;
      return { url: `${secure ? 'https' : 'http'}://${urlHost(host)}:${at}`, port: at };
    },
    async close() {
      closing = true;
      channels.close();
      if (!server.listening) return;
      await new Promise<void>((resolve) => {
        const timer = ctx.clock.after(DRAIN_MS, () => server.closeAllConnections());
        server.close(() => { timer.cancel(); resolve(); });
        server.closeIdleConnections();
      });
    },
  };
}

/** Without its query, and in lower case, as the original compares it. */
function pathOf({ url = '' }: IncomingMessage): string {
  const q = url.indexOf('?');
  return (q < 0 ? url : url.slice(0, q)).replace(/^https?:\/\/[^/]*/i, '').toLowerCase();
}
