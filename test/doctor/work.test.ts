/** What the doctor says of work that nodes leave undone. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { examine } from '../../src/doctor/index.ts';
import type { DoctorSite } from '../../src/doctor/types.ts';
import { statement } from '../../src/store/db.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
beforeAll(async () => { site = await openTestSite({ config: { ec2: { listen: '127.0.0.1:0' }, monitoring: { listen: '' }, control: { start_deadline_ms: 60_000 } }, nodes: [{ name: 'n1', memoryMb: 4096, cores: 16 }] }); });
afterAll(() => site.close());

const age = statement<never>('test-age', "UPDATE intent SET created_at = now() - $2::interval, next_at = now() + interval '1 h' WHERE lease_id = $1 AND state = 'open'");
const look = async (): Promise<readonly object[]> => (await examine({
  ctx: site.ctx, config: site.config, version: '1', serving: true, db: site.db, nodes: [], places: { data: '/', images: '/' }, local: undefined, batch: null,
} as unknown as DoctorSite)).filter((f) => f.check === 'work');

test('what a node has left undone for longer than anything may take is said of each node, the oldest with its reason', async () => {
  const lease = async (): Promise<string> => (await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest' })).leases[0]?.id ?? '';
  const [young, old, oldest] = [await lease(), await lease(), await lease()];
  await site.settled();
  site.control.answer = (_, r) => ('lease' in r && r.op === 'remove' ? { code: 'DriverFailed', message: r.lease === oldest ? 'disk on fire' : 'no' } : undefined);
  await site.manager.leases.end(site.alice, [young, old, oldest], '');
  await expect.poll(async () => (await site.db.query(statement<{ n: number }>('test-undone', "SELECT count(*)::int AS n FROM intent WHERE state = 'open' AND error IS NOT NULL")))[0]?.n, { interval: 10 }).toBe(3);
  await expect.poll(() => site.dispatcher.underWay).toBe(0);
  expect(await look()).toEqual([]);
  await site.db.query(age, [old, '2 min']);
  await site.db.query(age, [oldest, '3 h']);
  expect(await look()).toEqual([{
    check: 'work', level: 'warn', what: expect.stringMatching(`^n1 has left 2 operations undone, the oldest for 3h(\\ds)?: remove of ${oldest}: disk on fire$`) as string,
    mend: ['the service goes on asking, at most half a minute apart; mend what the node says', `if the node never will: end its VM there by hand, then: nimbus lease destroy --forget ${oldest}`],
  }]);
  await site.manager.leases.forget(site.admin, [old, oldest], '');
  expect(await look()).toEqual([]);
});
