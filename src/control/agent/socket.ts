/** The Unix socket `<state>/agent.sock`, at which the agent that holds the directory takes others' connections. */
import { chmodSync, closeSync, constants, openSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { keepSocketFile } from '../../platform/socket-file.ts';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';

const NAME = 'agent.sock';
/** sun_path has 108 bytes with its NUL (unix(7)); beyond this the way leads through the directory's descriptor. */
const LONGEST = 100;
const LOOK_MS = 60_000;

interface Address {
  readonly path: string;
  release(): void;
}

function address(stateDir: string): Address {
  const path = join(stateDir, NAME);
  if (Buffer.byteLength(path) <= LONGEST) return { path, release: () => undefined };
  const fd = openSync(stateDir, constants.O_RDONLY | constants.O_DIRECTORY);
  return { path: `/proc/self/fd/${fd}/${NAME}`, release: () => closeSync(fd) };
}

interface Place {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface AgentSocket {
  close(): Promise<void>;
}

/** Only for the holder of the lock: a socket that lies there is left over. */
export function listenAt({ stateDir, clock, log }: Place, onConnection: (socket: Socket) => void): Promise<AgentSocket> {
  rmSync(join(stateDir, NAME), { force: true });
  const { path, release } = address(stateDir);
  const server: Server = createServer({ allowHalfOpen: true }, onConnection);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.removeListener('error', reject);
      chmodSync(path, 0o600);
      const kept = keepSocketFile(clock, LOOK_MS, server, path, (why) => {
        if (why === undefined) log.warn('the socket was removed, and is there again', { stateDir });
        else log.error('the socket was removed, and cannot be made; trying again', { stateDir, error: why.message });
      });
      resolve({
        close: () => new Promise((done) => {
          kept.stop();
          server.close(() => undefined);
          release();
          done();
        }),
      });
    });
  });
}

/** undefined when nobody listens. */
export function connectTo(stateDir: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const { path, release } = address(stateDir);
    const socket = connect({ path, allowHalfOpen: true });
    socket.once('connect', () => {
      release();
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', (e: NodeJS.ErrnoException) => {
      release();
      if (e.code === 'ENOENT' || e.code === 'ECONNREFUSED') resolve(undefined);
      else reject(e);
    });
  });
}
