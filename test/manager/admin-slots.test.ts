/** Administrators and slots: real PostgreSQL, manager and worker; the batch system and the pilots speak the test's words. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createAdminManager } from '../../src/manager/admin/index.ts';
import { killJobs } from '../../src/manager/admin/kill-all-jobs.ts';
import { killAllOffline } from '../../src/manager/admin/kill-all-offline.ts';
import type { AdminManager } from '../../src/manager/admin-types.ts';
import type { SlotDeps } from '../../src/manager/deps.ts';
import { slotWork } from '../../src/manager/slots/index.ts';
import type { Caller } from '../../src/manager/types.ts';
import { statement } from '../../src/store/db.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openPilotSite, type PilotSite } from './slots/site.ts';

// One more user of the server: it stays for the whole file.
let kept: TestDatabase;
beforeAll(async () => { kept = await openTestDatabase(); });
afterAll(() => kept.close());

let p: PilotSite;
afterEach(async () => { await p.site.close(); });

const create = (count: number, by: Caller = p.site.alice) =>
  p.site.manager.leases.create(by, { minCount: count, maxCount: count, image: 'guest', durationS: 3600 });
const every = (states: readonly string[], state: string): boolean => states.length > 0 && states.every((s) => s === state);

function admin(): AdminManager {
  const { ctx, db, config, dispatcher, slots, monitor } = p.site;
  return createAdminManager({
    ctx, db, config, repository: null as never, operatingKey: () => Promise.resolve(''), nodesChanged: () => undefined,
    handOver: (intents) => dispatcher.handOver(intents),
    borrowing: { facts: () => slots.facts(), wake: () => slots.wake(), nodesChanged: () => monitor.reload(), hostKeys: () => null },
  });
}

/** A slot of `hosts.length` nodes whose leases run. */
async function running(...hosts: string[]): Promise<string> {
  await create(hosts.length);
  const id = await p.run(...hosts);
  for (const host of hosts) await p.reserved(id, host);
  await p.until(p.states, (s) => every(s, 'Running'));
  return id;
}

describe('shown', () => {
  it('a slot that waits: its place, and the batch system’s words', async () => {
    p = await openPilotSite();
    await create(2);
    await p.until(p.slot, (s) => s.job_id !== null);
    await p.site.slots.poll();
    const [slot] = await admin().slots.list({ live: true });
    expect(slot).toMatchObject({ user: 'alice', state: 'Queued', position: 1, waitsFor: 'Resources', nativeState: 'PENDING', lrm: 'slurm' });
    expect(slot?.nodes.map((n) => [n.ordinal, n.state, n.leases.length])).toEqual([[0, 'Waiting', 1], [1, 'Waiting', 1]]);
    expect(await admin().slots.list({ live: true, user: 'bob' })).toEqual([]);
    expect(await admin().slots.list({ live: true, node: 'n1' })).toEqual([]);
    await expect(admin().slots.list({ live: true, user: 'nobody' })).rejects.toMatchObject({ code: 'UserNotFound' });
    await expect(admin().slots.killAll(p.site.admin, { user: 'nobody' }, '')).rejects.toMatchObject({ code: 'UserNotFound' });
  });

  it('whether the leases of a slot are preemptible', async () => {
    p = await openPilotSite({ pilot_spot: { partition: 'low' } });
    await create(1);
    await p.site.manager.leases.create(p.site.alice, { minCount: 1, maxCount: 1, image: 'guest', spot: { price: 1, persistent: false } });
    expect((await admin().slots.list({ live: true })).map((s) => s.preemptible).sort()).toEqual([false, true]);
  });

  it('a slot that runs: its nodes, what pilots said, where time went; found by its node', async () => {
    p = await openPilotSite();
    const id = await running('n1', 'n2');
    expect((await admin().slots.list({ live: true, node: 'n2' })).map((s) => s.id)).toEqual([id]);
    const slot = await admin().slots.show(id);
    expect(slot.messages.map((m) => [m.host, m.state, m.code, m.applied])).toEqual([['n1', 'reserved', 0, true], ['n2', 'reserved', 0, true]]);
    expect(slot.nodes.map((n) => n.host)).toEqual(['n1', 'n2']);
    for (const n of slot.nodes) expect(n.breakdown.map((r) => r.name)).toEqual(['torque', 'pilot', 'ping', 'slot']);
  });

  it('what there is not is told', async () => {
    p = await openPilotSite();
    for (const id of ['sl-000000000000', 'nonsense']) await expect(admin().slots.show(id)).rejects.toMatchObject({ code: 'ResourceNotFound' });
    await expect(admin().slots.kill(p.site.admin, 'sl-000000000000', '')).rejects.toMatchObject({ code: 'ResourceNotFound' });
    await expect(admin().breakdown.of('r-00000000000000000')).rejects.toMatchObject({ code: 'ResourceNotFound' });
    await expect(admin().breakdown.of('x')).rejects.toMatchObject({ code: 'ParameterInvalid' });
  });
});

describe('the breakdown', () => {
  it('of a group on borrowed nodes, to its end', async () => {
    p = await openPilotSite();
    const { id: group, leases } = await create(2);
    const id = await p.run('n1', 'n2');
    for (const host of ['n1', 'n2']) await p.reserved(id, host);
    await p.until(p.states, (s) => every(s, 'Running'));
    await p.site.manager.leases.end(p.site.alice, leases.map((l) => l.id), '');
    await p.until(p.slot, (s) => every(s.node_states, 'Returning'));
    const now = p.site.ctx.clock.now();
    for (const host of ['n1', 'n2']) await p.say(id, host, { state: 'restored', stamps: { 'restore-begun': now + 1, restored: now + 2 } });
    await p.until(p.slot, (s) => every(s.node_states, 'Returned'));
    const view = await admin().breakdown.of(group);
    const steps = view.summary.map((s) => s.name);
    for (const step of ['proc', 'torque', 'pilot', 'ping', 'slot', 'invoke', 'vm', 'total', 'destroy', 'sigterm', 'restore']) expect(steps).toContain(step);
    expect(view.leases.map((l) => l.node)).toEqual([`n1.${id}`, `n2.${id}`]);
    expect((await admin().breakdown.of(leases[0]?.id ?? '')).leases).toEqual([view.leases[0]]);
  });
});

describe('killed', () => {
  it('while it waits: the job is cancelled, the leases end under the administrator’s name, addresses are free', async () => {
    p = await openPilotSite();
    const { leases } = await create(2);
    const { id } = await p.until(p.slot, (s) => s.job_id !== null);
    const change = await admin().slots.kill(p.site.admin, id, 'node repair');
    expect(change).toMatchObject({ before: 'Queued', after: 'Releasing' });
    expect([...change.leases].sort()).toEqual(leases.map((l) => l.id).sort());
    expect(await p.states()).toEqual(['Terminated', 'Terminated']);
    await p.until(() => Promise.resolve(p.lrm.cancelled.length), (n) => n === 1);
    await p.site.slots.poll();
    expect(await p.slot()).toMatchObject({ state: 'Ended', reason_code: 'Server.SlotKilled', reason: 'node repair' });
    const trail = await p.site.manager.leases.events(p.site.admin, leases[0]?.id ?? '');
    expect(trail.find((e) => e.to === 'Ending')).toMatchObject({ who: p.site.admin.name, why: 'node repair', requestId: p.site.admin.requestId });
    await expectInvariants(p.site);
  });

  it('while nothing is known of its submission: it ends when the list does not have its job', async () => {
    p = await openPilotSite();
    p.lrm.onSubmit = () => ({ kind: 'unknown', reason: 'no answer' });
    await create(1);
    const { id } = await p.until(p.slot, (s) => s.state === 'Submitting');
    await admin().slots.kill(p.site.admin, id, '');
    await p.until(async () => { await p.site.slots.poll(); return p.slot(); }, (s) => s.state === 'Ended');
    expect(await p.states()).toEqual(['Terminated']);
    await expectInvariants(p.site);
  });

  it('while VMs run: they are ended, pilots are told to go and say goodbye before the job is cancelled', async () => {
    p = await openPilotSite();
    const id = await running('n1', 'n2');
    expect((await admin().slots.kill(p.site.admin, id, '')).leases).toHaveLength(2);
    await p.until(p.states, (s) => every(s, 'Terminated'));
    await p.until(p.slot, (s) => every(s.node_states, 'Returning'));
    for (const host of ['n1', 'n2']) await p.say(id, host, { state: 'restored' });
    await p.until(p.slot, (s) => every(s.node_states, 'Returned'));
    expect(p.lrm.cancelled).toEqual([]);
    await expectInvariants(p.site);
  });

  it('again: the job is cancelled without waiting for its pilots; what has ended stays as it is', async () => {
    p = await openPilotSite();
    const id = await running('n1');
    await admin().slots.kill(p.site.admin, id, '');
    const { job_id: job } = await p.until(p.slot, (s) => s.state === 'Releasing');
    expect(await admin().slots.kill(p.site.admin, id, '')).toMatchObject({ before: 'Releasing', after: 'Releasing', leases: [] });
    await p.until(() => Promise.resolve(p.lrm.cancelled), (c) => c.includes(job ?? ''));
    await p.until(async () => { await p.site.slots.poll(); return p.slot(); }, (s) => s.state === 'Ended');
    expect(await admin().slots.kill(p.site.admin, id, '')).toMatchObject({ before: 'Ended', after: 'Ended', leases: [] });
    await p.site.settled();
    await expectInvariants(p.site);
  });

  it('all: one that cannot be killed keeps no other from it; choices choose', async () => {
    p = await openPilotSite();
    for (const by of [p.site.alice, p.site.bob, p.site.bob]) await create(1, by);
    await p.until(() => admin().slots.list({ live: true }), (s) => s.length === 3 && s.every((x) => x.jobId !== null));
    const [bad, good] = await admin().slots.list({ live: true, user: 'bob' });
    await p.site.db.query(statement('test-fault', `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'this row is cursed'; END $$`));
    await p.site.db.query(statement('test-fault-on', `CREATE TRIGGER refuse BEFORE UPDATE ON slot FOR EACH ROW WHEN (NEW.id = '${bad?.id ?? ''}' AND NEW.state = 'Releasing') EXECUTE FUNCTION refuse()`));
    const report = await admin().slots.killAll(p.site.admin, { user: 'bob' }, '');
    expect(new Map(report.map((r) => [r.slot, r.ok]))).toEqual(new Map([[bad?.id, false], [good?.id, true]]));
    expect(report.find((r) => !r.ok)).toMatchObject({ error: { message: expect.stringContaining('cursed') as string } });
    expect((await p.site.db.query(statement<{ state: string }>('test-states', `SELECT l.state FROM lease l JOIN account a ON a.id = l.account_id WHERE a.name = 'alice'`)))).toEqual([{ state: 'Pending' }]);
    await p.site.db.query(statement('test-fault-off', 'DROP TRIGGER refuse ON slot'));
    expect((await admin().slots.killAll(p.site.admin, {}, '')).every((r) => r.ok)).toBe(true);
    await p.until(p.states, (s) => every(s, 'Terminated'));
    await expectInvariants(p.site);
  });

  it('a partition that the service does not submit to is refused with the one that it does', async () => {
    p = await openPilotSite({ slurm: { partition: 'grid' } });
    await create(1);
    await p.until(p.slot, (s) => s.job_id !== null);
    await expect(admin().slots.killAll(p.site.admin, { partition: 'other' }, '')).rejects.toMatchObject({ code: 'ParameterInvalid', reasons: [expect.stringContaining('grid')] });
    expect(await admin().slots.killAll(p.site.admin, { partition: 'grid' }, '')).toHaveLength(1);
  });
});

describe('kill-all without the service', () => {
  const offline = () => {
    const { ctx, db, config } = p.site;
    const deps: SlotDeps = { ctx, db, config, handOver: () => undefined };
    return { deps, slots: admin().slots, work: slotWork(deps), lrm: p.lrm };
  };
  const wait = (troubles: string[] = [], waitMs = 10_000) => ({ why: 'power cut', waitMs, pollMs: 1, trouble: (t: string) => void troubles.push(t) });

  it('cancels jobs, hears pilots, writes the truth', async () => {
    p = await openPilotSite();
    const id = await running('n1', 'n2');
    await p.site.slots.stop();
    const cancel = p.lrm.cancel.bind(p.lrm);
    p.lrm.cancel = async (jobId) => {
      // SIGTERM: one pilot says goodbye, of the other nothing is heard.
      await p.say(id, 'n1', { state: 'restored' });
      return cancel(jobId);
    };
    const report = await killAllOffline(offline(), p.site.admin, {}, wait());
    expect(report).toMatchObject([{ slot: id, ok: true }]);
    expect(await p.slot()).toMatchObject({ state: 'Ended', reason_code: 'Server.SlotKilled', node_states: ['Returned', 'Lost'] });
    expect(await p.states()).toEqual(['Terminated', 'Terminated']);
    expect(p.lrm.cancelled).toHaveLength(1);
    await expectInvariants(p.site);
  });

  it('finds jobs whose numbers were never written, and takes none for gone while the batch system is silent', async () => {
    p = await openPilotSite();
    const answer = p.lrm.onSubmit;
    p.lrm.onSubmit = (job) => { void answer(job); return { kind: 'unknown', reason: 'no answer' }; };
    await create(1);
    await p.until(p.slot, (s) => s.state === 'Submitting');
    await p.site.slots.stop();
    p.lrm.away = true;
    const troubles: string[] = [];
    await killAllOffline(offline(), p.site.admin, {}, wait(troubles, 20));
    expect(troubles).toEqual(['the batch system does not say what it runs: it is away']);
    expect(await p.slot()).toMatchObject({ state: 'Releasing', job_id: null });
    p.lrm.away = false;
    await killAllOffline(offline(), p.site.admin, {}, wait());
    expect(await p.slot()).toMatchObject({ state: 'Ended' });
    expect(p.lrm.jobs.size, 'the job is cancelled').toBe(0);
    await expectInvariants(p.site);
  });

  it('says what could not be cancelled, and ends the others', async () => {
    p = await openPilotSite();
    for (const by of [p.site.alice, p.site.bob]) await create(1, by);
    const slots = await p.until(() => admin().slots.list({ live: true }), (s) => s.length === 2 && s.every((x) => x.jobId !== null));
    await p.site.slots.stop();
    const stuck = slots[0]?.jobId ?? '';
    const cancel = p.lrm.cancel.bind(p.lrm);
    p.lrm.cancel = (jobId) => (jobId === stuck ? Promise.resolve({ kind: 'unknown', reason: 'permission denied' }) : cancel(jobId));
    const troubles: string[] = [];
    await killAllOffline(offline(), p.site.admin, {}, wait(troubles, 50));
    expect(troubles).toEqual([`job ${stuck} of ${slots[0]?.id ?? ''} could not be cancelled: permission denied`]);
    expect((await admin().slots.list({ live: true })).map((s) => s.jobId)).toEqual([stuck]);
    await expectInvariants(p.site);
  });
});

describe('kill-all without any database', () => {
  it('cancels what is there, leaves what is over, and says what stays', async () => {
    p = await openPilotSite();
    const job = (jobId: string, over: object) => p.lrm.jobs.set(jobId, {
      jobId, slotId: `sl-00000000000${jobId}`, state: 'running', native: 'RUNNING', reason: null, position: null, expectedStart: null, hosts: [`n${jobId}`], requeued: false, ...over,
    });
    job('1', {});
    job('2', {});
    job('3', { state: 'done', native: 'COMPLETED' });
    const cancel = p.lrm.cancel.bind(p.lrm);
    p.lrm.cancel = (jobId) => (jobId === '2' ? Promise.resolve({ kind: 'unknown', reason: 'no answer' }) : cancel(jobId));
    expect(await killJobs(p.site.ctx, p.lrm, { waitMs: 20, pollMs: 1 })).toEqual([
      { slot: 'sl-000000000001', jobId: '1', hosts: ['n1'], gone: true, reason: null },
      { slot: 'sl-000000000002', jobId: '2', hosts: ['n2'], gone: false, reason: 'it could not be cancelled: no answer' },
    ]);
    expect(await killJobs(p.site.ctx, p.lrm, { node: 'n9', waitMs: 20, pollMs: 1 })).toEqual([]);
    p.lrm.away = true;
    await expect(killJobs(p.site.ctx, p.lrm, { waitMs: 20, pollMs: 1 })).rejects.toThrow('does not say what it runs: it is away');
  });
});
