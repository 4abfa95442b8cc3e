/**
 * The service is killed before and after each statement, commit and message of what spot requests and displacing are: a persistent
 * request gets its lease, which ends for somebody else's and comes again when that is over; the request is cancelled. Whenever it dies: a
 * request has one lease at a time and counts them all, whoever displaced has the room, and a client that asks again gets what it was promised.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SpotRequestView } from '../../src/manager/types.ts';
import { statement } from '../../src/store/db.ts';
import { checkedSite, type Checked } from '../fsck/site.ts';
import { deadline, oneIn } from '../support/moments.ts';
import { endAll, expectAgreed, killAgain, killAtEach, lived } from './crash-walk.ts';
import { CrashWorld, type Moment } from './crash-world.ts';

let w: CrashWorld;
let checked: Checked;
let walks = 0;
beforeAll(async () => {
  w = await CrashWorld.open({ nodes: [{ name: 'n1', memoryMb: 256, cores: 4 }], config: { scheduler: { preemption_grace: 0 } } });
  checked = await checkedSite(w.site);
});
afterAll(() => w.close());
beforeEach(() => { w.dies = () => false; });

const due = statement<never>('crash-spot-due', 'UPDATE spot_request SET next_at = created_at');
const longAgo = statement<never>('crash-spot-ago', "UPDATE lease SET ended_at = ended_at - interval '31 s' WHERE preempted_at IS NOT NULL AND final");
const leasesOf = statement<{ id: string; state: string; reason_code: string | null }>('crash-spot-leases', 'SELECT id, state, reason_code FROM lease WHERE spot_request_id = $1 ORDER BY seq');

const standing = async (id: string): Promise<unknown> => {
  const [r]: SpotRequestView[] = await w.insist(() => w.life.manager.spot.list(w.site.alice, [id])) ?? [];
  return [r?.state, r?.code];
};
/** What the service's own timer does. */
async function tend(): Promise<void> {
  await w.site.db.query(due);
  await w.insist(() => w.life.manager.work.spot());
  await w.rest();
}

async function displaced(): Promise<void> {
  const token = `spot-${walks += 1}`;
  const launch = { minCount: 1, maxCount: 1, image: 'guest' };
  const [request] = await w.insist(() => w.life.manager.spot.request(w.site.alice, { count: 1, price: 1, persistent: true, launch, clientToken: token })) ?? [];
  const id = request?.id ?? '';
  await tend();
  const [first, ...more] = await w.site.db.query(leasesOf, [id]);
  expect([first?.state, more]).toEqual(['Running', []]);
  expect(await standing(id)).toEqual(['active', 'fulfilled']);

  const made = await w.insist(() => w.life.manager.leases.create(w.site.bob, { ...launch, minCount: 2, maxCount: 2, clientToken: token }));
  await w.rest();
  expect(made?.leases).toHaveLength(2);
  expect(await w.site.db.query(leasesOf, [id])).toEqual([{ id: first?.id, state: 'Terminated', reason_code: 'Server.SpotInstanceTermination' }]);
  await tend();
  expect(await standing(id)).toEqual(['open', 'capacity-not-available']);
  await w.insist(() => w.life.manager.leases.end(w.site.bob, made?.leases.map((l) => l.id) ?? [], 'enough'));
  await w.rest();

  await w.site.db.query(longAgo);
  await tend();
  expect((await w.site.db.query(leasesOf, [id])).map((l) => l.state)).toEqual(['Terminated', 'Running']);
  await w.insist(() => w.life.manager.spot.cancel(w.site.alice, [id]));
  expect(await standing(id)).toEqual(['cancelled', 'request-canceled-and-instance-running']);
}

async function walk(what: string): Promise<void> {
  await lived(displaced, what);
  await expectAgreed(w, checked, what);
}

/** Of a life without a fault, after which all agrees. */
async function moments(): Promise<Moment[]> {
  const all = await w.moments(displaced);
  await endAll(w);
  await walk('a life without a fault');
  return all;
}

describe('spot requests and whom they give way to', { timeout: deadline(480_000) }, () => {
  it('survive a kill of the service at each moment', async () => {
    const all = await moments();
    expect(all.length).toBeGreaterThan(100);
    await killAtEach(w, all, walk);
  });

  it('survive another kill while the service recovers', async () => {
    await killAgain(w, await moments(), oneIn(13), walk);
  });
});
