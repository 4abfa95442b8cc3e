/** PostgreSQL's main process: its command line, finding one that outlived its service, ending it by pid. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../platform/context.ts';
import { sleep } from '../../platform/deadline.ts';
import { errorCode } from '../../platform/errors.ts';
import type { ClusterPlace } from './cluster.ts';
import type { Identity } from './identity.ts';
import { openDirs } from './open-dirs.ts';
import type { Programs } from './programs.ts';
import { PROGRAM_ENV } from './run.ts';

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '60',
  shared_buffers: '64MB',
  // People are billed by what is in here: an answered request must survive a power cut.
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  // No replicas: the least WAL, and a bound to what it takes on the disk.
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '512MB',
  wal_compression: 'on',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  logging_collector: 'off',
  log_checkpoints: 'off',
};

const POLL_MS = 20;
const FAST_MS = 30_000;
const IMMEDIATE_MS = 10_000;

/** A custom setting; on the command line it tells people and `findPostmaster` whose this PostgreSQL is. */
const mark = (cluster: string): string => `nimbus.cluster=${realpathSync(cluster)}`;

export interface Child {
  readonly pid: number;
  /** Resolves when it has ended, with how. */
  readonly ended: Promise<string>;
}

/** In a session of its own, so that Ctrl-C at the service's terminal does not reach it before the service has stopped. */
export function spawnPostmaster(place: ClusterPlace, programs: Programs, identity: Identity | null): Promise<Child> {
  const dirs = openDirs([place.cluster, place.socketDir]);
  const log = openSync(place.logFile, 'a', 0o600);
  const settings = Object.entries({ ...SETTINGS, unix_socket_directories: dirs.inChild(1) }).map(([k, v]) => `${k}=${v}`);
  const args = ['-D', dirs.inChild(0), ...[mark(place.cluster), ...settings].flatMap((s) => ['-c', s])];
  const child = spawn(join(programs.bin, 'postgres'), args, {
    cwd: '/', env: PROGRAM_ENV, detached: true, stdio: ['ignore', log, log, ...dirs.descriptors], ...identity,
  });
  dirs.close();
  closeSync(log);
  return new Promise((resolve, reject) => {
    const ended = new Promise<string>((end) => {
      child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
    });
    child.once('error', reject);
    child.once('spawn', () => {
      child.unref();
      resolve({ pid: child.pid ?? 0, ended });
    });
  });
}

/**
 * The pid of a PostgreSQL that runs on this cluster; undefined when there is none. A pid file whose process is another
 * program (its number was given anew) is removed, as PostgreSQL would refuse to start because of it.
 */
export function findPostmaster(cluster: string): number | undefined {
  const file = join(cluster, 'postmaster.pid');
  const pid = Number(readText(file)?.split('\n')[0]);
  if (!Number.isSafeInteger(pid) || pid <= 1 || !isAlive(pid)) return undefined;
  const argv = readText(`/proc/${pid}/cmdline`)?.split('\0') ?? [];
  if (argv.includes(mark(cluster))) return pid;
  if (!(argv[0] ?? '').endsWith('postgres')) rmSync(file, { force: true });
  return undefined;
}

/** Fast shutdown, then immediate: open transactions are rolled back, what was committed stays (pg_ctl(1), stop modes). */
export async function endPostmaster(clock: Clock, pid: number): Promise<void> {
  for (const [signal, ms] of [['SIGINT', FAST_MS], ['SIGQUIT', IMMEDIATE_MS], ['SIGKILL', IMMEDIATE_MS]] as const) {
    signalIfAlive(pid, signal);
    const deadline = clock.monotonic() + ms;
    while (isAlive(pid) && clock.monotonic() < deadline) await sleep(clock, POLL_MS);
    if (!isAlive(pid)) return;
  }
  throw new Error(`PostgreSQL (pid ${pid}) cannot be ended`);
}

function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (e) {
    if (errorCode(e) !== 'ESRCH') throw e;
  }
}

/** A zombie, whose parent may never fetch it, has ended. */
export function isAlive(pid: number): boolean {
  const stat = readText(`/proc/${pid}/stat`);
  // proc(5): the state follows the program's name, which may itself contain ")".
  return stat !== undefined && !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (e) {
    if (['ENOENT', 'ESRCH', 'ENOTDIR'].includes(errorCode(e) ?? '')) return undefined;
    throw e;
  }
}
