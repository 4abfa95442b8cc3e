/** Speaks with the service over its Unix socket. */
import { statSync } from 'node:fs';
import { request, type IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { dataDirAt } from '../platform/datadir.ts';
import { errorCode, errorText } from '../platform/errors.ts';
import { socketDir, type SocketDir } from '../platform/socket-path.ts';
import { VERSION } from '../platform/version.ts';
import { Refused, Unreachable } from './exit.ts';

const SOCKET = 'admin.sock';
/** Adding a large image is the longest request; who only asks need not wait for a service that hangs. */
const ANSWER_MS = { GET: 2 * 60_000, other: 60 * 60_000 } as const;
/** As `src/web/admin.ts` has them; older services have the second one only. */
const VERSION_HEADER = 'x-nimbus-version';
const REQUEST_ID_HEADER = 'x-request-id';
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
    return read(await ask(join(place.dir, SOCKET), method, to, body === undefined ? '' : JSON.stringify(body), sink), join(run, SOCKET));
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
    case 'ETIMEDOUT':
      return new Unreachable(`the service takes connections and does not answer: ${errorText(e)}; look at its log, or end it and start it again (VMs run on)`);
    case 'ECONNRESET':
    case 'EPIPE':
      return new Unreachable(`the service did not finish its answer (${errorText(e)}); look at its log, then try again`);
    default:
      // What comes is no HTTP (llhttp's errors).
      return errorCode(e)?.startsWith('HPE_') === true ? foreign(socket) : e;
  }
}

const foreign = (socket: string): Unreachable => new Unreachable(`what answers at ${socket} is no nimbus service; name the service's own data directory with --data or NIMBUS_DATA`);

interface Answer {
  readonly status: number;
  readonly text: string;
  /** Version of the service; empty = older than those that say it. Undefined = no service of ours. */
  readonly version: string | undefined;
}

function ask(socketPath: string, method: string, path: string, body: string, sink?: Writable): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const ms = method === 'GET' ? ANSWER_MS.GET : ANSWER_MS.other;
    const headers = body === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const req = request({ socketPath, method, path, headers: { host: 'nimbus', ...headers }, timeout: ms, agent: false }, (res) => {
      const version = versionOf(res.headers);
      // What is no service of ours fills no file.
      if (sink !== undefined && res.statusCode === 200 && version !== undefined) {
        pipeline(res, sink).then(() => resolve({ status: 200, text: '', version }), reject);
        return;
      }
      const chunks: Buffer[] = [];
      let size = 0;
      res.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_ANSWER) req.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      res.on('end', () => resolve({ status: res.statusCode ?? 0, text: Buffer.concat(chunks).toString(), version }));
      res.on('error', reject);
    });
    req.on('timeout', () => req.destroy(Object.assign(new Error(`no answer within ${ms / 60_000} minutes`), { code: 'ETIMEDOUT' })));
    req.on('error', reject);
    req.end(body);
  });
}

function versionOf(headers: IncomingHttpHeaders): string | undefined {
  const said = headers[VERSION_HEADER];
  if (typeof said === 'string') return said;
  return headers[REQUEST_ID_HEADER] === undefined ? undefined : '';
}

function read({ status, text, version }: Answer, socket: string): unknown {
  if (version === undefined) throw foreign(socket);
  let body: unknown;
  try {
    body = text === '' ? undefined : JSON.parse(text);
  } catch {
    throw foreign(socket);
  }
  if (status < 400) return body;
  const { code = 'Internal', message, reasons } = (body ?? {}) as { code?: string; message?: string; reasons?: string[] };
  // What it does not know may be known here: they are of different versions.
  const other = version !== VERSION && (code === 'ActionUnknown' || code === 'ParameterInvalid');
  const said = message ?? `the service answered with status ${status}`;
  throw new Refused(code, other ? `the running service is nimbus ${version || 'of an older version'}, this command is ${VERSION}, and they do not understand each other; restart the service with the installed version` : said,
    other ? [said, ...(reasons ?? [])] : reasons ?? []);
}
