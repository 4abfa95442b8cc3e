/** Events are followed in an order in which none appears later below one that was read, whoever commits when. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { eventAdministration } from '../../src/manager/admin/events.ts';
import type { SiteEvent } from '../../src/manager/admin-types.ts';
import { statement, type Queryable } from '../../src/store/db.ts';
import { removeAccount } from '../../src/store/users.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let held: TestDatabase;
let site: TestSite;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(() => held.close());
beforeEach(async () => { site = await openTestSite(); });
afterEach(() => site.close());

const events = () => eventAdministration({ db: site.db });
const insert = statement<{ id: number }>('test-event', `INSERT INTO event (lease_id, at, to_state, trigger, who) VALUES ($1, now(), 'Running', 'started', 'test') RETURNING id`);
const write = (tx: Queryable, lease: string): Promise<unknown> => tx.query(insert, [lease]);

async function readAll(cursor: string): Promise<{ events: SiteEvent[]; cursor: string }> {
  const all: SiteEvent[] = [];
  for (;;) {
    const page = await events().after({}, cursor);
    all.push(...page.events);
    cursor = page.cursor;
    if (!page.more) return { events: all, cursor };
  }
}

it('what a transaction wrote first and committed last is read after its end, once', async () => {
  let cursor = (await events().newest({}, 0)).cursor;
  let commit: () => void = () => undefined;
  let written: () => void = () => undefined;
  const isWritten = new Promise<void>((resolve) => { written = resolve; });
  const slow = site.db.transaction(async (tx) => {
    await write(tx, 'i-00000001');
    written();
    await new Promise<void>((resolve) => { commit = resolve; });
  });
  await isWritten;
  await write(site.db, 'i-00000002');
  const meanwhile = await readAll(cursor);
  expect(meanwhile.events).toEqual([]);
  cursor = meanwhile.cursor;
  commit();
  await slow;
  expect((await readAll(cursor)).events.map((e) => e.lease)).toEqual(['i-00000001', 'i-00000002']);
});

it('among writers that commit, roll back and wait for each other, a reader misses none and gets none twice', async () => {
  const expected: string[] = [];
  const seen: string[] = [];
  let { cursor } = await events().newest({}, 0);
  let writing = true;
  const reader = (async () => {
    for (;;) {
      const last = !writing;
      const page = await readAll(cursor);
      seen.push(...page.events.map((e) => e.lease));
      cursor = page.cursor;
      if (last) return;
    }
  })();
  const writer = async (w: number): Promise<void> => {
    for (let i = 0; i < 60; i += 1) {
      const lease = `i-${String(w * 1000 + i).padStart(8, '0')}`;
      const keep = site.ctx.random.bytes(1)[0] as number > 60;
      await site.db.transaction(async (tx) => {
        await write(tx, lease);
        // As long as another one's: transactions overlap in every order.
        for (let n = (site.ctx.random.bytes(1)[0] as number) % 8; n > 0; n -= 1) await tx.query(statement('test-nothing', 'SELECT 1'));
        if (!keep) throw new Error('rolled back');
        expected.push(lease);
      }).catch((e: unknown) => { if ((e as Error).message !== 'rolled back') throw e; });
    }
  };
  await Promise.all([1, 2, 3, 4, 5].map(writer));
  writing = false;
  await reader;
  expect(seen.sort()).toEqual(expected.sort());
});

it('are chosen by lease, user and node; the newest come oldest first', async () => {
  const make = async (who: typeof site.alice) => (await site.manager.leases.create(who, { minCount: 1, maxCount: 1, image: 'guest' })).leases[0];
  const [a, b] = [await make(site.alice), await make(site.bob)];
  await site.settled();
  const node = (await site.manager.leases.describe(site.admin, { ids: [a?.id ?? ''] }))[0]?.node ?? '';
  const { events: all, cursor } = await events().newest({}, 100);
  expect(all[0]).toMatchObject({ lease: a?.id, trigger: 'created', user: 'alice', who: 'alice', requestId: 'req-alice' });
  expect(all.map((e) => e.cursor)).toEqual([...all].sort((x, y) => x.seq - y.seq).map((e) => e.cursor));
  expect(cursor).toBe(all.at(-1)?.cursor);
  const leases = async (choice: object): Promise<string[]> => [...new Set((await events().newest(choice, 100)).events.map((e) => e.lease))];
  expect(await leases({ lease: b?.id })).toEqual([b?.id]);
  expect(await leases({ user: 'bob' })).toEqual([b?.id]);
  expect(await leases({ node })).toContain(a?.id);
  expect(await leases({ node: 'elsewhere' })).toEqual([]);
  // What is not wanted is read past, so that the next look does not read it again.
  const none = await events().after({ node: 'elsewhere' }, '0.0');
  expect(none).toEqual({ events: [], cursor, more: false });
  expect((await events().newest({}, 2)).events).toEqual(all.slice(-2));
});

it('of a user that nobody is nothing is said; of one who was removed, what was', async () => {
  await expect(events().newest({ user: 'nobody' }, 10)).rejects.toMatchObject({ code: 'UserNotFound' });
  await expect(events().after({ user: 'nobody' }, '0.0')).rejects.toMatchObject({ code: 'UserNotFound' });
  expect((await events().newest({ user: 'bob' }, 10)).events).toEqual([]);
  await site.db.query(removeAccount, [site.bob.accountId, new Date()]);
  expect((await events().after({ user: 'bob' }, '0.0')).events).toEqual([]);
});
