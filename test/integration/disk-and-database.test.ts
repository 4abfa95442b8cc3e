/**
 * What the service stands on goes away under load: its PostgreSQL is killed with SIGKILL, its disk (database, images, node's
 * state and image cache) is full. The service goes on by itself afterwards; what was answered stands, and all agrees.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSignedClient, type SignedClient } from '../../bench/support/signed.ts';
import { openDb, statement, type Db } from '../../src/store/db.ts';
import { hasPart } from '../parts.ts';
import { expectTrueCache, runningVms } from '../support/agents.ts';
import { testContext } from '../support/context.ts';
import { expectTablesAgree } from '../support/invariants.ts';
import { startServe, type Serve } from '../support/serve.ts';
import { groupsByToken, runUntilAnswered } from '../support/services.ts';

const CLIENTS = 6;
const openIntents = statement<{ n: number }>('disk-open', "SELECT count(*)::int AS n FROM intent WHERE state = 'open'");
const unsettled = statement<{ id: string; state: string }>('disk-unsettled', "SELECT id, state FROM lease WHERE NOT final AND state NOT IN ('Running', 'Corrupted')");
const running = statement<{ id: string }>('disk-running', "SELECT id FROM lease WHERE state = 'Running' ORDER BY id");
const corrupted = statement<{ n: number }>('disk-corrupted', "SELECT count(*)::int AS n FROM lease WHERE reason_code LIKE 'Server.%'");

let root: string;
let serve: Serve;
let db: Db;
let client: SignedClient;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'stand-')); });
afterEach(async () => {
  client.close();
  await db.close();
  await serve.stop({ keep: true });
});

async function start(driver: string): Promise<void> {
  serve = await startServe(`[control]\nreconnect_max_ms = 200\n[simulated]\nstart_ms = 5\nstop_ms = 0\n[[local_nodes]]\nname = "n1"\ndriver = "${driver}"\nmemory_mb = 200000\ncores = 2000\n`, root);
  client = createSignedClient(serve.ec2, await serve.user('ada'), CLIENTS);
  const password = readFileSync(join(serve.dataDir, 'keys/postgresql-password'), 'utf8').trim();
  db = openDb({ host: join(serve.dataDir, 'run/pg'), port: 5432, user: 'nimbus', password, database: 'nimbus' }, { max: 2, log: testContext().log });
}

const nodeDir = (): string => join(serve.dataDir, 'nodes/n1');
const postgres = (): number => Number(readFileSync(join(serve.dataDir, 'pg/postmaster.pid'), 'utf8').split('\n')[0]);
const answers = async (): Promise<boolean> => (await client.call({ Action: 'DescribeInstances' }, 5_000).catch(() => undefined))?.status === 200;

/** What the service answers that is no lease; nothing when it does not answer. */
async function refusal(token: string): Promise<string> {
  const answer = await client.call({ Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '1', MaxCount: '1', ClientToken: token }, 5_000).catch(() => undefined);
  return answer === undefined || answer.status === 200 ? '' : /<Code>([^<]+)</.exec(answer.body)?.[1] ?? '';
}

/** Clients that ask until `over`; what was refused is refused. Tokens with what was answered to them. */
async function load(prefix: string, over: () => boolean, made = new Map<string, string>()): Promise<Map<string, string>> {
  let next = 0;
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (!over()) {
      const token = `${prefix}-${next += 1}`;
      const { status, body } = await client.call({ Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '1', MaxCount: '1', ClientToken: token }, 5_000)
        .catch(() => ({ status: 0, body: '' }));
      if (status === 200) made.set(token, /<instanceId>(i-[0-9a-f]+)</.exec(body)?.[1] ?? '');
      else await new Promise((resolve) => setImmediate(resolve));
    }
  }));
  return made;
}

async function comesToRest(made: ReadonlyMap<string, string>): Promise<void> {
  await expect.poll(answers, { timeout: 120_000, interval: 100 }).toBe(true);
  await expect.poll(async () => (await db.query(openIntents).catch(() => []))[0]?.n, { timeout: 120_000, interval: 100 }).toBe(0);
  expect(await db.query(unsettled)).toEqual([]);
  const groups = new Map((await db.query(groupsByToken)).map((g) => [g.token, g]));
  for (const [token, id] of made) expect(groups.get(token), token).toMatchObject({ groups: 1, leases: 1, ids: [id] });
  await expectAgreed();
  // It works as before.
  const { ids, answer } = await runUntilAnswered(() => client, 'afterwards');
  expect(answer.status, answer.body).toBe(200);
  await expect.poll(async () => (await serve.admin<{ state: string }>('lease', 'show', ids[0] ?? '')).state, { timeout: 60_000 }).toBe('Running');
}

/** Tables, the agent's list, and images on both sides. */
async function expectAgreed(): Promise<void> {
  await expectTablesAgree(db);
  expect(await runningVms([nodeDir()])).toEqual((await db.query(running)).map((l) => l.id));
  expect(expectTrueCache(nodeDir())).toBeGreaterThan(0);
  expect(await serve.admin<{ problems: unknown[]; notes: unknown[] }>('fsck', '--deep')).toMatchObject({ problems: [], notes: [] });
}

describe('PostgreSQL', () => {
  it('may be killed under load', { timeout: 480_000 }, async () => {
    await start('simulated');
    let over = false;
    const made = new Map<string, string>();
    const loading = load('kill', () => over, made);
    for (let kills = 1; kills <= 3; kills += 1) {
      await expect.poll(() => made.size, { timeout: 120_000, interval: 5 }).toBeGreaterThan(20 * kills);
      const pid = postgres();
      process.kill(pid, 'SIGKILL');
      await expect.poll(() => { try { return postgres(); } catch { return pid; } }, { timeout: 60_000, interval: 50 }).not.toBe(pid);
      await expect.poll(answers, { timeout: 120_000, interval: 50 }).toBe(true);
    }
    over = true;
    await loading;
    await comesToRest(made);
  });
});

describe.skipIf(!hasPart('mounts'))('a full disk', () => {
  afterEach(() => {
    spawnSync('umount', ['-l', root]);
    rmSync(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  });

  it('of the service and its node: what cannot be done is refused, and when there is room again all goes on', { timeout: 600_000 }, async () => {
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=300m,mode=755', 'tmpfs', root]).status).toBe(0);
    await start(hasPart('qemu') ? 'auto' : 'simulated');
    const { pid } = serve.process;
    const before = await runUntilAnswered(() => client, 'before');
    await expect.poll(async () => (await serve.admin<{ state: string }>('lease', 'show', before.ids[0] ?? '')).state, { timeout: 60_000 }).toBe('Running');
    mkdirSync(join(root, 'filler'));
    let over = false;
    const loading = load('full', () => over);
    for (let i = 0, full = false; !full || i < 3; i += 1) full = fill(join(root, 'filler', String(i))) || full;
    // Refused by now, by the database or for want of a disk on the node; the service itself stands.
    // What meets the full disk takes its own partial files away again.
    await expect.poll(() => {
      const { bavail, bsize } = statfsSync(root);
      return bavail * bsize;
    }, { interval: 20 }).toBeLessThan(32 * 2 ** 20);
    await expect.poll(async () => await refusal(`probe-${performance.now()}`) || (await db.query(corrupted).catch(() => []))[0]?.n, { timeout: 120_000, interval: 100 }).toBeTruthy();
    expect(serve.process.exitCode).toBeNull();
    rmSync(join(root, 'filler'), { recursive: true });
    over = true;
    const made = await loading;
    await comesToRest(new Map([...made, ['before', before.ids[0] ?? '']]));
    expect(serve.process.pid).toBe(pid);
    const left = await serve.admin<Array<{ id: string }>>('lease', 'list');
    await serve.admin('lease', 'destroy', ...left.map((l) => l.id));
    await expect.poll(async () => (await serve.admin<unknown[]>('lease', 'list')).length, { timeout: 120_000, interval: 200 }).toBe(0);
    await expectAgreed();
  });
});

/** True when the disk is full. */
function fill(file: string): boolean {
  try {
    for (let i = 0; i < 64; i += 1) writeFileSync(file, Buffer.alloc(1024 * 1024, 1), { flag: 'a' });
    return false;
  } catch {
    try {
      for (;;) writeFileSync(`${file}-rest`, Buffer.alloc(4096, 1), { flag: 'a' });
    } catch {
      return true;
    }
  }
}
