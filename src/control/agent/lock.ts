/**
 * One agent a state directory. The lock is a listening abstract Unix socket (unix(7)): the kernel frees the name when its
 * holder dies, however it dies. Its random part is kept in the directory, readable by the owner only, so nobody else can
 * take the name first. Abstract names belong to a network namespace: agents of one directory must share it.
 */
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { AgentFault } from './fault.ts';

const KEY = /^[0-9a-f]{32}$/;

export interface Lock {
  release(): Promise<void>;
}

/** undefined when another process holds it. */
export function tryLock(stateDir: string, randomKey: () => string): Promise<Lock | undefined> {
  const name = `\0nimbus-control-${lockKey(stateDir, randomKey)}`;
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (e: NodeJS.ErrnoException) => (e.code === 'EADDRINUSE' ? resolve(undefined) : reject(e)));
    server.listen(name, () => resolve({ release: () => new Promise((done) => server.close(() => done())) }));
  });
}

/** Two agents may start on a new directory at once: `link` lets one of them make the key. */
function lockKey(stateDir: string, randomKey: () => string): string {
  const file = join(stateDir, 'lock-key');
  const read = (): string | undefined => {
    try {
      return readFileSync(file, 'utf8');
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw e;
    }
  };
  const key = read() ?? makeKey(file, randomKey()) ?? read();
  if (key === undefined || !KEY.test(key)) throw new AgentFault('Internal', `${file} is damaged; remove it when no agent runs`);
  return key;
}

function makeKey(file: string, key: string): string | undefined {
  const tmp = `${file}.${process.pid}`;
  writeFileSync(tmp, key, { mode: 0o600 });
  try {
    linkSync(tmp, file);
    return key;
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
    throw e;
  } finally {
    rmSync(tmp, { force: true });
  }
}
