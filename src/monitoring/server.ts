/**
 * The door for those who watch the service: is it alive, can it serve, figures for Prometheus. It asks nobody who he is, so it
 * says nothing that names users or leases, and listens where the configuration says, by default to this machine only.
 */
import { createServer, type IncomingMessage, type ServerOptions, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import type { SiteFigures } from '../manager/figures.ts';
import type { Context } from '../platform/context.ts';
import { withDeadline } from '../platform/deadline.ts';
import { errorText } from '../platform/errors.ts';
import { hostAndPort, urlHost } from '../platform/http/address.ts';
import { createGauges, type ProcessFigures } from './gauges.ts';
import type { Readiness } from './readiness.ts';

const LIMITS: ServerOptions = { maxHeaderSize: 8 * 1024, headersTimeout: 10_000, requestTimeout: 10_000, keepAliveTimeout: 65_000, connectionsCheckingInterval: 5_000 };
const MAX_CONNECTIONS = 64;
/** Who looks more often sees the same figures again: looking must not become work. */
const FRESH_MS = 1_000;
const LOOK_MS = 8_000;
const CLOSE_MS = 2_000;

export interface MonitoringOptions {
  /** HOST:PORT */
  readonly listen: string;
  readonly version: string;
  readonly register: Registry;
  readonly site: () => Promise<SiteFigures>;
  readonly process: () => ProcessFigures;
  readonly readiness: () => Promise<Readiness>;
}

export interface MonitoringServer {
  listen(): Promise<{ url: string }>;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const text = (status: number, body: string): Answer => ({ status, type: 'text/plain; charset=utf-8', body: `${body}\n` });

export function createMonitoringServer(ctx: Context, options: MonitoringOptions): MonitoringServer {
  const gauges = createGauges(options.register, options.version);
  const readSite = shared(options.site);
  const look = remembered(ctx, async () => {
    const site = await withDeadline(ctx.clock, LOOK_MS, 'reading the figures of the site', readSite()).catch((e: unknown) => {
      ctx.log.warn('the figures of the site could not be read', { error: errorText(e) });
      return null;
    });
    gauges.set(site, options.process());
    return { status: 200, type: options.register.contentType, body: await options.register.metrics() };
  });
  const ready = remembered(ctx, async () => {
    const readiness = await options.readiness();
    return { status: readiness.ready ? 200 : 503, type: 'application/json', body: `${JSON.stringify(readiness)}\n` };
  });
  const routes: Readonly<Record<string, () => Promise<Answer>>> = {
    '/healthz': () => Promise.resolve(text(200, 'ok')), '/readyz': ready, '/metrics': look,
  };

  async function answer(request: IncomingMessage): Promise<Answer> {
    if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'GET or HEAD');
    const path = (request.url ?? '').split('?')[0] ?? '';
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) return text(404, Object.keys(routes).join(' '));
    return route();
  }

  const server = createServer(LIMITS, (request, response) => {
    answer(request).then((a) => respond(request, response, a)).catch((e: unknown) => {
      ctx.log.error('the monitoring door failed', { error: e });
      respond(request, response, text(500, 'the service failed; its log says how'));
    });
  });
  server.maxConnections = MAX_CONNECTIONS;

  return {
    async listen() {
      const { host, port } = hostAndPort(options.listen);
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ port: Number(port), ...(host === '' || host === '*' ? {} : { host }) }, () => {
          server.off('error', reject);
          resolve();
        });
      });
      server.on('error', (e) => ctx.log.error('the monitoring listener failed', { error: e.message }));
      return { url: `http://${urlHost(host)}:${(server.address() as AddressInfo).port}` };
    },
    async close() {
      if (!server.listening) return;
      await new Promise<void>((resolve) => {
        const timer = ctx.clock.after(CLOSE_MS, () => server.closeAllConnections());
        server.close(() => { timer.cancel(); resolve(); });
        server.closeIdleConnections();
      });
    },
  };
}

function respond(request: IncomingMessage, response: ServerResponse, { status, type, body }: Answer): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body), 'cache-control': 'no-store' });
  response.end(request.method === 'HEAD' ? '' : body);
}

/** One at a time, also when nobody waits for it any more: a slow database is not asked again meanwhile. */
function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => (running ??= work().finally(() => { running = undefined; }));
}

/** One look at a time, however many ask. */
function remembered(ctx: Context, make: () => Promise<Answer>): () => Promise<Answer> {
  let last: { readonly at: number; readonly answer: Promise<Answer> } | undefined;
  return () => {
    if (last !== undefined && ctx.clock.monotonic() - last.at < FRESH_MS) return last.answer;
    const answer = make();
    const mine = { at: Infinity, answer };
    last = mine;
    const done = (): void => { if (last === mine) last = { at: ctx.clock.monotonic(), answer }; };
    answer.then(done, () => { if (last === mine) last = undefined; });
    return answer;
  };
}
