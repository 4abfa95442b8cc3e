/** The doors for grid clients: their TLS, who is let in, the services, and the notifications that they send. */
import type { IncomingMessage, ServerOptions } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { FullManager } from './manager/index.ts';
import type { Config } from './platform/config.ts';
import type { Context } from './platform/context.ts';
import { startStep } from './platform/errors.ts';
import { hostAndPort, urlHost } from './platform/http/address.ts';
import { createAddressPolicy } from './platform/outside/address-policy.ts';
import type { GridSecurity } from './service-grid.ts';
import { readMessage } from './soap/message/envelope.ts';
import type { SoapMessage } from './soap/message/types.ts';
import type { Clark } from './soap/names.ts';
import type { Admitted, SoapRequest } from './soap/types.ts';
import type { Descriptions } from './soap/wsdl/types.ts';
import { readXml } from './soap/xml/read.ts';
import type { Db } from './store/db.ts';
import { createNotifier, type Notifier } from './workers/notifier.ts';
import { createWsrfDoor, repeatable, type Identity } from './wsrf/door.ts';
import { notify } from './wsrf/notify.ts';
import { gridDescriptions, SERVICES_PATH } from './wsrf/wire/descriptions.ts';

type OnStop = (what: string, step: () => Promise<void> | void) => void;

interface WsrfDeps {
  readonly ctx: Context;
  readonly config: Config;
  readonly db: Db;
  readonly manager: FullManager;
}

export interface Wsrf {
  /** `https://HOST:PORT/wsrf/services/` */
  readonly url: string;
  /** Of the listener for old clients, where there is one. */
  readonly legacyUrl?: string;
  readonly notifier: Notifier;
}

const LIMITS: ServerOptions = {
  maxHeaderSize: 32 * 1024, headersTimeout: 15_000, requestTimeout: 45_000, keepAliveTimeout: 65_000, connectionsCheckingInterval: 5_000, requireHostHeader: false,
};
const DRAIN_MS = 10_000;
const SECURITY: Clark = '{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}Security';

/** Nothing where the configuration names no listener. @throws StartError */
export async function openWsrf(deps: WsrfDeps, security: GridSecurity | undefined, onStop: OnStop): Promise<Wsrf | undefined> {
  const { ctx, config: { wsrf }, db } = deps;
  if (wsrf.listen === '' || security === undefined) return undefined;
  const descriptions = gridDescriptions();
  const url = await listen(deps, security, descriptions, { listen: wsrf.listen, key: 'wsrf.listen', legacy: false }, onStop);
  const legacyUrl = wsrf.legacy_listen === '' ? undefined : await listen(deps, security, descriptions, { listen: wsrf.legacy_listen, key: 'wsrf.legacy_listen', legacy: true }, onStop);
  const policy = createAddressPolicy(wsrf.allowed_consumers);
  const notifier = createNotifier(ctx, db, {
    deadlineMs: wsrf.consumer_deadline_ms,
    deliver: (s, news) => notify({ ctx, codec: descriptions.codec, policy, base: () => url, deadlineMs: wsrf.consumer_deadline_ms }, s, news),
  });
  onStop('notifications', () => notifier.stop());
  notifier.start();
  return { url, notifier, ...(legacyUrl === undefined ? {} : { legacyUrl }) };
}

async function listen(
  { ctx, config, manager }: WsrfDeps, security: GridSecurity, descriptions: Descriptions, at: { listen: string; key: string; legacy: boolean }, onStop: OnStop,
): Promise<string> {
  const { server } = await security.tls(at.legacy, LIMITS);
  const address = hostAndPort(config.wsrf.public_address);
  const { host, port } = hostAndPort(at.listen);
  let own = '';
  server.on('request', createWsrfDoor({
    ctx, config, manager, policy: createAddressPolicy(config.wsrf.allowed_consumers), authenticate: authenticator(security),
    // The name by which the client came is one that works for it.
    origin: (request) => (address.host === '' ? request.headers.host === undefined ? own : `https://${request.headers.host}` : `https://${config.wsrf.public_address}`),
  }, descriptions));
  await startStep(`the listener for grid clients cannot be opened (${at.key} = "${at.listen}")`, () => new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: Number(port), ...(host === '' || host === '*' ? {} : { host }) }, () => {
      server.off('error', reject);
      resolve();
    });
  }));
  server.on('error', (e) => ctx.log.error('the listener for grid clients failed', { error: e.message }));
  onStop('door for grid clients', () => new Promise<void>((resolve) => {
    const timer = ctx.clock.after(DRAIN_MS, () => server.closeAllConnections());
    server.close(() => { timer.cancel(); resolve(); });
    server.closeIdleConnections();
  }));
  own = `https://${urlHost(host)}:${(server.address() as AddressInfo).port}`;
  return `${address.host === '' ? own : `https://${config.wsrf.public_address}`}${SERVICES_PATH}`;
}

/** A message with a signature is its signer's, and only what was signed is acted upon; one without is the connection's. */
function authenticator({ authenticator: grid }: GridSecurity): (message: SoapMessage, request: SoapRequest<IncomingMessage>) => Promise<Admitted<Identity>> {
  return async (message, request) => {
    const signed = message.headers.has(SECURITY);
    const caller = await grid.authenticate(request.transport.socket as TLSSocket, signed ? request.bytes : undefined);
    const context = { ...caller.account, limited: caller.limited };
    if (caller.signed === undefined) return { context };
    const meant = readMessage(readXml(Buffer.from(caller.signed.message)));
    if (!repeatable(meant)) await caller.signed.once();
    return { context, message: meant, understood: [SECURITY] };
  };
}
