/** Readiness while a site's PostgreSQL, a real one, does not answer (all of it stopped) or is not there (shut down), and when it is back. */
import { readdirSync, readFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startEmbedded, type Embedded } from '../../src/store/embedded/start.ts';
import { testContext } from '../support/context.ts';
import { startPgProxy, type PgProxy } from '../support/pg-proxy.ts';
import { signal } from '../support/processes.ts';
import { startServe, type Serve } from '../support/serve.ts';

const PATIENCE = { timeout: 120_000, interval: 50 };
/** Far above what the door gives the database, and far below what a statement or a connection may take. */
const DEADLINE_MS = 9_000;

let dir: string;
let database: Embedded;
let proxy: PgProxy;
let serve: Serve;
let url: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'stops-'));
  database = await startEmbedded(testContext(), { dataDir: dir });
  proxy = await startPgProxy(database.address);
  serve = await startServe(`[database]\nurl = "${proxy.url}"\n[[local_nodes]]\nname = "n1"\ndriver = "simulated"\nmemory_mb = 1024\ncores = 8\n`);
  url = (JSON.parse(readFileSync(join(serve.root, 'ready.json'), 'utf8')) as { monitoring: string }).monitoring;
}, 360_000);
afterAll(async () => {
  expect(await serve?.stop()).toBe(0);
  await proxy?.close();
  await database?.stop();
  rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
});

/** '' of a process that has ended meanwhile. */
function ofProcess(pid: number | string, file: 'stat' | 'cmdline'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
const childrenOf = (parent: number): number[] =>
  readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && Number(ofProcess(pid, 'stat').replace(/^.*\) /s, '').split(' ')[1]) === parent).map(Number);

/** The server with all its processes: one that is stopped itself starts no other. */
function stopAll(): number[] {
  signal(database.pid, 'SIGSTOP');
  const all = [database.pid, ...childrenOf(database.pid)];
  for (const pid of all) signal(pid, 'SIGSTOP');
  return all;
}

const ask = async (path: string): Promise<{ status: number; text: string }> => {
  const r = await fetch(url + path, { signal: AbortSignal.timeout(DEADLINE_MS) });
  return { status: r.status, text: await r.text() };
};
const isReady = async (): Promise<void> => { await expect.poll(() => ask('/readyz'), PATIENCE).toEqual({ status: 200, text: '{"ready":true,"missing":[]}\n' }); };
async function isNotReady(): Promise<void> {
  await expect.poll(async () => (await ask('/readyz')).status, PATIENCE).toBe(503);
  const { status, text } = await ask('/readyz');
  expect(status).toBe(503);
  expect((JSON.parse(text) as { missing: string[] }).missing).toContain('the database does not answer');
  expect((await ask('/healthz')).status, 'the process itself is well').toBe(200);
}

it('a server that is stopped, and holds its connections, is not waited for', { timeout: 480_000 }, async () => {
  await isReady();
  const stopped = stopAll();
  try {
    expect(stopped.length, 'with the connections of the service').toBeGreaterThan(5);
    await isNotReady();
  } finally {
    for (const pid of stopped) signal(pid, 'SIGCONT');
  }
  await isReady();
});

it('a server that was shut down is missed, and taken again when it is back', { timeout: 480_000 }, async () => {
  await isReady();
  await database.stop();
  await isNotReady();
  database = await startEmbedded(testContext(), { dataDir: dir });
  await isReady();
});

it('a server that was told to end, and has when nobody was connected any more, is taken again when it is back', { timeout: 480_000 }, async () => {
  const { pid } = database;
  // A smart shutdown: nobody new is let in. Connections are lost now and then, and those of this service are now, also one that came just before.
  process.kill(pid, 'SIGTERM');
  // The keeper starts it again as soon as it has gone.
  await expect.poll(() => {
    for (const p of childrenOf(pid)) if (/postgres: nimbus nimbus/.test(ofProcess(p, 'cmdline'))) signal(p, 'SIGTERM');
    return database.pid;
  }, PATIENCE).not.toBe(pid);
  await isReady();
});
