import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { statement } from '../../src/store/db.ts';
import type { Report } from '../../src/manager/recorder.ts';
import type { IntervalRow } from '../../src/store/leases.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { unanswered } from '../support/unanswered.ts';

let site: TestSite;
beforeAll(async () => { site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 8192, cores: 64 }] }); });
afterAll(async () => { await site.close(); });
beforeEach(() => { site.control.answer = () => undefined; });

const create = async (): Promise<string> => (await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest' })).leases[0]?.id ?? '';
const running = async (): Promise<string> => {
  const id = await create();
  await site.settled();
  return id;
};
const see = async (id: string) => (await site.manager.leases.describe(site.admin, { ids: [id] }))[0];
const report = (r: Report) => site.manager.work.recorder.report(r);
const exit = (lease: string, generation: number, at = site.ctx.clock.now()): Report =>
  ({ kind: 'vm-exited', lease, generation, node: 'n1', at, requestId: null, reason: 'the guest powered off' });
const startIntent = async (id: string): Promise<string> => (await site.db.query(statement<{ id: string }>('test-start-intent', "SELECT id FROM intent WHERE lease_id = $1 AND kind = 'start'"), [id]))[0]?.id ?? '';
const started = async (lease: string, reach: object | null, over: Partial<Report> = {}): Promise<Report> => ({
  kind: 'done', lease, generation: 1, node: 'n1', at: site.ctx.clock.now(), requestId: null, intentId: await startIntent(lease), intent: 'start', reach, phases: {}, ...over,
} as Report);
/** Leases whose node has not answered. */
const silent = async (): Promise<string> => {
  site.control.answer = (_, r) => (r.op === 'start' ? 'silent' : undefined);
  const id = await create();
  await unanswered(site);
  return id;
};

describe('a report that cannot be written', () => {
  it('is rejected by itself; those that came with it are recorded', async () => {
    const [good, bad, other] = [await silent(), await silent(), await silent()];
    const poison = await started(bad, { host: '\ud800', sshPort: 1, forwarded: true });
    const [a, b] = [await started(good, null), await started(other, null)];
    const results = await Promise.allSettled([report(a), report(poison), report(b)]);
    expect(results.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((await see(good))?.state).toBe('Running');
    expect((await see(other))?.state).toBe('Running');
    expect((await see(bad))?.state).toBe('Unpropagated');
    for (const id of [good, bad, other]) await site.manager.leases.forget(site.admin, [id], '');
  });
});

describe('a clock that went back', () => {
  it('lets no interval begin before the last one has ended', async () => {
    const id = await running();
    await site.manager.leases.stop(site.alice, [id]);
    await site.settled();
    await site.db.query(statement('test-ended-later', "UPDATE usage_interval SET stop_at = stop_at + interval '1 hour' WHERE lease_id = $1"), [id]);
    await site.manager.leases.start(site.alice, [id]);
    await site.settled();
    const [first, second] = await site.db.query(statement<IntervalRow>('test-intervals', 'SELECT lease_id, start_at, stop_at FROM usage_interval WHERE lease_id = $1 ORDER BY start_at'), [id]);
    expect([second?.start_at, second?.stop_at]).toEqual([first?.stop_at, null]);
    await site.manager.leases.end(site.alice, [id], '');
    await site.settled();
    await expectInvariants(site);
  });
});

describe('what a driver says', () => {
  it('is written down whatever characters it is made of, and bounded', async () => {
    site.control.answer = (_, r) => (r.op === 'start' ? { code: 'DriverFailed', message: `qemu: \0\x1b[31m\ud800${'x'.repeat(100_000)}` } : undefined);
    const id = await running();
    const lease = await see(id);
    expect(lease?.state).toBe('Corrupted');
    expect(lease?.reason).toContain('qemu: \ufffd\ufffd[31m\ufffd');
    expect(lease?.reason?.length).toBeLessThan(3_000);
    await expectInvariants(site);
  });
});

describe('a VM that exits', () => {
  it('ends its lease though a reboot was asked for meanwhile', async () => {
    const id = await running();
    site.control.answer = (_, r) => (r.op === 'reboot' ? 'silent' : undefined);
    await site.manager.leases.reboot(site.alice, [id]);
    site.control.exit(1, id, 'the guest powered off');
    await site.manager.work.recorder.idle();
    await site.settled();
    expect(await see(id)).toMatchObject({ state: 'Terminated', reason: 'the guest powered off' });
    await expectInvariants(site);
  });

  it('ends its lease though an earlier reboot never reached the node and was given up', async () => {
    const id = await running();
    site.control.answer = (_, r) => (r.op === 'reboot' ? { code: 'DriverFailed', message: 'no' } : undefined);
    await site.manager.leases.reboot(site.alice, [id]);
    await site.settled();
    expect(await see(id)).toMatchObject({ state: 'Running', generation: 2 });
    site.control.exit(1, id, 'the guest powered off');
    await site.manager.work.recorder.idle();
    await site.settled();
    expect((await see(id))?.state).toBe('Terminated');
  });

  it('while it is shut down is what was asked for: the request comes again, and its disk stays', async () => {
    const id = await running();
    site.control.answer = (_, r) => (r.op === 'shutdown' ? 'silent' : undefined);
    const [lease] = await site.db.query(statement<{ seq: number }>('test-number', 'SELECT seq FROM lease WHERE id = $1'), [id]);
    await site.manager.workspaces.change(site.alice, { number: lease?.seq ?? 0 }, { to: 'shutdown' });
    await unanswered(site);
    await report({ ...exit(id, 2), reason: 'the VM had ended when the agent was started' } as Report);
    expect((await see(id))?.state).toBe('ShuttingDown');
    site.control.answer = () => undefined;
    await site.db.query(statement('test-shutdown-due', "UPDATE intent SET next_at = now() - interval '1 s' WHERE lease_id = $1 AND state = 'open'"), [id]);
    await site.dispatcher.poll();
    await site.settled();
    expect((await see(id))?.state).toBe('Propagated');
    await site.manager.leases.end(site.alice, [id], '');
    await site.settled();
    await expectInvariants(site);
  });

  it('one whose second start nobody answers for so long is ended, however long that takes, and keeps its disk', async () => {
    const id = await running();
    const steps = (await see(id))?.phases;
    await site.manager.leases.stop(site.alice, [id]);
    await site.settled();
    const goneBy = async (): Promise<void> => {
      await unanswered(site);
      await site.db.query(statement('test-long-ago', "UPDATE intent SET created_at = now() - interval '1 h', sent_at = now() - interval '1 h', next_at = now() - interval '1 s' WHERE lease_id = $1 AND state = 'open'"), [id]);
      await site.dispatcher.poll();
      await site.settled();
    };
    site.control.answer = (_, r) => (r.op === 'start' || r.op === 'shutdown' ? 'silent' : undefined);
    await site.manager.leases.start(site.alice, [id]);
    await goneBy();
    expect(await see(id)).toMatchObject({ state: 'ShuttingDown', reasonCode: 'Server.NodeUnreachable' });
    await goneBy();
    expect((await see(id))?.state, 'nobody says that it runs').toBe('ShuttingDown');
    site.control.answer = () => undefined;
    await goneBy();
    expect((await see(id))?.state).toBe('Propagated');
    await site.manager.leases.start(site.alice, [id]);
    await site.settled();
    expect(await see(id), 'where the time of its first start went').toMatchObject({ state: 'Running', phases: steps });
    await site.manager.leases.end(site.alice, [id], '');
    await site.settled();
    await expectInvariants(site);
  });

  it('of an earlier start than the lease’s last one changes nothing', async () => {
    const id = await running();
    await site.db.query(statement('test-restarted', "WITH l AS (UPDATE lease SET generation = 5 WHERE id = $1) UPDATE intent SET generation = 5 WHERE lease_id = $1 AND kind = 'start'"), [id]);
    await report(exit(id, 4));
    expect((await see(id))?.state).toBe('Running');
    await site.manager.leases.end(site.alice, [id], '');
    await site.settled();
  });

  it('before its start was recorded ends its lease, and the answer that comes later does not bring it back', async () => {
    const id = await silent();
    await report(exit(id, 1));
    site.control.answer = () => undefined;
    await report(await started(id, null));
    await site.settled();
    expect((await see(id))?.state).toBe('Terminated');
    await expectInvariants(site);
  });

  it('is not billed for the time until its node confirms the removal', async () => {
    const id = await running();
    site.control.answer = (_, r) => (r.op === 'remove' ? 'silent' : undefined);
    site.control.exit(1, id, 'off');
    await site.manager.work.recorder.idle();
    const open = statement<{ n: number }>('test-open-intervals', 'SELECT count(*) AS n FROM usage_interval WHERE lease_id = $1 AND stop_at IS NULL');
    expect(await site.db.query(open, [id])).toEqual([{ n: 0 }]);
    await site.manager.leases.forget(site.admin, [id], 'the node is gone');
    await expectInvariants(site);
  });
});

describe('a node', () => {
  it('whose clock runs wild does not bill time that was not', async () => {
    const id = await silent();
    await report(await started(id, null, { phases: { started: 0, 'propagate-begun': Number.NaN, propagated: 9e15 } } as Partial<Report>));
    const lease = await see(id);
    expect(lease?.state).toBe('Running');
    expect(lease?.runningAt).toBeGreaterThanOrEqual(lease?.createdAt ?? Infinity);
    // Nor does it spoil the figures of where time goes, which are everybody's.
    for (const phase of ['started', 'propagate-begun', 'propagated'] as const) expect(lease?.phases[phase], phase).toBeGreaterThanOrEqual(lease?.createdAt ?? Infinity);
    for (const at of Object.values(lease?.phases ?? {})) expect(at).toBeLessThanOrEqual(site.ctx.clock.now());
    site.control.answer = () => undefined;
    await site.manager.leases.end(site.alice, [id], '');
    await site.settled();
    const [record] = await site.db.query(statement<{ minutes: number }>('test-minutes', 'SELECT charged_minutes AS minutes FROM usage_record WHERE lease_id = $1'), [id]);
    expect(record?.minutes).toBeLessThanOrEqual(1);
  });

  it('that has seen a higher generation than the table has still removes what is to be removed', async () => {
    const id = await running();
    const vm = site.control.node(1).vms.get(id);
    if (vm !== undefined) site.control.node(1).vms.set(id, { ...vm, generation: 11 });
    await site.manager.leases.end(site.alice, [id], '');
    await site.settled();
    expect((await see(id))?.state).toBe('Terminated');
    await expectInvariants(site);
  });

  it('that has seen a higher generation than the table has fails a start instead of leaving it pending for ever', async () => {
    site.control.answer = (_, r) => (r.op === 'start' ? { code: 'StaleGeneration', message: '7 was seen' } : undefined);
    const id = await running();
    expect(await see(id)).toMatchObject({ state: 'Corrupted', reason: expect.stringContaining('7 was seen') });
    await expectInvariants(site);
  });
});
