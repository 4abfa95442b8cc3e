import { afterEach, beforeAll, afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { CreateRequest } from '../../src/lease/types.ts';
import { createLeaseCreator, type Created } from '../../src/manager/create-queue.ts';
import { ownedNodes } from '../../src/manager/placing/owned.ts';
import { createNodePool } from '../../src/manager/pool.ts';
import { resolveRequest } from '../../src/manager/resolve.ts';
import { statement } from '../../src/store/db.ts';
import type { IntentRow } from '../../src/store/intents.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { failingDb, type FailingDb } from '../support/failing-db.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
let db: FailingDb;
/** Keeps the PostgreSQL of this file up between its tests. */
let held: TestDatabase;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(async () => { await held.close(); });
beforeEach(async () => {
  site = await openTestSite({
    config: { lease: { max_per_user: 5 } }, nodes: [{ name: 'n1', memoryMb: 512, cores: 4 }], seenDb: (real) => (db = failingDb(real)),
  });
});
afterEach(async () => { await site.close(); });

const request = (over: Partial<CreateRequest> = {}): CreateRequest => ({ minCount: 1, maxCount: 1, image: 'guest', resources: { memoryMb: 64, cores: 1 }, ...over });
const leases = async (): Promise<number> => (await site.db.query(statement<{ n: number }>('test-leases', 'SELECT count(*) AS n FROM lease')))[0]?.n ?? 0;

/** Requests that arrive in one moment, so that one transaction takes all of them. */
async function together(requests: readonly CreateRequest[]): Promise<Array<PromiseSettledResult<Created>>> {
  const { ctx, config, control } = site;
  const pool = createNodePool({ db, clock: ctx.clock, strategy: config.scheduler.strategy, reachable: () => true });
  const deps = { ctx, db, config, control, pool, placer: ownedNodes({ pool, random: ctx.random }), handOver: (intents: readonly IntentRow[]) => site.dispatcher.handOver(intents) };
  const resolved = await Promise.all(requests.map((r) => resolveRequest(deps, site.alice, r)));
  const create = createLeaseCreator(deps);
  return Promise.allSettled(resolved.map(async (r) => {
    const [made] = await create([r]);
    if (made === undefined) throw new Error('nothing was made');
    return made;
  }));
}

describe('a user’s limit', () => {
  it('bounds what "up to so many" gets', async () => {
    await site.db.query(statement('test-more-cores', 'UPDATE vmm_node SET cores = 64'));
    await site.manager.leases.create(site.alice, request({ minCount: 2, maxCount: 2 }));
    const group = await site.manager.leases.create(site.alice, request({ minCount: 1, maxCount: 50 }));
    expect(group.leases).toHaveLength(3);
    await expect(site.manager.leases.create(site.alice, request())).rejects.toMatchObject({ code: 'TooMany' });
    await site.settled();
  });

  it('holds among requests of one batch, and a refused one takes nothing from it', async () => {
    await site.db.query(statement('test-more-cores', 'UPDATE vmm_node SET cores = 64'));
    const sizes = [3, 90, 2, 1];
    const results = await together(sizes.map((n) => request({ minCount: n, maxCount: n })));
    expect(results.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
    await site.settled();
  });
});

describe('a client token', () => {
  it('sent many times at once takes the room of one', async () => {
    const all = await together(Array.from({ length: 10 }, () => request({ clientToken: 'once', resources: { memoryMb: 512, cores: 4 } })));
    const made = all.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : []));
    expect(made).toHaveLength(10);
    expect(new Set(made.map((g) => g.groupId)).size).toBe(1);
    expect(made.map((g) => g.repeated)).toEqual([false, ...Array<boolean>(9).fill(true)]);
    await site.settled();
  });

  it('sent with two requests at once is refused for the second', async () => {
    const results = await together([64, 128].map((memoryMb) => request({ clientToken: 'two', resources: { memoryMb, cores: 1 } })));
    expect(results[0]?.status).toBe('fulfilled');
    expect(results[1]).toMatchObject({ reason: { code: 'TokenMismatch' } });
    await site.settled();
  });

  it('answers with its group after the key pair and the leases are gone', async () => {
    await site.manager.keys.create(site.alice, 'mine', 'ed25519');
    const asked = request({ clientToken: 'later', keyName: 'mine' });
    const first = await site.manager.leases.create(site.alice, asked);
    await site.settled();
    await site.manager.leases.end(site.alice, first.leases.map((l) => l.id), '');
    await site.settled();
    await site.manager.keys.remove(site.alice, { name: 'mine' });
    expect(await site.manager.leases.create(site.alice, asked)).toMatchObject({ id: first.id, repeated: true, leases: [{ state: 'Terminated' }] });
    await expect(site.manager.leases.create(site.alice, { ...asked, image: 'no-such' })).rejects.toMatchObject({ code: 'ImageNotFound' });
    await expect(site.manager.leases.create(site.alice, { ...asked, clientToken: 'never-used' })).rejects.toMatchObject({ code: 'KeyPairNotFound' });
  });
});

describe('a database that goes away', () => {
  it('between the commit and its answer does not make a lease twice', async () => {
    let lost = 0;
    db.losesCommit = () => (lost += 1) === 1;
    const results = await together([request(), request(), request()]);
    db.losesCommit = () => false;
    expect(results.every((r) => r.status === 'rejected' && (r.reason as { code: string }).code === 'Unavailable')).toBe(true);
    expect(await leases()).toBe(3);
    await site.db.query(statement('test-make-due', "UPDATE intent SET next_at = now() - interval '1 s'"));
    await site.dispatcher.poll();
    await site.settled();
    await expectInvariants(site);
  });

  it('before the commit refuses the batch at once and leaves no trace', async () => {
    let asked = 0;
    db.fails = (s) => { asked += s === 'insert-groups' ? 1 : 0; return s === 'insert-groups'; };
    const results = await together([request(), request(), request()]);
    expect(results.every((r) => r.status === 'rejected')).toBe(true);
    expect(asked).toBe(1);
    db.fails = () => false;
    expect(await leases()).toBe(0);
    expect((await site.manager.leases.create(site.alice, request({ minCount: 4, maxCount: 4 }))).leases).toHaveLength(4);
    await site.settled();
    await expectInvariants(site);
  });
});

it('a request that the database refuses does not fail those that came with it', async () => {
  const bad = request({ resources: { memoryMb: 64, cores: 1, diskMb: 2 ** 40 } });
  const results = await together([request(), bad, request()]);
  expect(results.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  await site.settled();
  await expectInvariants(site);
});
