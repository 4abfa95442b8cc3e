/**
 * The TLS side of a listener for grid clients. A certificate is asked for and never refused here: OpenSSL does not know Globus'
 * proxies, so the chain is looked at by `peers.ts`. Key and certificate are read again when their files change.
 */
import { constants } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type Server, type ServerOptions } from 'node:https';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { Context } from '../../platform/context.ts';
import { startStep } from '../../platform/errors.ts';
import { createReloader } from '../reload.ts';

export interface GridTlsOptions {
  /** PEM files: the host's certificate, with those between it and its authority; its key. */
  readonly certificate: string;
  readonly key: string;
  /** TLS 1.0 to 1.2 at OpenSSL's lowest level of security, for clients that know nothing newer. Never the listener of all. */
  readonly legacy: boolean;
}

export interface GridTls {
  /** Not listening yet; requests go to its `request` listeners. */
  readonly server: Server;
  /** Reads key and certificate now instead of in some seconds. */
  refresh(): Promise<void>;
  stop(): void;
}

const HANDSHAKE_MS = 10_000;
const MAX_CONNECTIONS = 4_096;
/** What a client remembers of a connection is good for so long, s. */
const SESSION_S = 300;
const LOOK_EVERY_MS = 10_000;

const MODERN = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' } as const;
const LEGACY = { minVersion: 'TLSv1', maxVersion: 'TLSv1.2', ciphers: 'DEFAULT@SECLEVEL=0' } as const;

/**
 * @param http limits and times of the HTTP server; `handshakeTimeout` shortens what a test waits for
 * @throws StartError when key and certificate cannot be used
 */
export async function createGridTls(ctx: Context, options: GridTlsOptions, http: ServerOptions = {}, everyMs = LOOK_EVERY_MS): Promise<GridTls> {
  let [cert, key] = await startStep(`the host certificate (${options.certificate}) or its key (${options.key}) cannot be used`, async () => {
    const pair = await readPair(options);
    createSecureContext(secure(options, pair));
    return pair;
  });
  const server = createServer({
    handshakeTimeout: HANDSHAKE_MS, ...http, ...secure(options, [cert, key]),
    requestCert: true, rejectUnauthorized: false, sessionTimeout: SESSION_S, ALPNProtocols: ['http/1.1'],
  });
  server.maxConnections = MAX_CONNECTIONS;
  // A client that breaks off, or speaks no TLS, is nothing that anybody has to mend.
  server.on('tlsClientError', (e, socket) => {
    ctx.log.debug('no TLS connection came about', { reason: e.message, peer: socket.remoteAddress });
    socket.destroy();
  });
  const reloader = createReloader(ctx, everyMs, `the host certificate ${options.certificate}`, async () => {
    const [newCert, newKey] = await readPair(options);
    if (newCert.equals(cert) && newKey.equals(key)) return;
    server.setSecureContext(secure(options, [newCert, newKey]));
    [cert, key] = [newCert, newKey];
    ctx.log.info('the host certificate has changed', { file: options.certificate });
  });
  return { server, refresh: () => reloader.look(), stop: () => reloader.stop() };
}

type Pair = [certificate: Buffer, key: Buffer];

const readPair = (o: GridTlsOptions): Promise<Pair> => Promise.all([readFile(o.certificate), readFile(o.key)]);

/**
 * Without authorities: none is named to clients, who would else send no proxy, and OpenSSL spends no time on chains. Who is at the
 * other end stays the same for as long as a connection lasts.
 */
function secure({ legacy }: GridTlsOptions, [cert, key]: Pair): SecureContextOptions {
  return { cert, key, ca: [], secureOptions: constants.SSL_OP_NO_RENEGOTIATION, ...(legacy ? LEGACY : MODERN) };
}
