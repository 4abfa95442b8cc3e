/** The life of slots and of the leases on them: real PostgreSQL, manager and worker; the batch system and the pilots speak the test's words. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { CreateRequest } from '../../../src/lease/types.ts';
import { statement } from '../../../src/store/db.ts';
import { expectInvariants } from '../../support/invariants.ts';
import { openPilotSite, wordsLrm, type PilotSite } from './site.ts';

let p: PilotSite;
afterEach(async () => { await p.site.close(); });

const request = (count: number, over: Partial<CreateRequest> = {}): CreateRequest => ({ minCount: count, maxCount: count, image: 'guest', durationS: 3600, ...over });
const all = (states: readonly string[], state: string): boolean => states.length > 0 && states.every((s) => s === state);
const create = (count: number, over: Partial<CreateRequest> = {}) => p.site.manager.leases.create(p.site.alice, request(count, over));
function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((r) => { resolve = r; });
  return { promise, resolve };
}
const view = async (id: string) => (await p.site.manager.leases.describe(p.site.alice, { ids: [id] }))[0];

describe('a group on borrowed nodes', () => {
  it('waits, runs when its nodes report, ends, and gives every node back', async () => {
    p = await openPilotSite();
    const group = await create(2);
    expect(group.leases.map((l) => l.state)).toEqual(['Pending', 'Pending']);
    expect(group.leases[0]?.endsAt).toBeNull();
    // As everyone sees them, but for what they wait for.
    const seen = await p.site.manager.leases.describe(p.site.alice, { ids: group.leases.map((l) => l.id) });
    expect(seen.map((l) => ({ ...l, waiting: null }))).toEqual(group.leases.map((l) => ({ ...l, waiting: null })));
    const slot = await p.until(p.slot, (s) => s.state === 'Queued');
    expect(p.lrm.submitted[0]).toMatchObject({ slotId: slot.id, walltimeS: 3600 + 60 + 60 + 30, parts: [{ nodes: 2, cores: 1, memoryMb: 128 }] });
    await p.site.slots.poll();
    expect((await view(group.leases[0]?.id ?? ''))?.waiting).toMatchObject({ position: 1, reason: 'Resources', jobId: slot.job_id });

    await p.run('n1', 'n2');
    await p.reserved(slot.id, 'n1');
    await p.until(p.states, (s) => s.includes('Running'));
    await p.reserved(slot.id, 'n2');
    await p.until(p.states, (s) => all(s, 'Running'));
    expect((await p.slot()).state).toBe('Ready');
    const running = await view(group.leases[1]?.id ?? '');
    expect(running).toMatchObject({ node: `n2.${slot.id}`, waiting: null, slot: slot.id });
    expect(running?.endsAt).toBeGreaterThan(p.site.ctx.clock.now() + 3_590_000);
    await expectInvariants(p.site, 'running');

    const steps = vi.fn<(name: string, ms: number) => void>();
    Object.assign(p.site.ctx, { meter: { step: steps, operation: () => undefined } });
    await p.site.manager.leases.end(p.site.alice, group.leases.map((l) => l.id), '');
    await p.until(p.states, (s) => all(s, 'Terminated'));
    await p.until(p.slot, (s) => s.state === 'Releasing' && all(s.node_states, 'Returning'));
    const begun = p.site.ctx.clock.now() - 100;
    for (const host of ['n1', 'n2']) await p.say(slot.id, host, { state: 'restored', stamps: { 'restore-begun': begun, restored: begun + 40 } });
    await p.until(p.slot, (s) => all(s.node_states, 'Returned'));
    await p.until(() => Promise.resolve(steps.mock.calls), (calls) => calls.length >= 6); // counted after the commit that shows them
    expect(steps.mock.calls.map(([name]) => name).sort(), 'the steps of the end are counted').toEqual(['destroy', 'destroy', 'restore', 'restore', 'sigterm', 'sigterm']);
    expect(steps.mock.calls.filter(([name]) => name === 'restore').map(([, ms]) => ms)).toEqual([40, 40]);
    p.lrm.jobs.clear();
    await p.until(async () => { await p.site.slots.poll(); return p.slot(); }, (s) => s.state === 'Ended');
    expect(await p.slot()).toMatchObject({ reason_code: null });
    expect(p.lrm.cancelled, 'pilots went by themselves').toEqual([]);
    await expectInvariants(p.site, 'ended');
  });

  it('is one job, all or none: a node that cannot make room ends all', async () => {
    p = await openPilotSite();
    await create(3);
    const id = await p.run('n1', 'n2', 'n3');
    await p.reserved(id, 'n1');
    await p.say(id, 'n2', { state: 'reserved', code: 4, text: 'only 100 of 128 MiB were reached' });
    await p.until(p.states, (s) => all(s, 'Terminated'));
    const [lease] = await p.site.manager.leases.describe(p.site.alice, { endedWithinMs: 60_000 });
    expect(lease).toMatchObject({ reasonCode: 'Server.PilotFailed' });
    expect(lease?.reason).toContain('only 100 of 128 MiB');
    await p.until(() => Promise.resolve(p.lrm.cancelled), (c) => c.length === 1);
    await expectInvariants(p.site);
  });

  it('gives the nodes of a part that has ended back to the batch system', async () => {
    p = await openPilotSite();
    const { leases } = await create(3);
    const id = await p.run('n1', 'n2', 'n3');
    for (const host of ['n1', 'n2', 'n3']) await p.reserved(id, host);
    await p.until(p.states, (s) => all(s, 'Running'));
    await p.site.manager.leases.end(p.site.alice, [leases[1]?.id ?? ''], '');
    await p.until(p.slot, (s) => s.node_states.includes('Returning'));
    await p.say(id, 'n2', { state: 'restored' });
    await p.until(() => Promise.resolve(p.lrm.shrunk), (s) => s.length === 1);
    expect(p.lrm.shrunk[0]?.keep).toEqual(['n1', 'n3']);
    expect((await p.states()).sort()).toEqual(['Running', 'Running', 'Terminated']);
    expect((await p.slot()).state).toBe('Ready');
    await expectInvariants(p.site);
  });
});

describe('behind our back (P11: the original never asked)', () => {
  it.each([
    ['deleted while it waits', 'cancelled', 'CANCELLED', 'Server.BatchJobCancelled', false],
    ['failed', 'failed', 'FAILED', 'Server.BatchJobFailed', false],
    ['deleted while its VMs run', 'cancelled', 'CANCELLED', 'Server.BatchJobCancelled', true],
    ['out of time', 'timeout', 'TIMEOUT', 'Server.BatchJobTimeout', true],
    ['without a node', 'node-failed', 'NODE_FAIL', 'Server.BatchNodeFailed', true],
  ] as const)('a job that was %s ends its leases with the reason', async (_what, state, native, code, running) => {
    p = await openPilotSite();
    const { leases } = await create(2);
    const { id, job_id: jobId } = await p.until(p.slot, (s) => s.job_id !== null);
    if (running) {
      await p.run('n1', 'n2');
      for (const host of ['n1', 'n2']) await p.reserved(id, host);
      await p.until(p.states, (s) => all(s, 'Running'));
    }
    const job = p.lrm.jobs.get(jobId ?? '');
    if (job === undefined) throw new Error('no job');
    p.lrm.jobs.set(job.jobId, { ...job, state, native, reason: null });
    await p.site.slots.poll();
    expect(await p.states()).toEqual(['Terminated', 'Terminated']);
    expect(await view(leases[0]?.id ?? '')).toMatchObject({ reasonCode: code });
    expect(await p.slot()).toMatchObject({ state: 'Ended', reason_code: code });
    await p.site.settled();
    await expectInvariants(p.site);
  });

  it('a job that vanished is believed lost after two lists, not one', async () => {
    p = await openPilotSite();
    await create(1);
    await p.run('n1');
    p.lrm.jobs.clear();
    await p.site.slots.poll();
    expect(await p.states()).toEqual(['Pending']);
    await p.site.slots.poll();
    expect(await p.states()).toEqual(['Terminated']);
    expect(await p.slot()).toMatchObject({ state: 'Ended', reason_code: 'Server.BatchJobLost' });
  });

  it('a list that is not to be had says nothing of any job', async () => {
    p = await openPilotSite();
    await create(1);
    await p.run('n1');
    p.lrm.jobs.clear();
    p.lrm.away = true;
    for (let i = 0; i < 5; i += 1) await p.site.slots.poll();
    expect(await p.states()).toEqual(['Pending']);
  });

  it('another job under the slot’s name is ignored', async () => {
    p = await openPilotSite();
    await create(1);
    const { id, job_id: jobId } = await p.until(p.slot, (s) => s.job_id !== null);
    const job = p.lrm.jobs.get(jobId ?? '');
    p.lrm.jobs.clear();
    if (job !== undefined) p.lrm.jobs.set('666', { ...job, jobId: '666', state: 'cancelled', native: 'CANCELLED' });
    await p.site.slots.poll();
    expect(await p.slot()).toMatchObject({ id, state: 'Queued', job_id: jobId });
    expect(p.site.ctx.lines.some((l) => l.message.includes('contradicts') && l.fields['slot'] === id)).toBe(true);
  });
});

describe('a submission', () => {
  it('that is refused ends the leases with the batch system’s words', async () => {
    p = await openPilotSite();
    p.lrm.onSubmit = () => ({ kind: 'rejected', reason: 'Invalid account or account/partition combination specified' });
    const { leases } = await create(2);
    await p.until(p.states, (s) => all(s, 'Terminated'));
    const lease = await view(leases[0]?.id ?? '');
    expect(lease).toMatchObject({ reasonCode: 'Server.BatchSystemRefused' });
    expect(lease?.reason).toContain('Invalid account');
    expect((await p.slot()).state).toBe('Ended');
    await expectInvariants(p.site);
  });

  it('whose answer was lost is found by the job’s name, and made once', async () => {
    p = await openPilotSite();
    const submit = p.lrm.onSubmit;
    p.lrm.onSubmit = async (job) => { await submit(job); return { kind: 'unknown', reason: 'killed' }; };
    await create(1);
    await p.until(() => Promise.resolve(p.lrm.submitted), (s) => s.length === 1);
    await p.until(async () => { await p.site.slots.poll(); return p.slot(); }, (s) => s.state === 'Queued');
    expect(p.lrm.submitted).toHaveLength(1);
    expect((await p.slot()).job_id).toBe([...p.lrm.jobs.keys()][0]);
  });

  it('that never reached the batch system is made again after two lists without it', async () => {
    p = await openPilotSite();
    const submit = p.lrm.onSubmit;
    p.lrm.onSubmit = () => { p.lrm.onSubmit = submit; return { kind: 'unknown', reason: 'no connection' }; };
    await create(1);
    await p.until(() => Promise.resolve(p.lrm.submitted), (s) => s.length === 1);
    await p.until(async () => { await p.site.slots.poll(); return p.slot(); }, (s) => s.state === 'Queued');
    expect(p.lrm.submitted.map((j) => j.slotId)).toEqual([(await p.slot()).id, (await p.slot()).id]);
    expect(p.lrm.jobs.size).toBe(1);
  });

  it('is cancelled when its leases ended before it was answered', async () => {
    p = await openPilotSite();
    const submit = p.lrm.onSubmit;
    const begun = deferred<undefined>();
    const ended = deferred<undefined>();
    p.lrm.onSubmit = async (job) => { begun.resolve(undefined); await ended.promise; return submit(job); };
    const { leases } = await create(1);
    await begun.promise;
    await p.site.manager.leases.end(p.site.alice, leases.map((l) => l.id), '');
    expect(await p.states()).toEqual(['Terminated']);
    ended.resolve(undefined);
    await p.until(() => Promise.resolve(p.lrm.cancelled), (c) => c.length > 0);
    await p.until(async () => { await p.site.slots.poll(); return p.slot(); }, (s) => s.state === 'Ended');
    expect(p.lrm.jobs.size).toBe(0);
  });

  it('that waits too long is given up', async () => {
    p = await openPilotSite({ pilot: { poll: 3600, pending_timeout: '1h' } });
    const { leases } = await create(1);
    const { job_id: jobId } = await p.until(p.slot, (s) => s.job_id !== null);
    await p.site.db.query(statement('test-old', "UPDATE slot SET created_at = created_at - interval '2 hours'"));
    await p.until(p.states, (s) => all(s, 'Terminated'));
    expect(await view(leases[0]?.id ?? '')).toMatchObject({ reasonCode: 'Server.PendingTimeout' });
    await p.until(() => Promise.resolve(p.lrm.cancelled), (c) => c.includes(jobId ?? ''));
  });
});

describe('what pilots say', () => {
  it('P7: an early end makes the service end the VMs within the grace, and then lets the pilot go', async () => {
    p = await openPilotSite();
    const { leases } = await create(1);
    const id = await p.run('n1');
    await p.reserved(id, 'n1');
    await p.until(p.states, (s) => all(s, 'Running'));
    const removed = p.site.control.reached((_n, r) => r.op === 'remove');
    const released = p.site.control.reached((_n, r) => r.op === 'remove').then(() => p.until(p.slot, (s) => s.node_states[0] === 'Returning'));
    await p.say(id, 'n1', { state: 'early-unreserving', graceMs: 20_000 });
    const request = await removed;
    expect('graceMs' in request && request.graceMs !== undefined && request.graceMs > 0 && request.graceMs <= 10_000).toBe(true);
    await p.until(p.states, (s) => all(s, 'Terminated'));
    expect(await view(leases[0]?.id ?? '')).toMatchObject({ reasonCode: 'Server.BatchSystemPreempted' });
    expect((await view(leases[0]?.id ?? ''))?.graceEndsAt).toBeGreaterThan(p.site.ctx.clock.now());
    await released;
    const nodeId = [...new Set((await p.site.db.query(statement<{ node_id: number }>('test-node-id', 'SELECT node_id FROM slot_node'))).map((n) => n.node_id))][0] ?? 0;
    await p.until(() => Promise.resolve(p.site.control.node(nodeId).seen), (seen) => seen.some((r) => r.op === 'release'));
  });

  it('P10: said twice, it binds no second lease', async () => {
    p = await openPilotSite();
    await create(2);
    const id = await p.run('n1', 'n2');
    await p.reserved(id, 'n1');
    await p.until(p.states, (s) => s.includes('Running'));
    await p.reserved(id, 'n1');
    await p.site.settled();
    expect((await p.states()).sort()).toEqual(['Pending', 'Running']);
    expect((await p.slot()).node_states).toEqual(['Reserved', 'Waiting']);
  });

  it('P9: a pilot that reports before the submission was answered is known', async () => {
    p = await openPilotSite();
    const submit = p.lrm.onSubmit;
    const answer = deferred<undefined>();
    const asked = deferred<string>();
    p.lrm.onSubmit = async (job) => { asked.resolve(job.slotId); await answer.promise; return submit(job); };
    await create(1);
    await p.reserved(await asked.promise, 'n1');
    await p.until(p.states, (s) => all(s, 'Running'));
    answer.resolve(undefined);
    await p.until(p.slot, (s) => s.job_id !== null);
    expect((await p.slot()).state).toBe('Ready');
  });

  it('is applied in each pilot’s order, whatever order it arrives in', async () => {
    p = await openPilotSite();
    await create(1);
    const id = await p.run('n1');
    const now = p.site.ctx.clock.now();
    const pilot = '00000000000000aa';
    const message = (seq: number, over: object): object => ({ id: `${seq}`.padStart(32, '0'), seq, at: now, code: 0, ...over });
    await p.site.inbox.take(id, {
      v: 2, slot: id, host: 'n1', part: 0, pilot, sentAt: now,
      messages: [
        message(2, { state: 'restored' }), message(1, { state: 'reserved', reserved: { memoryMb: 128, until: now + 7_200_000, version: '0' } }),
      ] as never,
    }, { cnonce: pilot, nc: 1 });
    await p.until(p.slot, (s) => s.node_states[0] === 'Returned');
    await p.until(p.states, (s) => all(s, 'Terminated'));
    await p.site.settled();
    await expectInvariants(p.site);
  });

  it('P8: of a node that is over ends what a lost VM left open, and nothing is sent there any more', async () => {
    p = await openPilotSite();
    const { leases } = await create(1);
    const id = await p.run('n1');
    await p.reserved(id, 'n1');
    await p.until(p.states, (s) => all(s, 'Running'));
    p.site.control.answer = () => 'silent';
    await p.site.manager.leases.end(p.site.alice, leases.map((l) => l.id), '');
    expect(await p.states()).toEqual(['Ending']);
    await p.say(id, 'n1', { state: 'unreserving' });
    await p.say(id, 'n1', { state: 'restored' });
    await p.until(p.states, (s) => all(s, 'Terminated'));
    await p.site.settled();
    await expectInvariants(p.site);
    const open = statement<{ n: number }>('test-open-intents', "SELECT count(*) AS n FROM intent WHERE state = 'open'");
    expect((await p.site.db.query(open))[0]?.n).toBe(0);
  });
});

describe('an agent that cannot be reached, though its pilot is heard', () => {
  it('does not keep its node when its leases shall end: the pilot is told so when it speaks', async () => {
    p = await openPilotSite({ pilot: { poll: 3600, silence: 1 } });
    const { leases } = await create(1);
    const id = await p.run('n1');
    await p.reserved(id, 'n1');
    await p.until(p.states, (s) => all(s, 'Running'));
    const [node] = await p.site.db.query(statement<{ node_id: number }>('test-slot-node', 'SELECT node_id FROM slot_node'));
    p.site.control.setUp(node?.node_id ?? 0, false, 'no route to host');
    await p.site.manager.leases.end(p.site.alice, leases.map((l) => l.id), '');
    expect(await p.states()).toEqual(['Ending']);
    const told = async (): Promise<string> => (await p.heartbeat(id, 'n1')).do;
    expect(await p.until(told, (d) => d === 'release')).toBe('release');
    await p.say(id, 'n1', { state: 'restored' });
    await p.until(p.states, (s) => all(s, 'Terminated'));
    await p.site.settled();
    await expectInvariants(p.site);
  });
});

describe('what the batch system is asked for', () => {
  it('P14: the grace is the batch system’s own, unless the site says another', async () => {
    const lrm = wordsLrm();
    const { facts } = lrm;
    lrm.facts = async () => ({ ...await facts(), graceS: 17 });
    p = await openPilotSite({}, lrm);
    await create(1);
    await p.until(p.slot, (s) => s.job_id !== null);
    const argv = p.lrm.submitted[0]?.parts[0]?.argv ?? [];
    expect([argv[argv.indexOf('--graceperiod') + 1], p.lrm.submitted[0]?.walltimeS]).toEqual(['17', 3600 + 60 + 60 + 17]);
    expect(argv.join(' ')).not.toContain(JSON.parse(p.lrm.submitted[0]?.credentials ?? '{}').secret);
  });

  it('time for the pilot’s own work and the grace comes on top of the lease', async () => {
    p = await openPilotSite({ pilot: { poll: 3600, grace: 45, padding: 120 } });
    await create(1);
    await p.until(p.slot, (s) => s.job_id !== null);
    const { walltimeS, parts } = p.lrm.submitted[0] ?? { walltimeS: 0, parts: [] };
    const argv = parts[0]?.argv ?? [];
    expect([Number(argv[argv.indexOf('--duration') + 1]), Number(argv[argv.indexOf('--graceperiod') + 1]), walltimeS]).toEqual([3600 + 120, 45, 3600 + 120 + 120 + 45]);
  });

  it('a lease on a borrowed node is extended up to what was borrowed, and no further', async () => {
    p = await openPilotSite();
    const { leases } = await create(1);
    const ids = leases.map((l) => l.id);
    await expect(p.site.manager.leases.setEnd(p.site.alice, ids, { durationS: 60 })).rejects.toMatchObject({ code: 'StateRefused' });
    const id = await p.run('n1');
    await p.reserved(id, 'n1');
    await p.until(p.states, (s) => all(s, 'Running'));
    await expect(p.site.manager.leases.setEnd(p.site.alice, ids, { durationS: 4000 })).rejects.toMatchObject({ code: 'DurationRefused' });
    const [shorter] = await p.site.manager.leases.setEnd(p.site.alice, ids, { durationS: 60 });
    expect(shorter?.endsAt).toBeLessThan(p.site.ctx.clock.now() + 61_000);
  });
});

describe('caps', () => {
  it.each([
    [{ nodes: 3 }, 'pilot_caps.nodes = 3'],
    [{ nodes_per_user: 3 }, 'pilot_caps.nodes_per_user = 3'],
    [{ share: 0.2 }, 'pilot_caps.share = 3'],
    [{ queued_slots: 1 }, 'pilot_caps.queued_slots = 1'],
    [{ queued_slots_per_user: 1 }, 'pilot_caps.queued_slots_per_user = 1'],
  ])('%j refuses by its name', async (caps, name) => {
    p = await openPilotSite({ pilot_caps: caps });
    await create(2);
    const refusal = await create(2).catch((e: unknown) => e);
    expect(refusal).toMatchObject({ code: 'TooMany' });
    expect((refusal as { reasons: string[] }).reasons.join()).toContain(name);
    expect(await p.states()).toHaveLength(2);
  });

  it('grants what is left between the two counts', async () => {
    p = await openPilotSite({ pilot_caps: { nodes: 5 } });
    await create(2);
    expect((await create(1, { maxCount: 10 })).leases).toHaveLength(3);
  });

  it('hold for requests that arrive together', async () => {
    p = await openPilotSite({ pilot_caps: { nodes: 3 } });
    const made = await Promise.allSettled(Array.from({ length: 10 }, () => create(1)));
    expect(made.filter((m) => m.status === 'fulfilled')).toHaveLength(3);
    expect(await p.states()).toHaveLength(3);
  });

  it('several leases share a node where the site says so', async () => {
    p = await openPilotSite({ pilot: { poll: 3600, leases_per_node: 4 } });
    await create(6);
    const id = await p.run('n1', 'n2');
    expect(p.lrm.submitted[0]?.parts).toMatchObject([{ nodes: 2, memoryMb: 512, cores: 4 }]);
    for (const host of ['n1', 'n2']) await p.reserved(id, host);
    await p.until(p.states, (s) => all(s, 'Running'));
    await expectInvariants(p.site);
  });
});
