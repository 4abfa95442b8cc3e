/** Consumers that are slow keep nobody waiting but those of their own account. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Caller } from '../../src/manager/types.ts';
import { statement } from '../../src/store/db.ts';
import { createNotifier } from '../../src/workers/notifier.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
beforeAll(async () => { site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 4096, cores: 16 }] }); });
afterAll(() => site.close());

const subscribe = statement<never>('test-subscribe', `
  INSERT INTO subscription (id, account_id, lease_id, topic, consumer, wrapped, created_at, txid, next_at)
  SELECT $2::text || '-' || n, $1, $2, 'currentState', '{"address":"http://nowhere","properties":[]}', true, now(), '0'::xid8, now() - interval '1 h' FROM generate_series(1, $3::int) n`);

/** Of a lease that runs; what has happened to it till now is not told yet. */
async function subscribed(who: Caller, times: number): Promise<void> {
  const [lease] = (await site.manager.leases.create(who, { minCount: 1, maxCount: 1, image: 'guest' })).leases;
  await site.settled();
  await site.db.query(subscribe, [who.accountId, lease?.id, times]);
}

it('an account with more subscriptions than are looked at at once, none of which is answered, has eight deliveries; others are told, and told again', async () => {
  await subscribed(site.alice, 1_200);
  await subscribed(site.bob, 1);
  const held: Array<() => void> = [];
  const told: number[] = [];
  const notifier = createNotifier(site.ctx, site.db, {
    deadlineMs: 600_000,
    deliver(s) {
      if (s.account_id === site.alice.accountId) return new Promise((resolve) => void held.push(resolve));
      told.push(s.attempts);
      return s.attempts === 0 ? Promise.reject(new Error('not now')) : Promise.resolve();
    },
  });
  notifier.start();
  await expect.poll(() => told, { interval: 20 }).toEqual([0, 1]);
  expect(held).toHaveLength(8);
  const stopped = notifier.stop();
  // Nothing is begun any more by one that stops.
  held.forEach((go) => go());
  await stopped;
  expect(held).toHaveLength(8);
});
