/**
 * One service per data directory. The lock is an abstract Unix socket (unix(7)) named by a random key that lies in the
 * directory: the kernel gives it to one process and takes it back when that process dies, however it dies.
 * `lock.json` only tells a second service whom it met.
 */
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Context } from './context.ts';
import type { DataDir } from './datadir.ts';
import { errorCode, StartError } from './errors.ts';

export interface DataLock {
  release(): Promise<void>;
}

/** @throws StartError when another service has the directory */
export async function lockDataDir(ctx: Context, dir: DataDir): Promise<DataLock> {
  const note = join(dir.run, 'lock.json');
  const server = await listen(`\0nimbus-${lockKey(ctx, dir)}`).catch((e: unknown) => {
    if (errorCode(e) !== 'EADDRINUSE') throw e;
    throw new StartError(`${dir.root} is in use by another nimbus service${holder(note)}; stop it or name another directory with --data`);
  });
  writeFileSync(note, `${JSON.stringify({ pid: process.pid, host: hostname(), startedAt: new Date(ctx.clock.now()).toISOString() })}\n`, { mode: 0o600 });
  return {
    release: () => new Promise((resolve) => {
      rmSync(note, { force: true });
      server.close(() => resolve());
    }),
  };
}

/** Who has the directory, as ` (pid 4711 on adm1)`; undefined when nobody has. Changes nothing. */
export function holderOfDataDir(dir: DataDir): Promise<string | undefined> {
  let key: string;
  try {
    key = readFileSync(join(dir.keys, 'lock-key'), 'utf8').trim();
  } catch {
    return Promise.resolve(undefined);
  }
  return new Promise((resolve) => {
    const socket = connect({ path: `\0nimbus-${key}` });
    const say = (held: boolean): void => {
      socket.destroy();
      resolve(held ? holder(join(dir.run, 'lock.json')) : undefined);
    };
    socket.once('connect', () => say(true)).once('error', () => say(false));
  });
}

function lockKey(ctx: Context, dir: DataDir): string {
  const file = join(dir.keys, 'lock-key');
  if (!existsSync(file)) {
    // A link appears whole or not at all, so that two services at their first start agree on one key.
    const draft = `${file}.${process.pid}`;
    writeFileSync(draft, ctx.random.bytes(16).toString('hex'), { mode: 0o600 });
    try {
      linkSync(draft, file);
    } catch (e) {
      if (errorCode(e) !== 'EEXIST') throw e;
    } finally {
      rmSync(draft);
    }
  }
  return readFileSync(file, 'utf8').trim();
}

function holder(note: string): string {
  try {
    const { pid, host } = JSON.parse(readFileSync(note, 'utf8')) as { pid: number; host: string };
    return ` (pid ${pid} on ${host})`;
  } catch {
    return '';
  }
}

function listen(name: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen({ path: name }, () => resolve(server.unref()));
  });
}
