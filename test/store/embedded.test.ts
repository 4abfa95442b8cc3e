import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { startEmbedded, type Embedded, type EmbeddedOptions } from '../../src/store/embedded/start.ts';
import type { Fault } from '../../src/lease/faults.ts';
import { openDb, statement } from '../../src/store/db.ts';
import { isAlive } from '../../src/store/embedded/postmaster.ts';
import { testContext } from '../support/context.ts';
import { lostByPowerCut } from '../support/power-cut.ts';
import { hasPart } from '../parts.ts';

let root: string;
let dataDir: string;
const running: Embedded[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pg-'));
  dataDir = join(root, 'data');
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((e) => e.stop()));
  rmSync(root, { recursive: true, force: true });
});

async function start(options: Partial<EmbeddedOptions> = {}): Promise<Embedded> {
  const embedded = await startEmbedded(testContext(), { dataDir, ...options });
  running.push(embedded);
  return embedded;
}

async function ask(embedded: Embedded, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ ...embedded.address });
  await client.connect();
  try {
    return (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows[0] ?? [];
  } finally {
    await client.end();
  }
}

describe('a new data directory', () => {
  test('gets a cluster that keeps what it says: UTF-8, C, fsync, checksums, no TCP', async () => {
    let embedded: Embedded | undefined;
    // What lies in `pg` is PostgreSQL's to sync; what lives no longer than the service need not last.
    expect((await lostByPowerCut(root, async () => { embedded = await start(); })).filter((path) => !/^data\/(pg|run|log)\//.test(path))).toEqual([]);
    if (embedded === undefined) throw new Error('it does not run');
    expect(embedded.adopted).toBe(false);
    expect(await ask(embedded, `SELECT current_setting('server_encoding'), datcollate, current_setting('fsync'), current_setting('data_checksums'),
      current_setting('listen_addresses'), current_setting('synchronous_commit') FROM pg_database WHERE datname = current_database()`))
      .toEqual(['UTF8', 'C', 'on', 'on', '', 'on']);
    expect(statSync(join(dataDir, 'pg')).mode & 0o777).toBe(0o700);
    expect(statSync(join(dataDir, 'keys', 'postgresql-password')).mode & 0o777).toBe(0o600);
  });

  test('keeps what was committed over a stop, and leaves neither process nor socket', async () => {
    const first = await start();
    await ask(first, 'CREATE TABLE kept AS SELECT 42 AS n');
    await first.stop();
    expect(isAlive(first.pid)).toBe(false);
    expect(readdirSync(join(dataDir, 'run', 'pg'))).toEqual([]);
    expect(await ask(await start(), 'SELECT n FROM kept')).toEqual([42]);
  });

  test('works at a path that is too long for a socket and has spaces', async () => {
    dataDir = join(root, 'a directory with spaces', 'deep '.repeat(20), 'data');
    expect(await ask(await start(), 'SELECT 1')).toEqual([1]);
  });

  test('is started again when it is killed, on what was committed, and ends with the service', async () => {
    const ctx = testContext();
    const embedded = await startEmbedded(ctx, { dataDir });
    running.push(embedded);
    const first = embedded.pid;
    const db = openDb(embedded.address, { max: 2, log: ctx.log });
    try {
      await db.query(statement('test-kept', 'CREATE TABLE kept AS SELECT 42 AS n'));
      process.kill(first, 'SIGKILL');
      await expect.poll(() => db.query(statement('test-read', 'SELECT n FROM kept')).catch((e: unknown) => (e as Fault).code), { interval: 50, timeout: 60_000 }).toEqual([{ n: 42 }]);
      await expect.poll(() => embedded.pid, { interval: 20, timeout: 60_000 }).not.toBe(first);
      expect(ctx.lines.some((l) => l.level === 'error' && l.message.includes('has ended by itself'))).toBe(true);
    } finally {
      await db.close();
    }
    const { pid } = embedded;
    await embedded.stop();
    expect(isAlive(pid)).toBe(false);
  });

  test('asks for the password', async () => {
    const { address } = await start();
    const client = new pg.Client({ ...address, password: 'another' });
    await expect(client.connect()).rejects.toMatchObject({ code: '28P01' });
    await client.end();
  });

  test('an interrupted creation is begun anew', async () => {
    mkdirSync(join(dataDir, 'pg.new'), { recursive: true });
    writeFileSync(join(dataDir, 'pg.new', 'PG_VERSION'), '15\n');
    await start();
    expect(existsSync(join(dataDir, 'pg.new'))).toBe(false);
  });

  test.skipIf(!hasPart('root'))('of root, under a home that no one else may enter, runs as another user', async () => {
    chmodSync(root, 0o700);
    const { pid } = await start();
    expect(statSync(join(dataDir, 'pg')).uid).not.toBe(0);
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(new RegExp(`^Uid:\\s+${statSync(join(dataDir, 'pg')).uid}\\s`, 'm'));
  });

  test('runs in a session of its own', async () => {
    const { pid } = await start();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [, , , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    expect(Number(session)).toBe(pid);
  });
});

describe('versions', () => {
  test('a cluster of a version that is not installed is refused with the ways out, and left alone', async () => {
    await (await start()).stop();
    writeFileSync(join(dataDir, 'pg', 'PG_VERSION'), '12\n');
    await expect(start()).rejects.toThrow(/was made by PostgreSQL 12 and opens with that version only; tried: .* is version \d+.*postgresql-12.*database\.bin.*dump it with version 12/s);
    expect(readFileSync(join(dataDir, 'pg', 'PG_VERSION'), 'utf8')).toBe('12\n');
  });

  test('that PostgreSQL refuses is refused with its own reason, and with nothing of what it said before', async () => {
    await (await start()).stop();
    chmodSync(join(dataDir, 'pg'), 0o755);
    const why = await start().then(() => '', (e: Error) => e.message);
    expect(why).toBe(`PostgreSQL in ${dataDir}/pg did not start: it has ended: FATAL: data directory "${dataDir}/pg" has invalid permissions; `
      + `DETAIL: Permissions should be u=rwx (0700) or u=rwx,g=rx (0750).; its log is ${dataDir}/log/postgresql.log`);
  });

  test('a configured directory without PostgreSQL is named', async () => {
    await expect(start({ bin: '/nowhere' })).rejects.toThrow(/\/nowhere\/postgres cannot be run: ENOENT/);
  });

  test('a lost password is no reason to guess', async () => {
    await (await start()).stop();
    rmSync(join(dataDir, 'keys', 'postgresql-password'));
    await expect(start()).rejects.toThrow(/postgresql-password.* is missing; restore it/);
  });
});

describe('a PostgreSQL that outlived its service', () => {
  async function orphan(): Promise<number> {
    const service = spawn(process.execPath, ['--input-type=module', '-e', ORPHAN, dataDir], {
      cwd: join(import.meta.dirname, '..', '..'), stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(service.stdout, 'data') as [Buffer];
    service.kill('SIGKILL');
    await once(service, 'exit');
    return Number(line.toString());
  }

  test('is adopted, and ended by the stop of the service that adopted it', async () => {
    const pid = await orphan();
    expect(isAlive(pid)).toBe(true);

    const embedded = await start();
    expect(embedded).toMatchObject({ adopted: true, pid });
    expect(await ask(embedded, 'SELECT n FROM kept')).toEqual([7]);
    await embedded.stop();
    expect(isAlive(pid)).toBe(false);
    expect((await start()).adopted).toBe(false);
  });

  test('that does not answer is ended by its pid, and a new one started', async () => {
    const first = await orphan();
    // Its socket is gone: nobody can reach it any more.
    rmSync(join(dataDir, 'run', 'pg', '.s.PGSQL.5432'));
    const context = testContext();
    const clock = leaping(() => context.lines.some((l) => l.message.includes('without an answer')));
    const second = await startEmbedded({ ...context, clock }, { dataDir });
    running.push(second);
    expect(second.adopted).toBe(false);
    expect(second.pid).not.toBe(first);
    expect(isAlive(first)).toBe(false);
    expect(await ask(second, 'SELECT 1')).toEqual([1]);
  });

  test('a pid file whose number another program has now does not stop the start', async () => {
    await (await start()).stop();
    writeFileSync(join(dataDir, 'pg', 'postmaster.pid'), `${process.pid}\n/proc/self/fd/3\n0\n5432\n/proc/self/fd/4\n\n`);
    expect((await start()).adopted).toBe(false);
  });

  test('that was killed, and whose entry among the processes is still there, is waited for', async () => {
    await (await start()).stop();
    const { uid, gid } = statSync(join(dataDir, 'pg'));
    // A zombie: its parent does not fetch it. The shell would, so it is killed when there is no shell any more.
    const parent = spawn('/bin/sh', ['-c', 'sleep 600 & echo $!; exec sleep 600'], { cwd: '/', stdio: ['ignore', 'pipe', 'inherit'], uid, gid });
    const [line] = await once(parent.stdout, 'data') as [Buffer];
    const zombie = Number(line.toString());
    await vi.waitUntil(() => readFileSync(`/proc/${parent.pid ?? 0}/comm`, 'utf8').trim() === 'sleep', { timeout: 60_000 });
    process.kill(zombie, 'SIGKILL');
    await vi.waitUntil(() => !isAlive(zombie), { timeout: 60_000 });
    writeFileSync(join(dataDir, 'pg', 'postmaster.pid'), `${zombie}\n/proc/self/fd/3\n0\n5432\n/proc/self/fd/4\n\n`);
    const context = testContext();
    const begun = startEmbedded(context, { dataDir });
    await vi.waitUntil(() => context.lines.some((l) => l.message.includes('still there')), { timeout: 60_000 });
    parent.kill('SIGKILL');
    const embedded = await begun;
    running.push(embedded);
    expect(await ask(embedded, 'SELECT 1')).toEqual([1]);
  });
});

/** A real clock that leaps a second at each look, until `over`. */
function leaping(over: () => boolean): ReturnType<typeof testContext>['clock'] {
  const { clock } = testContext();
  let leapt = 0;
  return { ...clock, monotonic: () => clock.monotonic() + (over() ? leapt : (leapt += 1000)) };
}

/** A service that is killed: starts PostgreSQL, says its pid, waits for the end. */
const ORPHAN = `
  import { build } from 'esbuild';
  import { mkdtempSync, rmSync } from 'node:fs';
  import { join, dirname } from 'node:path';
  import { pathToFileURL } from 'node:url';
  const dataDir = process.argv[1];
  const outfile = join(process.cwd(), 'node_modules', '.cache', 'nimbus-test-' + process.pid + '.mjs');
  await build({ stdin: { contents: "export * from './src/store/embedded/start.ts'; export * from './src/platform/real.ts'", resolveDir: process.cwd() },
    bundle: true, platform: 'node', format: 'esm', packages: 'external', outfile, logLevel: 'error' });
  const { startEmbedded, realClock, realRandom } = await import(pathToFileURL(outfile));
  rmSync(outfile);
  const quiet = () => {};
  const log = { debug: quiet, info: quiet, warn: quiet, error: quiet, debugging: false, child: () => log };
  const e = await startEmbedded({ clock: realClock, random: realRandom, log }, { dataDir });
  const pg = (await import('pg')).default;
  const c = new pg.Client({ ...e.address });
  await c.connect();
  await c.query('CREATE TABLE kept AS SELECT 7 AS n');
  process.stdout.write(String(e.pid));
  process.stdin.resume();
  setInterval(() => {}, 60000);
`;
