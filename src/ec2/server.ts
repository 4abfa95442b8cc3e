/** The EC2 listener, for Query and SOAP: HTTP or HTTPS, bounded in connections, requests, headers, bodies and time. */
import { readFileSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Fault } from '../lease/faults.ts';
import type { Manager } from '../manager/types.ts';
import type { Config } from '../platform/config.ts';
import type { Context } from '../platform/context.ts';
import { hostAndPort, urlHost } from '../platform/http/address.ts';
import { ClientGone, createBodyReader } from '../platform/http/body.ts';
import { trackAnswers } from '../platform/http/connections.ts';
import { newRequestId } from '../platform/ids.ts';
import { createAuthenticator } from './auth/authenticate.ts';
import { createReplayGuard } from './auth/replay.ts';
import { answer, refusal } from './door.ts';
import type { Answer, DoorRequest } from './door.ts';
import { handleClientErrors } from './client-errors.ts';
import { createSoapSigners, type SoapTrust } from './soap/authenticate.ts';
import { answerSoap, isSoap, saysXml, type SoapDoorParts } from './soap/door.ts';
import { soapRefusal } from './soap/fault.ts';
import { wsdlAnswer } from './soap/pages.ts';
import { createThrottle } from './throttle.ts';

export interface Ec2Server {
  listen(): Promise<{ url: string; port: number }>;
  /** Finishes what has begun, within a bound, and takes nothing new. */
  close(): Promise<void>;
}

const LIMITS: ServerOptions = {
  // User data of 16 KB in the URL of a GET, base64 and percent-encoded, is up to 64 KB.
  maxHeaderSize: 128 * 1024,
  headersTimeout: 15_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
  // A missing Host is answered with a coded error like any other fault.
  requireHostHeader: false,
};
const MAX_CONNECTIONS = 4096;
const MAX_REQUESTS = 512;
/** Requests of one connection that may wait for their turn. */
const MAX_PIPELINED = 1000;
const DRAIN_MS = 10_000;
const CONTENT_TYPE = 'text/xml;charset=UTF-8';

/** What the site's grid adds to SOAP: whether SHA-1 is believed, and whose its certificates are. */
export type GridSide = Omit<SoapTrust, 'skewMs'>;

/** `limits` shortens the times that a test waits for. */
export function createEc2Server(ctx: Context, manager: Manager, config: Config['ec2'], grid: GridSide = { sha1: true }, limits: ServerOptions = {}): Ec2Server {
  const secure = config.tls_certificate !== '';
  const bodies = createBodyReader(config.max_body_bytes);
  const publicAddress = hostAndPort(config.public_address);
  let ports: readonly string[] = [];
  let running = 0;
  let closing = false;

  const parts: SoapDoorParts = {
    ctx,
    manager,
    authenticator: createAuthenticator(ctx, (key) => manager.credentials.find(key), { skewMs: config.clock_skew * 1000, ports: () => ports, signatureV1: config.signature_v1 }),
    signers: createSoapSigners(ctx.clock, manager.credentials, { ...grid, skewMs: config.clock_skew * 1000 }),
    replays: config.refuse_replays ? createReplayGuard(ctx.clock, manager.signatures) : undefined,
    throttle: config.requests_per_second === 0 ? undefined : createThrottle(ctx.clock, { rate: config.requests_per_second, burst: config.request_burst }),
    // The name by which the client came is one that works for it.
    endpoint: (host) => publicAddress.host || hostAndPort(host ?? '').host || hostAndPort(config.listen).host,
  };

  const respond = (response: ServerResponse, requestId: string, { status, body }: Answer, close: boolean): void => {
    const bytes = Buffer.byteLength(body);
    const headers = ['Server', config.server_header, 'Content-Type', CONTENT_TYPE, 'x-amzn-requestid', requestId, 'Content-Length', String(bytes)];
    if (status === 405) headers.push('Allow', 'GET, POST');
    if (close || closing) headers.push('Connection', 'close');
    response.writeHead(status, headers);
    // Pure ASCII is the same octets in both, and Latin-1 is copied instead of encoded.
    if (typeof body === 'string') response.end(body, bytes === body.length ? 'latin1' : 'utf8');
    else response.end(body);
  };

  const carryOut = async (id: string, request: IncomingMessage): Promise<Answer> => {
    let body: Buffer;
    try {
      body = await bodies.read(request);
    } catch (e) {
      if (e instanceof Fault) return refuse(request, id, e);
      throw e;
    }
    const asked: DoorRequest = {
      id, body, secure,
      method: request.method ?? '',
      target: request.url ?? '/',
      rawHeaders: request.rawHeaders,
      contentType: request.headers['content-type'],
      host: request.headers.host,
    };
    return wsdlAnswer(asked, origin(request)) ?? (isSoap(asked) ? answerSoap(parts, asked) : answer(parts, asked));
  };

  const refuse = (request: IncomingMessage, id: string, fault: Fault): Answer => (saysXml(request.headers['content-type'] ?? '') ? soapRefusal : refusal)(fault, id);
  /** As clients reach the service: configured, or from the request's Host. */
  const origin = ({ headers }: IncomingMessage): string => `${secure ? 'https' : 'http'}://${config.public_address || headers.host || config.listen}`;

  /** Answers that need nothing but the request's head. */
  const atOnce = (id: string, request: IncomingMessage): Answer | undefined => {
    if (request.method !== 'GET' && request.method !== 'POST') {
      return { ...refusal(new Fault('Unsupported', 'Requests are sent with GET or POST.'), id), status: 405 };
    }
    if (running >= MAX_REQUESTS || outstanding(request.socket).length > MAX_PIPELINED) return refuse(request, id, new Fault('Busy', 'Too many requests are being answered; try again shortly.'));
    // A client that asks before it sends its body hears of the limit before it has sent it.
    if (request.headers.expect !== undefined && bodies.exceeds(request)) return refuse(request, id, bodies.tooLarge());
    return undefined;
  };

  const begin = (id: string, request: IncomingMessage, response: ServerResponse): void => {
    const refused = atOnce(id, request);
    if (refused !== undefined) return respond(response, id, refused, true);
    if (request.headers.expect !== undefined) response.writeContinue();
    running++;
    carryOut(id, request)
      .then((a) => respond(response, id, a, !request.complete))
      .catch((e: unknown) => {
        // A client that went away needs no answer; anything else would be a mistake of this file.
        if (!(e instanceof ClientGone)) ctx.log.error('a request could not be answered', { requestId: id, error: String(e) });
        response.destroy();
      })
      .finally(() => { running--; });
  };

  /** One after the other on a connection, so that none that sends on without reading fills the house. */
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const id = newRequestId(ctx.random);
    const before = outstanding(request.socket).at(-2);
    if (before === undefined) begin(id, request, response);
    else before.once('close', () => begin(id, request, response));
  };

  const server: Server = secure
    ? createHttps({ ...LIMITS, ...limits, cert: readFileSync(config.tls_certificate), key: readFileSync(config.tls_key) })
    : createHttp({ ...LIMITS, ...limits });
  server.maxConnections = MAX_CONNECTIONS;
  const outstanding = trackAnswers(server);
  server.on('request', onRequest);
  server.on('checkContinue', onRequest);
  handleClientErrors(server, ctx, CONTENT_TYPE, outstanding);

  return {
    async listen() {
      const { host, port } = hostAndPort(config.listen);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ port: Number(port), ...(host === '' || host === '*' ? {} : { host }) }, () => {
          server.off('error', reject);
          resolve();
        });
      });
      server.on('error', (e) => ctx.log.error('the EC2 listener failed', { error: e.message }));
      const at = (server.address() as AddressInfo).port;
      ports = publicAddress.port === '' ? [String(at)] : [String(at), publicAddress.port];
      return { url: `${secure ? 'https' : 'http'}://${urlHost(host)}:${at}`, port: at };
    },
    async close() {
      closing = true;
      if (!server.listening) return;
      await new Promise<void>((resolve) => {
        const timer = ctx.clock.after(DRAIN_MS, () => server.closeAllConnections());
        server.close(() => { timer.cancel(); resolve(); });
        server.closeIdleConnections();
      });
    },
  };
}
