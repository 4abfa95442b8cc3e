import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Clock } from '../../../src/platform/context.ts';
import { statement, type Queryable } from '../../../src/store/db.ts';
import { removeAccount } from '../../../src/store/users.ts';
import { addAccount, addImage, addLease } from '../../support/rows.ts';
import { openSite, type Site } from './site.ts';

const NOW = Date.UTC(2026, 10, 1, 12);
const MINUTE = 60_000;
const clock: Clock = { now: () => NOW, monotonic: () => 0, after: () => ({ cancel: () => undefined }) };
let site: Site;
beforeAll(async () => {
  site = await openSite({ context: { clock }, config: { accounting: { charge_granularity: '5m' } } });
});
afterAll(() => site.close());

const record = statement<never>('test-usage', `
  INSERT INTO usage_record (lease_id, account_id, created_at, reserved_s, closed_at, charged_minutes) VALUES ($1, $2, $3, 3600, $4, $5)`);
const interval = statement<never>('test-interval', `
  INSERT INTO usage_interval (lease_id, node, start_at, stop_at, memory_mb, cores) VALUES ($1, $2, $3, $4, 128, 1)`);

async function usage(q: Queryable, accountId: number, imageId: string, closed: number | null, charged: number | null, intervals: ReadonlyArray<readonly [string, number, number | null]>): Promise<string> {
  const lease = await addLease(q, { accountId, imageId, ended: closed !== null });
  const date = (ms: number | null): Date | null => (ms === null ? null : new Date(ms));
  await q.query(record, [lease, accountId, date(intervals[0]?.[1] ?? NOW), date(closed), charged]);
  for (const [node, start, stop] of intervals) await q.query(interval, [lease, node, date(start), date(stop)]);
  return lease;
}

test('live leases are reserved and charged until now, ended ones as they were closed; by user and time', async () => {
  const q = site.t.db;
  const image = await addImage(q, null, 'guest');
  const [alice, bob] = [await addAccount(q, 'alice'), await addAccount(q, 'bob')];
  const old = await usage(q, alice, image, NOW - 1000 * MINUTE, 25, [['n1', NOW - 1022 * MINUTE, NOW - 1000 * MINUTE]]);
  const live = await usage(q, alice, image, null, null, [['n1', NOW - 30 * MINUTE, NOW - 20 * MINUTE], ['n2', NOW - 1, null]]);
  const other = await usage(q, bob, image, null, null, []);

  const all = await site.admin.usage.list({});
  expect(all.map((u) => u.lease)).toEqual([old, live, other]);
  expect(all[0]).toMatchObject({ user: 'alice', reservedMinutes: 0, chargedMinutes: 25, endedAt: NOW - 1000 * MINUTE });
  expect(all[1]).toEqual({
    lease: live, user: 'alice', createdAt: NOW - 30 * MINUTE, endedAt: null, reservedMinutes: 60, chargedMinutes: 15,
    intervals: [
      { node: 'n1', start: NOW - 30 * MINUTE, stop: NOW - 20 * MINUTE, memoryMb: 128, cores: 1 },
      { node: 'n2', start: NOW - 1, stop: null, memoryMb: 128, cores: 1 },
    ],
  });
  expect(all[2]).toMatchObject({ user: 'bob', intervals: [], reservedMinutes: 60, chargedMinutes: 0 });

  const leases = async (query: { user?: string; since?: number }) => (await site.admin.usage.list(query)).map((u) => u.lease);
  expect(await leases({ user: 'bob' })).toEqual([other]);
  expect(await leases({ since: NOW - 500 * MINUTE })).toEqual([live, other]);
  expect(await leases({ user: 'alice', since: NOW - 2000 * MINUTE })).toEqual([old, live]);
  await expect(leases({ user: 'nobody' })).rejects.toMatchObject({ code: 'UserNotFound' });

  await q.query(removeAccount, [bob, new Date(NOW)]);
  expect(await leases({ user: 'bob' })).toEqual([other]);
  expect((await site.admin.usage.list({ user: 'bob' }))[0]).toMatchObject({ user: 'bob' });
});
