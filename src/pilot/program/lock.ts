/**
 * Locks of a node: listening abstract Unix sockets (unix(7)), which the kernel frees when their holder dies, however it
 * dies. They are named after the configured lock file, so that all accounts of the node meet at the same ones; a network
 * namespace of its own has locks of its own. Who connects is told who holds the lock, and hears its end as the end of
 * the connection.
 *
 * There are two kinds. A *place* is held for the life of a slot: there are as many as pilots are allowed on the node. The
 * *memory lock* is held for the time of one change.
 */
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import type { Clock } from '../../control/agent/clock.ts';
import { pause } from './deadline.ts';
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';

/** Between two attempts where the holder does not take connections. */
const RETRY_MS = 20;
const ASK_MS = 1_000;
const MAX_HOLDER = 200;
/** Waiting pilots; more than a node ever runs. */
const MAX_WAITING = 1024;

export interface NodeLock {
  release(): Promise<void>;
}

/** Abstract names have 107 bytes at most and no secrets: a digest stands for the path. */
const nameFor = (lockFile: string, what: string): string => `\0workspace-pilot-${createHash('sha256').update(lockFile).digest('hex').slice(0, 32)}-${what}`;

export const memoryLockName = (lockFile: string): string => nameFor(lockFile, 'memory');
export const placeName = (lockFile: string, index: number): string => nameFor(lockFile, `place-${index}`);

/** undefined when another process holds it. `holder` is what those are told who ask. */
export function tryLock(name: string, holder: string): Promise<NodeLock | undefined> {
  const sockets = new Set<Socket>();
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
      socket.write(`${holder.slice(0, MAX_HOLDER)}\n`);
      socket.unref();
    });
    server.maxConnections = MAX_WAITING;
    server.once('error', (e: NodeJS.ErrnoException) => (e.code === 'EADDRINUSE' ? resolve(undefined) : reject(e)));
    server.listen(name, () => {
      server.unref();
      resolve({ release: () => close(server, sockets) });
    });
  });
}

function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of sockets) socket.destroy();
  });
}

/** @throws PilotError actionFailed that names the holder when `signal` fires first */
export async function waitForLock(clock: Clock, name: string, holder: string, signal: AbortSignal): Promise<NodeLock> {
  let other = 'another process';
  for (;;) {
    const lock = await tryLock(name, holder);
    if (lock !== undefined) return lock;
    if (signal.aborted) throw new PilotError(EXIT.actionFailed, `the node's lock was not free in time; ${other} holds it`);
    other = (await holderUntilEnd(name, signal)) ?? other;
    await pause(clock, RETRY_MS, signal);
  }
}

/**
 * One of `count` places of the node, at once or not at all.
 * @throws PilotError actionFailed that names those who hold them
 */
export async function takePlace(clock: Clock, lockFile: string, count: number, holder: string): Promise<NodeLock> {
  const holders: string[] = [];
  for (let i = 0; i < count; i++) {
    const lock = await tryLock(placeName(lockFile, i), holder);
    if (lock !== undefined) return lock;
    holders.push((await whoHolds(clock, placeName(lockFile, i))) ?? 'a pilot that does not answer');
  }
  const why = count === 1 ? 'one pilot at a time may hold this node' : `${count} pilots at a time may hold this node`;
  throw new PilotError(EXIT.actionFailed, `${why} (pilots_per_node: ${count}), and it is held by ${holders.join(' and ')}`);
}

/** What the holder says of itself; null when nobody holds the lock or it does not answer. */
export async function whoHolds(clock: Clock, name: string): Promise<string | null> {
  const controller = new AbortController();
  const timer = clock.after(ASK_MS, () => controller.abort());
  try {
    return await ask(name, controller.signal, true);
  } finally {
    timer.cancel();
  }
}

const holderUntilEnd = (name: string, signal: AbortSignal): Promise<string | null> => ask(name, signal, false);

/** Resolves with the holder's line: when it is there (`once`), else when the connection ends or `signal` fires. */
function ask(name: string, signal: AbortSignal, once: boolean): Promise<string | null> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(name);
    const done = (): void => {
      signal.removeEventListener('abort', done);
      socket.destroy();
      resolve(clean(text));
    };
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) return done();
    socket.setEncoding('utf8').on('error', () => undefined).once('close', done).on('data', (chunk: string) => {
      text = (text + chunk).slice(0, MAX_HOLDER);
      if (once && text.includes('\n')) done();
    });
  });
}

/** Any process of the node may have taken the name: what it says goes to a log and a terminal. */
function clean(text: string): string | null {
  const line = text.split('\n')[0]?.replace(/[^\x20-\x7e]/g, '?') ?? '';
  return line === '' ? null : line;
}
