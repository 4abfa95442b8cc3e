/** Speaks with the service over its Unix socket. */
import { statSync } from 'node:fs';
import { request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../platform/context.ts';
import { dataDirAt, type DataDir } from '../platform/datadir.ts';
import { errorCode, errorText } from '../platform/errors.ts';
import { holderOfDataDir } from '../platform/lock.ts';
import { realClock } from '../platform/real.ts';
import { socketDir, type SocketDir } from '../platform/socket-path.ts';
import { VERSION } from '../platform/version.ts';
import { ALIVE_WITHIN_MS, watchAlive } from './alive.ts';
import { Refused, Unreachable } from './exit.ts';

const SOCKET = 'admin.sock';
/** Of a service that lives. Adding a large image is the longest change; fsck reads what years have left, and every image with --deep. */
const ANSWER_MS = { GET: 2 * 60_000, other: 60 * 60_000, long: 24 * 60 * 60_000 } as const;
/** Between two parts of an answer. */
const STALL_MS = 2 * 60_000;
/** As `src/web/admin.ts` has them; older services have the second one only. */
const VERSION_HEADER = 'x-nimbus-version';
const REQUEST_ID_HEADER = 'x-request-id';
const MAX_ANSWER = 256 * 1024 * 1024;

export interface AskOptions {
  /** The service may work on it for hours. */
  readonly long?: boolean;
}

/** Paths as `src/web/routes.ts` has them, with `/v1` before. Every call rejects with Refused (the service's words) or Unreachable. */
export interface AdminClient {
  get<T>(path: string, query?: Readonly<Record<string, string | undefined>>, options?: AskOptions): Promise<T>;
  post<T>(path: string, body?: unknown, options?: AskOptions): Promise<T>;
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

/** @param answered told the version of each service that answers; empty = older than those that say it */
export function createAdminClient(dataDir: string, clock: Clock = realClock, answered: (version: string) => void = () => undefined): AdminClient {
  const send = (method: string, to: string, body?: unknown, options?: AskOptions): Promise<never> => exchange({ clock, dataDir, answered, method, to, body, ...options }) as Promise<never>;
  return {
    get: (to, query = {}, options) => send('GET', withQuery(to, query), undefined, options),
    download: async (from, query, sink) => void await exchange({ clock, dataDir, answered, method: 'GET', to: withQuery(from, query), sink, long: true }),
    post: (to, body, options) => send('POST', to, body, options),
    put: (to, body) => send('PUT', to, body),
    patch: (to, body) => send('PATCH', to, body),
    delete: (to) => send('DELETE', to),
  };
}

function withQuery(to: string, query: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(query).filter((e): e is [string, string] => e[1] !== undefined);
  return given.length === 0 ? to : `${to}?${new URLSearchParams(given).toString()}`;
}

interface Exchange extends AskOptions {
  readonly clock: Clock;
  readonly dataDir: string;
  readonly answered: (version: string) => void;
  readonly method: string;
  readonly to: string;
  readonly body?: unknown;
  readonly sink?: Writable;
}

async function exchange(x: Exchange): Promise<unknown> {
  const { run } = dataDirAt(x.dataDir);
  const place = await openSocketDir(run, x.dataDir);
  try {
    const answer = await ask(join(place.dir, SOCKET), x);
    if (answer.version !== undefined) x.answered(answer.version);
    return read(answer, join(run, SOCKET));
  } catch (e) {
    throw await asUnreachable(e, join(run, SOCKET), x.dataDir);
  } finally {
    place.close();
  }
}

async function openSocketDir(run: string, dataDir: string): Promise<SocketDir> {
  try {
    statSync(run);
    return socketDir(run, SOCKET);
  } catch (e) {
    throw await asUnreachable(e, join(run, SOCKET), dataDir);
  }
}

async function asUnreachable(e: unknown, socket: string, dataDir: string): Promise<unknown> {
  switch (errorCode(e)) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
      return absent(socket, dataDirAt(dataDir));
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

/** A service may have the directory all the same: to say that none runs, and be refused at the start, would send people in a circle. */
async function absent(socket: string, dir: DataDir): Promise<Unreachable> {
  const holder = await holderOfDataDir(dir);
  if (holder === undefined) return new Unreachable(`no nimbus service runs on the data directory ${dir.root}; start it with "nimbus serve", or name its directory with --data or NIMBUS_DATA`, true);
  return new Unreachable(`a nimbus service${holder} has ${dir.root} and does not listen at ${socket}: it starts or ends just now, or the socket was removed, and is made again within seconds; try again`, true);
}

const foreign = (socket: string): Unreachable => new Unreachable(`what answers at ${socket} is no nimbus service; name the service's own data directory with --data or NIMBUS_DATA`);

interface Answer {
  readonly status: number;
  readonly text: string;
  /** Version of the service; empty = older than those that say it. Undefined = no service of ours. */
  readonly version: string | undefined;
}

async function ask(socketPath: string, { clock, method, to, body, sink, long }: Exchange): Promise<Answer> {
  const ms = ANSWER_MS[long === true ? 'long' : method === 'GET' ? 'GET' : 'other'];
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = text === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  const req = request({ socketPath, method, path: to, headers: { host: 'nimbus', ...headers }, agent: false });
  const giveUp = (why: string): void => void req.destroy(Object.assign(new Error(why), { code: 'ETIMEDOUT' }));
  const timer = clock.after(ms, () => giveUp(`no answer within ${ms / 60_000} minutes`));
  const unwatch = watchAlive(clock, socketPath, () => giveUp(`no sign of life within ${ALIVE_WITHIN_MS / 1000} seconds`));
  try {
    return await new Promise<Answer>((resolve, reject) => {
      req.on('response', (res) => {
        timer.cancel();
        res.setTimeout(STALL_MS, () => giveUp(`its answer stopped for ${STALL_MS / 60_000} minutes`));
        taken(res, sink).then(resolve, reject);
      });
      req.on('error', reject);
      req.end(text);
    });
  } finally {
    timer.cancel();
    unwatch();
  }
}

async function taken(res: IncomingMessage, sink: Writable | undefined): Promise<Answer> {
  const version = versionOf(res.headers);
  const status = res.statusCode ?? 0;
  // What is no service of ours fills no file.
  if (sink !== undefined && status === 200 && version !== undefined) {
    await pipeline(res, sink);
    return { status, text: '', version };
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of res as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  return { status, text: Buffer.concat(chunks).toString(), version };
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
  throw new Refused(code, other ? notUnderstood(version) : said,
    other ? [said, ...(reasons ?? [])] : reasons ?? []);
}

export const notUnderstood = (version: string): string =>
  `the running service is nimbus ${version || 'of an older version'}, this command is ${VERSION}, and they do not understand each other; restart the service with the installed version`;
