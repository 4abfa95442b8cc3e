import { afterAll, beforeAll, expect, it } from 'vitest';
import { TransitionBatch } from '../../src/manager/transitions.ts';
import { statement } from '../../src/store/db.ts';
import { lockLeases } from '../../src/store/leases.ts';
import { holdUse } from '../../src/store/policies.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
beforeAll(async () => { site = await openTestSite({ nodes: ['n1', 'n2', 'n3', 'n4'].map((name) => ({ name, memoryMb: 8192, cores: 64 })) }); });
afterAll(async () => { await site.close(); });

const lease = async (user: TestSite['alice']): Promise<string> => (await site.manager.leases.create(user, { minCount: 1, maxCount: 1, image: 'guest' })).leases[0]?.id ?? '';

/** Ends both in one transaction, in this order. */
const endBoth = (...ids: readonly [string, string]): Promise<void> => site.db.transaction(async (tx) => {
  const now = site.ctx.clock.now();
  const found = new Map((await tx.query(lockLeases, [ids, null])).map((l) => [l.id, l]));
  const batch = new TransitionBatch(site.ctx.random, now, 60);
  for (const id of ids) {
    const l = found.get(id);
    if (l !== undefined) batch.end(l, { who: 'test', why: '', at: now, requestId: null }, {});
  }
  await batch.write(tx);
});

const waiting = async (): Promise<number> => (await site.db.query(statement<{ n: number }>('test-waiting', 'SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted')))[0]?.n ?? 0;

it('two transactions that end leases of two accounts in opposite orders wait for each other in one', async () => {
  const [a1, b1, a2, b2] = [await lease(site.alice), await lease(site.bob), await lease(site.alice), await lease(site.bob)];
  await site.settled();
  const ends: Array<Promise<void>> = [];
  await site.db.transaction(async (tx) => {
    await tx.query(holdUse, [[site.bob.accountId]]);
    ends.push(endBoth(b1, a1));
    await expect.poll(waiting).toBe(1);
    ends.push(endBoth(a2, b2));
    await expect.poll(waiting).toBe(2);
  });
  await Promise.all(ends);
  expect((await site.manager.leases.describe(site.admin, { ids: [a1, b1, a2, b2] })).map((l) => l.state)).toEqual(Array.from({ length: 4 }, () => 'Terminated'));
  expect(await site.db.query(statement('test-use', 'SELECT DISTINCT leases, cores, memory_mb, reserved_minutes FROM account_use'))).toEqual([{ leases: 0, cores: 0, memory_mb: 0, reserved_minutes: 0 }]);
});

it('two that charge an account for the first time on a day, each in its own transaction, both count', async () => {
  const charge = statement<{ first: boolean }>('test-charge', "SELECT charge($1, '2031-01-01', 5) AS first");
  const mine = [site.alice.accountId];
  const charged = async (): Promise<number> => (await site.db.query(statement<{ minutes: number }>('test-charged', 'SELECT charged_minutes AS minutes FROM account_use WHERE account_id = $1'), mine))[0]?.minutes ?? NaN;
  const before = await charged();
  let second: Promise<Array<{ first: boolean }>> | undefined;
  const [first] = await site.db.transaction(async (tx) => {
    const answer = await tx.query(charge, mine);
    second = site.db.query(charge, mine);
    await expect.poll(waiting).toBe(1);
    return answer;
  });
  expect([first, (await second)?.[0]]).toEqual([{ first: true }, { first: false }]);
  expect(await site.db.query(statement('test-day', "SELECT total FROM usage_day WHERE account_id = $1 AND day = '2031-01-01'"), mine)).toEqual([{ total: before + 10 }]);
  expect(await charged()).toBe(before + 10);
});
