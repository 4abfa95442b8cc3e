/** Services that share a database: who lives, what becomes of the work of one that does not, what it may still say. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createProcesses, DEAD_MS, type Processes } from '../../src/manager/processes.ts';
import { realClock } from '../../src/platform/real.ts';
import { isUnavailable, openDb, statement, type Db } from '../../src/store/db.ts';
import { claimedIntents, postponeIntents, takeIntents } from '../../src/store/intents.ts';
import { lockNodes, recordNodeDown, recordNodeUp } from '../../src/store/nodes.ts';
import { holdDuty } from '../../src/store/processes.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { testContext } from '../support/context.ts';

let database: TestDatabase;
let db: Db;
let monotonic = 0;
const ctx = testContext({ clock: { ...realClock, monotonic: () => monotonic } });
beforeAll(async () => {
  database = await openTestDatabase();
  db = database.db;
  await db.query(statement('p-account', "INSERT INTO account (name, owner_id, created_at) VALUES ('a', '000000000000', now())"));
  await db.query(statement('p-image', "INSERT INTO image (id, name, format, size_bytes, sha256, file, created_at) VALUES ('ami-1', 'g', 'raw', 1, repeat('0', 64), 'g', now())"));
  await db.query(statement('p-group', "INSERT INTO lease_group (id, account_id, request_hash, created_at) SELECT 'r-1', id, '', now() FROM account"));
  await db.query(statement('p-nodes', `INSERT INTO vmm_node (name, zone, memory_mb, cores, access, created_at)
    SELECT 'n' || i, 'z', 100, 100, '{"transport": "local", "stateDir": "/none", "driver": "simulated"}', now() FROM generate_series(1, 2) AS i`));
  await db.query(statement('p-lease', `INSERT INTO lease (id, group_id, account_id, launch_index, state, generation, node_id, zone, image_id, type, memory_mb, cores, disk_mb, nics, created_at, duration_s)
    SELECT 'i-1', 'r-1', a.id, 0, 'Unpropagated', 1, n.id, 'z', 'ami-1', 't', 1, 1, 0, '[]', now(), 1 FROM account a, vmm_node n WHERE n.name = 'n1'`));
});
afterAll(async () => { await database.close(); });
beforeEach(async () => {
  for (const table of ['node_channel', 'duty', 'intent', 'process']) await db.query(statement(`p-empty-${table}`, `DELETE FROM ${table}`));
  await db.query(statement('p-unreachable', 'UPDATE vmm_node SET reachable = false'));
});

interface Made { readonly processes: Processes; readonly changes: string[] }
async function join(name: string, session = `p ${name}`): Promise<Made> {
  const changes: string[] = [];
  const processes = createProcesses({ ctx, db, host: 'h', pid: 1, dataDir: `/${name}`, session, onChange: (what) => void changes.push(what) });
  await processes.join();
  return { processes, changes };
}

const silence = statement<never>('p-silence', "UPDATE process SET heartbeat = heartbeat - interval '10 s' WHERE id = $1");
const nodeIds = statement<{ id: number }>('p-node-ids', 'SELECT id FROM vmm_node ORDER BY name');
const reachable = statement<{ reachable: boolean }>('p-reachable', 'SELECT reachable FROM vmm_node ORDER BY name');
const insertIntent = statement<never>('p-intent', `INSERT INTO intent (id, lease_id, node_id, kind, generation, created_at, next_at, process_id) VALUES ($1, 'i-1', $2, 'start', 1, now(), date_trunc('milliseconds', now()) + $3 * interval '1 s', $4)`);
const claimOf = statement<{ process_id: number | null; due: boolean }>('p-claim', 'SELECT process_id, next_at <= clock_timestamp() AS due FROM intent WHERE id = $1');

const take = (by: Made, node: number | null = null) => db.query(takeIntents, [new Date(), new Date(Date.now() + 30_000), 10, node, by.processes.id()]).then((rows) => rows.map((r) => r.id));
const up = (by: Made, node: number) => db.query(recordNodeUp, [node, new Date(), 'v', 'd', 'b', by.processes.id(), false]);
/** As the timer does, for as long as it takes to judge others. */
async function beatSteadily(who: Made): Promise<void> {
  for (let i = 0; i <= DEAD_MS / 1000; i += 1) {
    await who.processes.beat();
    monotonic += 1_000;
  }
  await who.processes.beat();
}

describe('a service that is silent', () => {
  it('is taken for dead by one that has itself been heard all the while, and by nobody else', async () => {
    const [a, b] = [await join('a'), await join('b')];
    await db.query(silence, [a.processes.id()]);
    await b.processes.beat();
    monotonic += DEAD_MS + 1;
    // The database was away for all of them, or this process stood still: the other gets its time.
    await b.processes.beat();
    expect((await b.processes.list()).map((p) => p.state)).toEqual(['silent', 'up']);
    await beatSteadily(b);
    expect((await b.processes.list()).map((p) => [p.state, p.self])).toEqual([['up', true], ['lost', false]]);
    expect(b.changes).toEqual(['taken-over']);
  });

  it('loses its claims, channels and duties at once; what only it reached is away', async () => {
    const [a, b] = [await join('a'), await join('b')];
    const [n1 = 0, n2 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    await up(a, n1);
    await up(a, n2);
    await up(b, n1);
    await db.query(insertIntent, ['op-a', n1, 30, a.processes.id()]);
    expect(await a.processes.take('batch-system')).toBe(true);
    expect(await b.processes.take('batch-system')).toBe(false);
    await db.query(silence, [a.processes.id()]);
    const dead = a.processes.id();
    await beatSteadily(b);
    expect(await db.query(claimOf, ['op-a'])).toEqual([{ process_id: null, due: true }]);
    expect(await db.query(reachable)).toEqual([{ reachable: true }, { reachable: false }]);
    expect(await b.processes.take('batch-system')).toBe(true);
    expect(await db.query(holdDuty, ['batch-system', dead])).toEqual([]);
    expect(await take(b)).toEqual(['op-a']);
  });

  it('or alive, and without a channel to a node that another one reaches: work that it has claimed is done by that one', async () => {
    const [a, b] = [await join('a'), await join('b')];
    const [n1 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    await db.query(insertIntent, ['op-a', n1, 0, a.processes.id()]);
    // Nobody reaches it: it is left to the one that has it under way.
    expect(await take(b)).toEqual([]);
    await up(b, n1);
    expect(await take(a)).toEqual([]);
    expect(await take(b)).toEqual(['op-a']);
    expect(await db.query(claimOf, ['op-a'])).toMatchObject([{ process_id: b.processes.id() }]);
  });

  it('or not: what it has under way for long is claimed for longer, and counted once; another life of it counts again', async () => {
    const a = await join('a');
    const [n1 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    await up(a, n1);
    await db.query(insertIntent, ['op-a', n1, 0, null]);
    const attempts = statement<{ attempts: number }>('p-attempts', 'SELECT attempts FROM intent');
    const due = statement<never>('p-due', "UPDATE intent SET next_at = now() - interval '1 s'");
    for (let i = 0; i < 3; i += 1) {
      expect(await take(a)).toEqual(['op-a']);
      await db.query(due);
    }
    expect(await db.query(attempts)).toEqual([{ attempts: 1 }]);
    await a.processes.leave();
    const b = await join('b');
    await beatSteadily(b);
    expect(await take(b)).toEqual(['op-a']);
    expect(await db.query(attempts)).toEqual([{ attempts: 2 }]);
  });

  it('has its transactions ended, so that nobody waits for its locks', async () => {
    const a = await join('a', 'p session of a');
    const b = await join('b');
    const its = openDb(database.address, { max: 1, log: ctx.log, applicationName: 'p session of a' });
    const lock = statement<never>('p-lock', "SELECT 1 FROM vmm_node WHERE name = 'n1' FOR UPDATE");
    let locked: () => void = () => undefined;
    const holding = new Promise<void>((resolve) => { locked = resolve; });
    let wake: () => void = () => undefined;
    const stopped = new Promise<void>((resolve) => { wake = resolve; });
    const transaction = its.transaction(async (tx) => {
      await tx.query(lock);
      locked();
      await stopped;
      await tx.query(lock);
    }).then(() => 'committed', (e: unknown) => (isUnavailable(e) ? 'Unavailable' : e));
    await holding;
    await db.query(silence, [a.processes.id()]);
    await beatSteadily(b);
    await db.query(lock);
    wake();
    expect(await transaction).toBe('Unavailable');
    await its.close();
  });

  it('goes on under another name when it comes back, and what it says for the old one is refused', async () => {
    const [a, b] = [await join('a'), await join('b')];
    const [n1 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    await up(b, n1);
    const before = a.processes.id();
    await db.query(insertIntent, ['op-a', n1, 30, before]);
    await db.query(silence, [before]);
    await beatSteadily(b);
    await a.processes.beat();
    expect(a.changes).toContain('reborn');
    expect(a.processes.id()).not.toBe(before);
    expect(await take(b)).toEqual(['op-a']);
    // Its failure, and its postponement: both name a claim that has passed on.
    expect(await db.query(claimedIntents, [['op-a'], [before]])).toEqual([]);
    await db.query(postponeIntents, [['op-a'], [new Date(0)], ['late'], [before], [null]]);
    expect(await db.query(claimOf, ['op-a'])).toEqual([{ process_id: b.processes.id(), due: false }]);
    expect(await db.query(claimedIntents, [['op-a'], [b.processes.id()]])).toEqual([{ id: 'op-a' }]);
  });

  it('that writes work before it knows that it was taken for dead, and dies, leaves it to the others', async () => {
    const [a, b] = [await join('a'), await join('b')];
    const [n1 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    await up(b, n1);
    await db.query(silence, [a.processes.id()]);
    await beatSteadily(b);
    await db.query(insertIntent, ['op-a', n1, 0, a.processes.id()]);
    expect(await take(b)).toEqual(['op-a']);
    expect(await db.query(claimOf, ['op-a'])).toEqual([{ process_id: b.processes.id(), due: false }]);
  });

  it('has what another is changing just then left to it, and loses that when the other has done: who takes over waits for nobody', async () => {
    const [a, b] = [await join('a'), await join('b')];
    const [n1 = 0, n2 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    for (const node of [n1, n2]) await up(a, node);
    await up(b, n1);
    for (const id of ['op-1', 'op-2']) await db.query(insertIntent, [id, n1, 30, a.processes.id()]);
    await db.query(silence, [a.processes.id()]);
    const change = statement<never>('p-change', 'UPDATE intent SET error = $2 WHERE id = $1');
    const claims = statement<{ claimed: boolean }>('p-claimed', 'SELECT process_id IS NOT NULL AS claimed FROM intent ORDER BY id');
    const takenOver = statement<{ taken_over: boolean }>('p-taken-over', 'SELECT taken_over FROM process WHERE lost');
    // As the end of leases in whatever order, of a service that may stand still in the middle of it.
    await db.transaction(async (tx) => {
      await tx.query(change, ['op-2', 'first']);
      await tx.query(lockNodes, [[n2]]);
      await beatSteadily(b);
      await tx.query(change, ['op-1', 'second']);
    });
    expect(await db.query(claims)).toEqual([{ claimed: false }, { claimed: true }]);
    expect(await db.query(reachable)).toEqual([{ reachable: true }, { reachable: true }]);
    expect(await db.query(takenOver)).toEqual([{ taken_over: false }]);
    await b.processes.beat();
    expect(await db.query(claims)).toEqual([{ claimed: false }, { claimed: false }]);
    expect(await db.query(reachable)).toEqual([{ reachable: true }, { reachable: false }]);
    expect(await db.query(takenOver)).toEqual([{ taken_over: true }]);
    expect(await take(b)).toEqual(['op-1', 'op-2']);
  });

  it('that leaves several works to others waits for nobody who changes one of them', async () => {
    const a = await join('a');
    const [n1 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    for (const id of ['op-1', 'op-2']) await db.query(insertIntent, [id, n1, 30, a.processes.id()]);
    await db.transaction(async (tx) => {
      await tx.query(statement('p-other', "UPDATE intent SET error = 'mine' WHERE id = 'op-2'"));
      await db.query(postponeIntents, [['op-1', 'op-2'], [new Date(0), new Date(0)], [null, null], [a.processes.id(), a.processes.id()], [null, null]]);
      await tx.query(statement('p-other-too', "UPDATE intent SET error = 'mine' WHERE id = 'op-1'"));
    });
    expect(await db.query(statement('p-left', 'SELECT id FROM intent WHERE process_id IS NULL'))).toEqual([{ id: 'op-1' }]);
  });

  it('is replaced at once by the next service in its data directory', async () => {
    const first = await join('a');
    const [n1 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    await db.query(insertIntent, ['op-a', n1, 30, first.processes.id()]);
    const second = await join('a');
    expect(await db.query(claimOf, ['op-a'])).toEqual([{ process_id: null, due: true }]);
    expect((await second.processes.list()).map((p) => p.state)).toEqual(['up', 'lost']);
  });

  it('that stops in order leaves nothing to wait for', async () => {
    const [a, b] = [await join('a'), await join('b')];
    const [n1 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    await db.query(insertIntent, ['op-a', n1, 30, a.processes.id()]);
    await a.processes.leave();
    expect(await take(b)).toEqual(['op-a']);
    expect((await b.processes.list()).map((p) => p.state)).toEqual(['up', 'stopped']);
  });
});

describe('work for a node', () => {
  it('is claimed by one, and left to those that reach the node', async () => {
    const [a, b] = [await join('a'), await join('b')];
    const [n1 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    await db.query(insertIntent, ['op-1', n1, 0, null]);
    await up(a, n1);
    expect(await take(b)).toEqual([]);
    expect(await take(a)).toEqual(['op-1']);
    await up(b, n1);
    await db.query(statement('p-due', "UPDATE intent SET next_at = now() - interval '1 s'"));
    expect(await take(b)).toEqual([]);
    expect(await take(a)).toEqual(['op-1']);
  });

  it('that nobody reaches is taken by anyone, who gives it up when its time is over', async () => {
    const a = await join('a');
    const [n1 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    await db.query(insertIntent, ['op-1', n1, 0, null]);
    expect(await take(a)).toEqual(['op-1']);
  });

  it('goes on while one of two that reached the node still does', async () => {
    const [a, b] = [await join('a'), await join('b')];
    const [n1 = 0] = (await db.query(nodeIds)).map((n) => n.id);
    await up(a, n1);
    await up(b, n1);
    await db.query(recordNodeDown, [n1, 'lost', a.processes.id()]);
    expect((await db.query(reachable))[0]).toEqual({ reachable: true });
    await db.query(recordNodeDown, [n1, 'lost', b.processes.id()]);
    expect((await db.query(reachable))[0]).toEqual({ reachable: false });
  });
});
