/** The administrators' door: JSON over HTTP on a Unix socket in the data directory that only its owner may open. */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import express, { type ErrorRequestHandler, type Request, type Response } from 'express';
import { Fault, isFault } from '../lease/faults.ts';
import type { Caller } from '../manager/types.ts';
import type { Context } from '../platform/context.ts';
import type { DataDir } from '../platform/datadir.ts';
import { withDeadline } from '../platform/deadline.ts';
import { newRequestId } from '../platform/ids.ts';
import { keepSocketFile } from '../platform/socket-file.ts';
import { socketDir } from '../platform/socket-path.ts';
import { VERSION } from '../platform/version.ts';
import { adminRouter, type AdminServices, type Handler } from './routes.ts';

export const ADMIN_SOCKET = 'admin.sock';
/** By it the command knows that a nimbus service answers, and which. */
export const VERSION_HEADER = 'x-nimbus-version';
const MAX_BODY = 8 * 1024 * 1024;
const MAX_CONNECTIONS = 64;
const CLOSE_MS = 5000;
const LOOK_MS = 5_000;

export interface AdminServerOptions extends AdminServices {
  readonly ctx: Context;
  readonly dir: DataDir;
}
export interface AdminServer {
  /** Waits for what is being answered, but not long. */
  close(): Promise<void>;
}

/** The caller holds the data directory's lock: a socket that lies there is a dead one's. */
export async function createAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const { ctx, dir } = options;
  const server = createServer(adminApp(ctx, options));
  server.maxConnections = MAX_CONNECTIONS;
  const place = socketDir(dir.run, ADMIN_SOCKET);
  const path = join(place.dir, ADMIN_SOCKET);
  rmSync(path, { force: true });
  await listen(server, path);
  chmodSync(path, 0o600);
  const kept = keepSocketFile(ctx.clock, LOOK_MS, server, path, (why) => {
    if (why === undefined) ctx.log.warn('the admin socket was removed, and is there again', { path: join(dir.run, ADMIN_SOCKET) });
    else ctx.log.error('the admin socket was removed, and cannot be made; trying again', { path: join(dir.run, ADMIN_SOCKET), error: why.message });
  });
  return {
    async close() {
      kept.stop();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      await withDeadline(ctx.clock, CLOSE_MS, 'answers to administrators', closed).catch(() => server.closeAllConnections());
      place.close();
    },
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

function adminApp(ctx: Context, services: AdminServices): express.Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', 'simple');
  app.use((_req, res, next) => {
    res.setHeader(VERSION_HEADER, VERSION);
    next();
  });
  app.use(express.json({ limit: MAX_BODY, strict: false }));
  app.use('/v1', adminRouter(services, (handler) => (req, res) => void answer(ctx, handler, req, res)));
  app.use((req: Request) => { throw new Fault('ActionUnknown', `There is no ${req.method} ${req.path}.`); });
  const failed: ErrorRequestHandler = (e, _req, res, _next) => refuse(ctx, e, newRequestId(ctx.random), res);
  app.use(failed);
  return app;
}

async function answer(ctx: Context, handler: Handler, req: Request, res: Response): Promise<void> {
  const requestId = newRequestId(ctx.random);
  res.setHeader('x-request-id', requestId);
  try {
    const result = await handler(req, administrator(requestId));
    if (req.method !== 'GET') ctx.log.info('administrator', { requestId, did: `${req.method} ${req.path}` });
    if (result === undefined) res.status(204).end();
    else if (result instanceof Readable) await pipeline(result, res.type('application/octet-stream'));
    else res.json(result);
  } catch (e) {
    refuse(ctx, e, requestId, res);
  }
}

/** Who can open the socket is the administrator of the site. Account 0 is no row. */
function administrator(requestId: string): Caller {
  return { accountId: 0, name: 'admin', ownerId: '000000000000', requestId, door: 'admin', admin: true };
}

function refuse(ctx: Context, e: unknown, requestId: string, res: Response): void {
  const fault = asFault(e);
  ctx.meter?.refused('admin', fault.code);
  if (fault.code === 'Internal') ctx.log.error('a request of an administrator failed', { requestId, error: e });
  if (res.headersSent) {
    res.destroy();
    return;
  }
  res.status(fault.http).json({ code: fault.code, message: fault.message, reasons: fault.reasons, requestId });
}

/** body-parser's errors carry a `type` (its README, "Errors"). */
function asFault(e: unknown): Fault {
  if (isFault(e)) return e;
  const { type, status } = (e ?? {}) as { type?: unknown; status?: unknown };
  if (type === 'entity.too.large') return new Fault('RequestTooLarge', `The request is larger than ${MAX_BODY} bytes.`, [], { cause: e });
  if (typeof status === 'number' && status >= 400 && status < 500) return new Fault('RequestMalformed', 'The request cannot be read; its body must be JSON.', [], { cause: e });
  return new Fault('Internal', 'The service failed; its log has the request id.', [], { cause: e });
}
