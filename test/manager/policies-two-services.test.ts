/** Two services on one database, each with its own connections and its own opinion: together they pass no limit. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { CreateRequest } from '../../src/lease/types.ts';
import { createManager, type FullManager } from '../../src/manager/index.ts';
import { createNodePool } from '../../src/manager/pool.ts';
import type { Caller, GroupView } from '../../src/manager/types.ts';
import { openDb, statement, type Db } from '../../src/store/db.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectInvariants } from '../support/invariants.ts';
import { policiesOf, type SitePolicies } from '../support/policies.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
let policies: SitePolicies;
let others: Db[];
let managers: FullManager[];
/** Keeps the PostgreSQL of this file up between its tests. */
let held: TestDatabase;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(async () => { await held.close(); });
beforeEach(async () => {
  site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 65_536, cores: 500 }] });
  policies = policiesOf(site);
  const { ctx, config, control } = site;
  others = [1, 2].map(() => openDb(site.address, { max: 6, log: ctx.log }));
  managers = [site.manager, ...others.map((db) => {
    const pool = createNodePool({ db, clock: ctx.clock, strategy: 'greedy', reachable: () => true });
    return createManager({ ctx, db, config, control, pool, handOver: (intents) => site.dispatcher.handOver(intents) });
  })];
});
afterEach(async () => {
  await site.settled();
  await expectInvariants(site);
  await Promise.all(others.map((db) => db.close()));
  await site.close();
});

const request = (n: number, over: Partial<CreateRequest> = {}): CreateRequest => ({ minCount: n, maxCount: n, image: 'guest', type: 'm1.small', durationS: 3600, ...over });
const SIZES = [1, 2, 1, 3, 1, 2];

/** All at once: every service, both users, groups of several sizes, again and again. */
async function storm(rounds: number): Promise<Array<{ caller: Caller; outcome: PromiseSettledResult<GroupView> }>> {
  const all = Array.from({ length: rounds }, (_, i) => SIZES.flatMap((n) => managers.flatMap((m) => [site.alice, site.bob].map((caller) => ({ m, caller, n, i }))))).flat();
  const outcomes = await Promise.allSettled(all.map(({ m, caller, n }) => m.leases.create(caller, request(n))));
  return all.map(({ caller }, i) => ({ caller, outcome: outcomes[i] as PromiseSettledResult<GroupView> }));
}

const granted = (results: Awaited<ReturnType<typeof storm>>, caller?: Caller): number => results.reduce((sum, r) => (
  sum + (r.outcome.status === 'fulfilled' && (caller === undefined || r.caller === caller) ? r.outcome.value.leases.length : 0)), 0);

it.each([
  ['a template', 'default', 'template', 9, (r: Awaited<ReturnType<typeof storm>>) => [granted(r, site.alice), granted(r, site.bob)], [9, 9]],
  ['a group', 'physics', 'group', 13, (r: Awaited<ReturnType<typeof storm>>) => [granted(r)], [13]],
  ['the site', 'site', 'site', 11, (r: Awaited<ReturnType<typeof storm>>) => [granted(r)], [11]],
] as const)('%s gives out what it has, and not one more', async (_what, name, kind, leases, of, expected) => {
  await policies.set(name, { leases }, kind);
  if (kind === 'group') await policies.assign(name, 'alice', 'bob');
  const results = await storm(3);
  expect(of(results)).toEqual(expected);
  for (const { outcome } of results) {
    if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'TooMany', reasons: [expect.stringMatching(new RegExp(`^policy ${name}: leases: limit ${leases}, used \\d+, asked \\d$`)) as string] });
  }
});

it('the limit of the configuration is one of the database, not of a process', async () => {
  site.config.lease.max_per_user = 5;
  const results = await storm(2);
  expect([granted(results, site.alice), granted(results, site.bob)]).toEqual([5, 5]);
});

it('later ends and new leases share what is left of the minutes', async () => {
  const { leases } = await site.manager.leases.create(site.alice, request(6));
  await policies.set('default', { reserved_minutes: 6 * 60 + 200 });
  const asks = managers.flatMap((m) => [
    ...leases.map((l) => () => m.leases.setEnd(site.alice, [l.id], { durationS: 3600 + 30 * 60 })),
    ...[1, 2, 3].map(() => () => m.leases.create(site.alice, request(1, { durationS: 1800 }))),
  ]);
  const outcomes = await Promise.allSettled(asks.map((ask) => ask()));
  for (const o of outcomes) if (o.status === 'rejected') expect(o.reason).toMatchObject({ code: 'TooMany' });
  const [row] = await site.db.query(statement<{ minutes: number; reserved: number }>('test-minutes', `
    SELECT u.reserved_minutes AS minutes, (SELECT sum(l.reserved_minutes) FROM lease l WHERE l.account_id = u.account_id) AS reserved FROM account_use u WHERE u.account_id = $1`), [site.alice.accountId]);
  expect(row?.minutes).toBe(row?.reserved);
  expect(row?.minutes).toBeLessThanOrEqual(6 * 60 + 200);
  // Less is left than anybody asked for.
  expect(row?.minutes).toBeGreaterThan(6 * 60 + 200 - 32);
});

it('a policy that is tightened meanwhile is passed by none who comes after it', async () => {
  await policies.set('site', { leases: 1000 });
  const before = storm(2);
  await policies.set('site', { leases: 3 });
  const used = async (): Promise<number> => (await policies.admin.show('site')).use?.leases ?? NaN;
  const then = await used();
  const after = await storm(1);
  await before;
  // Whoever was granted after the change saw fewer than three.
  expect(granted(after)).toBeLessThanOrEqual(Math.max(0, 3 - then));
});

it('a request that was sent to several at once is one request: it takes the limit once and is refused by none', async () => {
  await policies.set('default', { leases: 2 });
  for (let round = 0; round < 5; round++) {
    const groups = await Promise.all(managers.map((m) => m.leases.create(site.alice, request(2, { clientToken: `once-${round}` }))));
    expect(new Set(groups.map((g) => g.id)).size).toBe(1);
    expect(groups.filter((g) => !g.repeated)).toHaveLength(1);
    await site.manager.leases.end(site.alice, groups[0]?.leases.map((l) => l.id) ?? [], 'test');
    await site.settled();
  }
});

it('assigning and changing policies while leases are made and extended waits for nobody who waits for it', async () => {
  await policies.set('physics', { leases: 1000 }, 'group');
  const busy = storm(2);
  for (let i = 0; i < 20; i++) {
    await policies.assign('physics', 'alice', 'bob');
    await policies.set('physics', { leases: 1000 - i }, 'group');
    await policies.admin.unassign('physics', i % 2 === 0 ? 'alice' : 'bob');
  }
  const results = await busy;
  expect(results.flatMap(({ outcome }) => (outcome.status === 'rejected' ? [outcome.reason as Error] : []))).toEqual([]);
});
