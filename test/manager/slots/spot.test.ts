/** Preemptible leases on nodes of a batch system: their jobs stand below others, and what becomes of them is told as EC2 tells it. */
import { afterEach, describe, expect, it } from 'vitest';
import type { SpotRequestView } from '../../../src/manager/types.ts';
import { statement } from '../../../src/store/db.ts';
import { realClock } from '../../../src/platform/real.ts';
import { expectInvariants } from '../../support/invariants.ts';
import { openPilotSite, type PilotSite } from './site.ts';

let p: PilotSite;
let skewed = 0;
afterEach(async () => { skewed = 0; await p.site.close(); });

const open = async (more: object = {}): Promise<void> => {
  p = await openPilotSite({ pilot_spot: { partition: 'low', grace: 120 }, ...more }, undefined, { clock: { ...realClock, now: () => realClock.now() + skewed } });
};
const LAUNCH = { minCount: 1, maxCount: 1, image: 'guest' };
const ask = async (more: { persistent?: boolean; validUntil?: number } = {}): Promise<string> =>
  (await p.site.manager.spot.request(p.site.alice, { count: 1, price: 1, persistent: false, launch: LAUNCH, ...more }))[0]?.id ?? '';
const request = async (id: string): Promise<SpotRequestView | undefined> => (await p.site.manager.spot.list(p.site.alice, [id]))[0];
const standing = async (id: string): Promise<unknown> => { const r = await request(id); return [r?.state, r?.code]; };
const leases = async () => p.site.manager.leases.describe(p.site.alice, { endedWithinMs: 3_600_000 });
const tend = () => p.site.manager.work.spot();

/** A request whose instance runs on n1. */
async function running(more: Parameters<typeof ask>[0] = {}): Promise<{ id: string; slot: string }> {
  const id = await ask(more);
  expect(await tend()).toBe(1);
  const slot = await p.run('n1');
  await p.reserved(slot, 'n1');
  await p.until(() => request(id), (r) => r?.state === 'active');
  await p.until(p.states, (s) => s.at(-1) === 'Running');
  return { id, slot };
}

describe('a spot request in pilot mode', () => {
  it('waits in the queue as a job of lower standing, with its own grace, and is fulfilled when it has a node', async () => {
    await open();
    await p.site.manager.leases.create(p.site.bob, LAUNCH);
    await p.until(() => Promise.resolve(p.lrm.submitted.length), (n) => n === 1);
    const id = await ask();
    expect(await standing(id)).toEqual(['open', 'pending-evaluation']);
    expect(await tend()).toBe(1);
    await p.until(() => Promise.resolve(p.lrm.submitted.length), (n) => n === 2);
    expect(p.lrm.submitted.map((j) => [j.spot, j.parts[0]?.argv.at(j.parts[0].argv.indexOf('--graceperiod') + 1)])).toEqual([[false, '30'], [true, '120']]);
    expect(await request(id)).toMatchObject({ state: 'open', code: 'pending-fulfillment', leaseId: null });
    const slot = await p.run('n1');
    await p.reserved(slot, 'n1');
    const fulfilled = await p.until(() => request(id), (r) => r?.state === 'active');
    expect(fulfilled).toMatchObject({ code: 'fulfilled', leaseId: (await leases())[0]?.id, zone: 'batch' });
    expect(await tend()).toBe(0);
  });

  it('is marked when the batch system takes the node back, then closed; its instance says why', async () => {
    await open();
    const { id, slot } = await running();
    const asked = p.site.control.reached((_n, r) => r.op === 'remove');
    p.site.control.answer = (_n, r) => (r.op === 'remove' ? 'silent' : undefined);
    await p.say(slot, 'n1', { state: 'early-unreserving', graceMs: 20_000 });
    // Of the grace the pilot needs its part: the guest has less than the whole of it.
    expect(await asked).toMatchObject({ op: 'remove', graceMs: expect.any(Number) as number });
    expect(((await asked) as { graceMs: number }).graceMs).toBeLessThan(10_000);
    expect(await request(id)).toMatchObject({ state: 'active', code: 'marked-for-termination', leaseId: (await leases())[0]?.id });
    expect(await leases()).toMatchObject([{ state: 'Ending', reasonCode: 'Server.SpotInstanceTermination' }]);
    await p.say(slot, 'n1', { state: 'restored' });
    await p.until(p.states, (s) => s[0] === 'Terminated');
    expect(await standing(id)).toEqual(['closed', 'instance-terminated-no-capacity']);
    expect(await leases()).toMatchObject([{ reasonCode: 'Server.SpotInstanceTermination', reason: expect.stringContaining('the batch system takes the node back') as string }]);
    expect(await tend()).toBe(0);
    await expectInvariants(p.site, 'after a displacement');
  });

  it('that persists gets another job when its instance was displaced, with a grace or without', async () => {
    await open();
    const { id } = await running({ persistent: true });
    const [first] = await leases();
    const job = [...p.lrm.jobs.values()][0];
    p.lrm.jobs.set(job?.jobId ?? '', { ...job as NonNullable<typeof job>, state: 'preempted', native: 'PREEMPTED' });
    await p.site.slots.poll();
    await p.until(p.states, (s) => s[0] === 'Terminated');
    expect(await standing(id)).toEqual(['open', 'instance-terminated-no-capacity']);
    expect((await leases())[0]?.reasonCode).toBe('Server.SpotInstanceTermination');
    expect(await tend()).toBe(1);
    expect(await request(id)).toMatchObject({ state: 'open', code: 'pending-fulfillment', leaseId: null });
    expect((await leases()).map((l) => l.spotRequestId)).toEqual([id, id]);
    expect((await leases())[1]?.id).not.toBe(first?.id);
  });

  it('an ordinary lease that is taken back is no spot instance', async () => {
    await open();
    await p.site.manager.leases.create(p.site.alice, LAUNCH);
    const slot = await p.run('n1');
    await p.reserved(slot, 'n1');
    await p.until(p.states, (s) => s[0] === 'Running');
    await p.say(slot, 'n1', { state: 'early-unreserving', graceMs: 20_000 });
    await p.until(p.states, (s) => s[0] === 'Terminated');
    expect((await leases())[0]?.reasonCode).toBe('Server.BatchSystemPreempted');
  });

  it('a disk that is to be saved is saved before', async () => {
    await open();
    const { id, slot } = await running();
    const [lease] = await leases();
    await p.site.manager.tags.set(p.site.alice, [lease?.id ?? ''], { 'nimbus:on-preempt': 'save' });
    await p.say(slot, 'n1', { state: 'early-unreserving', graceMs: 20_000 });
    await p.until(p.states, (s) => s[0] === 'Terminated');
    expect(await leases()).toMatchObject([{ reasonCode: 'Server.SpotInstanceTermination', reason: expect.stringContaining('its disk was saved as image') as string }]);
    expect(await standing(id)).toEqual(['closed', 'instance-terminated-no-capacity']);
  });

  it('takes its waiting job with it when it is cancelled, and when its time is over', async () => {
    await open();
    const [cancelled, late] = [await ask(), await ask({ validUntil: p.site.ctx.clock.now() + 60_000 })];
    expect(await tend()).toBe(2);
    await p.until(() => Promise.resolve(p.lrm.jobs.size), (n) => n === 2);
    await p.site.manager.spot.cancel(p.site.alice, [cancelled]);
    expect(await standing(cancelled)).toEqual(['cancelled', 'canceled-before-fulfillment']);
    await p.until(() => Promise.resolve(p.lrm.jobs.size), (n) => n === 1);
    skewed = 61_000;
    expect(await tend()).toBe(0);
    expect(await standing(late)).toEqual(['closed', 'schedule-expired']);
    expect((await leases()).map((l) => [l.state, l.reasonCode])).toEqual([['Terminated', 'Client.UserInitiatedShutdown'], ['Terminated', 'Server.SpotScheduleExpired']]);
    await p.until(() => Promise.resolve(p.lrm.jobs.size), (n) => n === 0);
    await expectInvariants(p.site, 'after a cancellation');
  });

  it('an instance that runs outlives the cancellation of its request', async () => {
    await open();
    const { id } = await running();
    await p.site.manager.spot.cancel(p.site.alice, [id]);
    expect(await standing(id)).toEqual(['cancelled', 'request-canceled-and-instance-running']);
    expect(await p.states()).toEqual(['Running']);
  });

  it('that the batch system refuses says so, and a persistent one does not try again at once', async () => {
    await open();
    p.lrm.onSubmit = () => ({ kind: 'rejected', reason: 'Invalid partition name specified' });
    const [once, again] = [await ask(), await ask({ persistent: true })];
    expect(await tend()).toBe(2);
    await p.until(p.states, (s) => s.length === 2 && s.every((state) => state === 'Terminated'));
    expect(await request(once)).toMatchObject({ state: 'closed', code: 'system-error', message: expect.stringContaining('Invalid partition name specified') as string });
    expect(await standing(again)).toEqual(['open', 'system-error']);
    expect(await tend()).toBe(0);
    skewed = 61_000;
    expect(await tend()).toBe(1);
  });

  it('that waited as long as the site lets anything wait is over', async () => {
    await open({ pilot: { poll: 3600, pending_timeout: 300 } });
    const id = await ask();
    await tend();
    await p.until(() => Promise.resolve(p.lrm.jobs.size), (n) => n === 1);
    skewed = 301_000;
    await p.site.manager.work.slots.releases(await p.site.manager.work.slots.due());
    await p.until(p.states, (s) => s[0] === 'Terminated');
    expect(await standing(id)).toEqual(['closed', 'schedule-expired']);
  });
});

describe('market options in pilot mode', () => {
  it('make a request that is born with its waiting instance', async () => {
    await open();
    const { leases: [lease] } = await p.site.manager.leases.create(p.site.alice, { ...LAUNCH, spot: { price: 1, persistent: false } });
    const id = lease?.spotRequestId ?? '';
    expect(await request(id)).toMatchObject({ state: 'open', code: 'pending-fulfillment' });
    await p.until(() => Promise.resolve(p.lrm.submitted.length), (n) => n === 1);
    expect(p.lrm.submitted[0]?.spot).toBe(true);
    expect(await p.site.db.query(statement<{ spot: boolean }>('test-slot-spot', 'SELECT spot FROM slot'))).toEqual([{ spot: true }]);
  });

  it('are refused where the site has not said how their jobs stand, with the keys that say so', async () => {
    await open({ pilot_spot: {} });
    const refusal = { code: 'Unsupported', reasons: [expect.stringContaining('pilot_spot.partition, pilot_spot.qos or pilot_spot.nice') as string] };
    await expect(ask()).rejects.toMatchObject(refusal);
    await expect(p.site.manager.leases.create(p.site.alice, { ...LAUNCH, spot: { price: 1, persistent: false } })).rejects.toMatchObject(refusal);
    expect(await tend()).toBe(0);
  });
});
