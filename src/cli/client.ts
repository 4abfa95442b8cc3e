/** Speaks with the service over its Unix socket. */
import { statSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { dataDirAt } from '../platform/datadir.ts';
import { errorCode, errorText } from '../platform/errors.ts';
import { socketDir, type SocketDir } from '../platform/socket-path.ts';
import { Refused, Unreachable } from './exit.ts';

const SOCKET = 'admin.sock';
/** Adding a large image is the longest request. */
const ANSWER_MS = 60 * 60_000;
const MAX_ANSWER = 256 * 1024 * 1024;

/** Paths as `src/web/routes.ts` has them, with `/v1` before. Every call rejects with Refused (the service's words) or Unreachable. */
export interface AdminClient {
  get<T>(path: string, query?: Readonly<Record<string, string | undefined>>): Promise<T>;
  post<T>(path: string, body?: unknown): Promise<T>;
  put<T>(path: string, body: unknown): Promise<T>;
  patch<T>(path: string, body: unknown): Promise<T>;
  delete<T = void>(path: string): Promise<T>;
  /** The bytes of the answer go to `to` as they come. */
  download(path: string, query: Readonly<Record<string, string | undefined>>, to: Writable): Promise<void>;
}

/** A path whose parts are safe whatever people typed. */
export function path(strings: TemplateStringsArray, ...parts: readonly string[]): string {
  return strings.reduce((all, s, i) => all + encodeURIComponent(parts[i - 1] ?? '') + s);
}

export function createAdminClient(dataDir: string): AdminClient {
  const send = (method: string, to: string, body?: unknown): Promise<never> => exchange(dataDir, method, to, body) as Promise<never>;
  return {
    get: (to, query = {}) => send('GET', withQuery(to, query)),
    download: async (from, query, to) => void await exchange(dataDir, 'GET', withQuery(from, query), undefined, to),
    post: (to, body) => send('POST', to, body),
    put: (to, body) => send('PUT', to, body),
    patch: (to, body) => send('PATCH', to, body),
    delete: (to) => send('DELETE', to),
  };
}

function withQuery(to: string, query: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(query).filter((e): e is [string, string] => e[1] !== undefined);
  return given.length === 0 ? to : `${to}?${new URLSearchParams(given).toString()}`;
}

async function exchange(dataDir: string, method: string, to: string, body: unknown, sink?: Writable): Promise<unknown> {
  const { run } = dataDirAt(dataDir);
  const place = openSocketDir(run, dataDir);
  try {
    const { status, text } = await ask(join(place.dir, SOCKET), method, to, body === undefined ? '' : JSON.stringify(body), sink);
    return read(status, text);
  } catch (e) {
    throw asUnreachable(e, join(run, SOCKET), dataDir);
  } finally {
    place.close();
  }
}

function openSocketDir(run: string, dataDir: string): SocketDir {
  try {
    statSync(run);
    return socketDir(run, SOCKET);
  } catch (e) {
    throw asUnreachable(e, join(run, SOCKET), dataDir);
  }
}

function asUnreachable(e: unknown, socket: string, dataDir: string): unknown {
  switch (errorCode(e)) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
      return new Unreachable(`no nimbus service runs on the data directory ${dataDirAt(dataDir).root}; start it with "nimbus serve", or name its directory with --data or NIMBUS_DATA`, true);
    case 'EACCES':
    case 'EPERM':
      return new Unreachable(`${socket} belongs to another user; run the command as the user that runs the service (sudo -u USER nimbus …)`);
    case 'ECONNRESET':
    case 'EPIPE':
    case 'ETIMEDOUT':
      return new Unreachable(`the service did not finish its answer (${errorText(e)}); look at its log, then try again`);
    default:
      return e;
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function ask(socketPath: string, method: string, path: string, body: string, sink?: Writable): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = body === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const req = request({ socketPath, method, path, headers: { host: 'nimbus', ...headers }, timeout: ANSWER_MS, agent: false }, (res) => {
      if (sink !== undefined && res.statusCode === 200) {
        pipeline(res, sink).then(() => resolve({ status: 200, text: '' }), reject);
        return;
      }
      const chunks: Buffer[] = [];
      let size = 0;
      res.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_ANSWER) req.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      res.on('end', () => resolve({ status: res.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
      res.on('error', reject);
    });
    req.on('timeout', () => req.destroy(Object.assign(new Error('no answer within an hour'), { code: 'ETIMEDOUT' })));
    req.on('error', reject);
    req.end(body);
  });
}

function read(status: number, text: string): unknown {
  const body: unknown = text === '' ? undefined : JSON.parse(text);
  if (status < 400) return body;
  const { code, message, reasons } = (body ?? {}) as { code?: string; message?: string; reasons?: string[] };
  throw new Refused(code ?? 'Internal', message ?? `the service answered with status ${status}`, reasons ?? []);
}
