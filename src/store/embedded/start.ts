/**
 * The private PostgreSQL of the default configuration: a real server in the data directory, reached over a Unix socket
 * only. The caller holds the data directory's lock (`src/platform/lock.ts`).
 *
 * A service that was killed leaves its PostgreSQL running: it is adopted when it answers, else ended and started anew.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import type { Context } from '../../platform/context.ts';
import { dataDirAt } from '../../platform/datadir.ts';
import { sleep } from '../../platform/deadline.ts';
import { errorCode, errorText, StartError } from '../../platform/errors.ts';
import { makeDirectory } from '../../platform/make-directory.ts';
import { socketDir } from '../../platform/socket-path.ts';
import type { DbAddress } from '../db.ts';
import { clusterMajor, createCluster, DATABASE, makePrivateDir, readPassword, ROLE, type ClusterPlace } from './cluster.ts';
import { identityFor, type Identity } from './identity.ts';
import { keepRunning } from './keeper.ts';
import { removeCopy } from './npm-programs.ts';
import { endPostmaster, findPostmaster, isAlive, spawnPostmaster, type Child } from './postmaster.ts';
import { findPrograms } from './programs.ts';
import { boundServerLog, reasonInServerLog, serverLogSize, serverLogTail } from './server-log.ts';

const PORT = 5432;
const SOCKET = `.s.PGSQL.${PORT}`;
/** Crash recovery comes before the first answer. */
const READY_MS = 120_000;
const ADOPT_MS = 10_000;
const POLL_MS = 20;
/** What is left of a server that was killed (its entry among the processes, its children) may need a moment to go. */
const LEFT_MS = 15_000;
const LEFT_BEHIND = /lock file "postmaster\.pid" already exists|pre-existing shared memory block/;
const AGAIN_MS = 200;
const LAST_LINES = 4;

export interface Embedded {
  /** Good in this process while it runs. */
  readonly address: DbAddress;
  /** Of the server that runs now: one that ends by itself is started again. */
  readonly pid: number;
  /** True when it was running already. */
  readonly adopted: boolean;
  /** Ends PostgreSQL and waits until it has gone. */
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** The service's data directory; the cluster is `pg` in it. */
  readonly dataDir: string;
  /** Directory of PostgreSQL's programs; empty = searched */
  readonly bin?: string;
}

/** @throws StartError */
export async function startEmbedded(ctx: Context, options: EmbeddedOptions): Promise<Embedded> {
  const place = placeIn(options.dataDir);
  const identity = identityFor(place.cluster, dataDirAt(options.dataDir).root);
  makePrivateDir(place.socketDir, identity);
  const password = readPassword(ctx, place);
  const socket = socketDir(place.socketDir, SOCKET);
  const address: DbAddress = { host: socket.dir, port: PORT, user: ROLE, password, database: DATABASE };
  try {
    const adopted = await adopt(ctx, place, address);
    const startAgain = (): Promise<number> => startAfterTheLast(ctx, place, () => start(ctx, place, identity, address, options.bin ?? ''));
    const keeper = keepRunning(ctx, adopted ?? await startAgain(), startAgain);
    const unbound = boundServerLog(ctx, place.logFile);
    let stopped: Promise<void> | undefined;
    const stop = async (): Promise<void> => {
      unbound();
      await keeper.stop();
      dropCopy(place);
      socket.close();
    };
    return { address, get pid() { return keeper.pid; }, adopted: adopted !== undefined, stop: () => (stopped ??= stop()) };
  } catch (e) {
    socket.close();
    throw e;
  }
}

function placeIn(dataDir: string): ClusterPlace {
  const dir = dataDirAt(dataDir);
  for (const sub of [dir.run, dir.keys, dir.log]) makeDirectory(sub, 0o700);
  return {
    cluster: join(dir.root, 'pg'),
    socketDir: join(dir.run, 'pg'),
    passwordFile: join(dir.keys, 'postgresql-password'),
    logFile: join(dir.log, 'postgresql.log'),
  };
}

async function adopt(ctx: Context, place: ClusterPlace, address: DbAddress): Promise<number | undefined> {
  const pid = findPostmaster(place.cluster);
  if (pid === undefined) return undefined;
  try {
    await untilAnswering(ctx, address, ADOPT_MS, () => isAlive(pid));
    ctx.log.info('found PostgreSQL running and keeps it', { pid });
    return pid;
  } catch (e) {
    ctx.log.warn('found PostgreSQL running without an answer; ending it', { pid, error: errorText(e) });
    await endPostmaster(ctx.clock, pid);
    return undefined;
  }
}

/** PostgreSQL refuses to start while anything of the one before is there; this program has looked that it has ended. */
async function startAfterTheLast(ctx: Context, place: ClusterPlace, startOnce: () => Promise<number>): Promise<number> {
  const deadline = ctx.clock.monotonic() + LEFT_MS;
  for (;;) {
    try {
      return await startOnce();
    } catch (e) {
      const lastLines = !existsSync(place.logFile) ? '' : serverLogTail(place.logFile).split('\n').slice(-LAST_LINES).join('\n');
      if (findPostmaster(place.cluster) !== undefined || !LEFT_BEHIND.test(lastLines) || ctx.clock.monotonic() >= deadline) throw e;
      ctx.log.info('something of the PostgreSQL before is still there; trying again', { reason: errorText(e).slice(0, 200) });
      await sleep(ctx.clock, AGAIN_MS);
    }
  }
}

async function start(ctx: Context, place: ClusterPlace, identity: Identity | null, address: DbAddress, bin: string): Promise<number> {
  dropCopy(place);
  const programs = await findPrograms({ bin, major: clusterMajor(place.cluster), identity });
  if (programs.copy !== null) writeFileSync(copyNote(place), programs.copy, { mode: 0o600 });
  let child: Child | undefined;
  const logged = serverLogSize(place.logFile);
  try {
    if (clusterMajor(place.cluster) === undefined) await createCluster(place, programs, identity, address.password ?? '');
    child = await spawnPostmaster(place, programs, identity);
    const { pid } = child;
    await untilAnswering(ctx, address, READY_MS, () => isAlive(pid));
    void child.ended.then((how) => ctx.log.info('PostgreSQL has ended', { pid, how }));
    ctx.log.info('PostgreSQL runs', { pid, version: programs.major, programs: programs.bin });
    return pid;
  } catch (e) {
    if (child !== undefined) await endPostmaster(ctx.clock, child.pid);
    dropCopy(place);
    if (e instanceof StartError) throw e;
    // It knows the cluster by a descriptor that nobody else has.
    const said = child === undefined ? '' : reasonInServerLog(place.logFile, logged).replaceAll(/\/proc\/self\/fd\/3\b/g, place.cluster);
    throw new StartError(`PostgreSQL in ${place.cluster} did not start: ${errorText(e)}${said === '' ? '' : `: ${said}`}; its log is ${place.logFile}`, { cause: e });
  }
}

/** Remembers a private copy of the programs, so that it goes with PostgreSQL even when the service was killed meanwhile. */
const copyNote = (place: ClusterPlace): string => join(place.socketDir, '..', 'pg-programs');

function dropCopy(place: ClusterPlace): void {
  try {
    removeCopy(readFileSync(copyNote(place), 'utf8'));
    rmSync(copyNote(place));
  } catch (e) {
    if (errorCode(e) !== 'ENOENT') throw e;
  }
}

/** Not there yet, refusing yet, or SQLSTATE 57P03 cannot_connect_now: starting up. */
const NOT_YET = new Set(['ENOENT', 'ECONNREFUSED', 'ECONNRESET', '57P03']);

/** Connects until it is let in, and makes the database where it is missing. */
async function untilAnswering(ctx: Context, address: DbAddress, ms: number, runs: () => boolean): Promise<void> {
  const deadline = ctx.clock.monotonic() + ms;
  for (;;) {
    try {
      await ensureDatabase(address);
      return;
    } catch (e) {
      if (!runs()) throw new Error('it has ended', { cause: e });
      if (!NOT_YET.has(errorCode(e) ?? '') || ctx.clock.monotonic() >= deadline) throw e;
    }
    await sleep(ctx.clock, POLL_MS);
  }
}

async function ensureDatabase(address: DbAddress): Promise<void> {
  const client = new pg.Client({ ...address, database: 'postgres', connectionTimeoutMillis: ADOPT_MS, query_timeout: ADOPT_MS });
  // A connection that breaks between two calls says so here; the calls reject by themselves.
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${client.escapeIdentifier(DATABASE)}`);
  } finally {
    await client.end();
  }
}
