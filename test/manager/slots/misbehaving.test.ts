/** Batch systems that are slow, lie, forget, kill without a word or not at all: real manager, worker and database, on virtual time. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FakeJob } from '../../support/fake-lrm.ts';
import { expectSlotsSettled } from '../../support/invariants.ts';
import type { FakePilot } from './faults-pilot.ts';
import { World } from './faults-world.ts';

let w: World;
beforeAll(async () => { w = await World.open(); });
afterAll(async () => { await w.close(); });
beforeEach(async () => { await w.forget(); });

const POLL_S = 10;

async function create(count = 1): Promise<void> {
  await w.service.manager.leases.create(w.site.alice, { minCount: count, maxCount: count, image: 'guest', durationS: 3600 });
  await w.idle();
}

function made(): FakeJob {
  const [job] = w.lrm.jobs;
  if (job === undefined) throw new Error('nothing was submitted');
  return job;
}

async function running(count = 1): Promise<FakeJob> {
  await create(count);
  const job = made();
  w.startJob(job);
  await w.until('the leases’ start', 30, async () => (await w.leases()).every((l) => l.state === 'Running'));
  return job;
}

const endAll = async (): Promise<void> => void await w.service.manager.leases.end(w.site.admin, (await w.leases()).filter((l) => !l.final).map((l) => l.id), 'over');
const reasons = async (): Promise<Array<[string, string | null]>> => (await w.leases()).map((l) => [l.state, l.reason_code]);
const slot = async () => (await w.slots())[0];

/** No job, no pilot, no slot, and the books right. */
async function atRest(seconds = 60): Promise<void> {
  await w.until('the end of everything', seconds, async () => (await w.slots()).every((s) => s.state === 'Ended') && w.liveJobs().length === 0 && w.pilots.every((p) => !p.alive));
  await expectSlotsSettled(w.site);
}

function held(): { until: Promise<void>; letGo: () => void } {
  let letGo: () => void = () => undefined;
  const until = new Promise<void>((resolve) => { letGo = resolve; });
  return { until, letGo };
}

describe('slow', () => {
  it('a list that takes longer than the poll is waited for, alone, and then asked for less often', async () => {
    await create();
    const { until, letGo } = held();
    w.lrm.behaviour.until = until;
    await w.pass(100);
    const asked = w.lrm.calls.list;
    await w.pass(60);
    expect(w.lrm.calls.list, 'no second list beside the first').toBe(asked);
    letGo();
    w.lrm.behaviour.until = null;
    await w.pass(POLL_S);
    expect(w.lrm.calls.list, 'in peace after an answer that took minutes').toBe(asked);
    await w.until('the next list', 300, () => Promise.resolve(w.lrm.calls.list > asked));
    await endAll();
    await atRest();
  });

  it('one that does not answer is asked ever less often, and as before when it does', async () => {
    await running();
    w.lrm.behaviour.list = 'unavailable';
    const before = w.lrm.calls.list;
    await w.pass(30 * POLL_S);
    expect(w.lrm.calls.list - before).toBeLessThan(7);
    expect(await reasons(), 'nothing is concluded from silence').toEqual([['Running', null]]);
    w.lrm.behaviour.list = 'lists';
    await w.until('a list', 330, () => Promise.resolve(w.service.slots.status.lastListed === w.clock.now() || w.lrm.calls.list > before + 7));
    const since = w.lrm.calls.list;
    await w.pass(10 * POLL_S);
    expect(w.lrm.calls.list - since).toBeGreaterThan(7);
    await endAll();
    await atRest();
  });

  it('submissions and cancellations that hang do not pile up, and all are made in the end', async () => {
    const { until, letGo } = held();
    w.lrm.behaviour.until = until;
    for (let i = 0; i < 20; i += 1) await create();
    await w.pass(30);
    expect(w.lrm.calls.submit).toBe(8);
    letGo();
    w.lrm.behaviour.until = null;
    await w.until('every submission', 30, async () => (await w.slots()).every((s) => s.state === 'Queued'));
    expect(w.lrm.jobs).toHaveLength(20);

    const again = held();
    w.lrm.behaviour.until = again.until;
    await endAll();
    await w.pass(60);
    expect(w.lrm.calls.cancel).toBe(8);
    again.letGo();
    w.lrm.behaviour.until = null;
    await atRest();
    expect(new Set(w.cancelled).size).toBe(20);
  });
});

describe('lying', () => {
  it('a job that is said to be over, and runs: its leases end with that reason, and it is cancelled', async () => {
    const job = await running();
    w.lrm.behaviour.distort = (jobs) => jobs.map((j) => ({ ...j, state: 'done', native: 'COMPLETED' }));
    await w.until('the end of the lease', 2 * POLL_S, async () => (await w.leases())[0]?.state === 'Terminated');
    expect(await reasons()).toEqual([['Terminated', 'Server.BatchJobEnded']]);
    w.lrm.behaviour.distort = (jobs) => jobs;
    await atRest();
    expect(job.state).not.toBe('running');
  });

  it('a job that waits, though it is said to be over, is cancelled when the truth is told', async () => {
    await create();
    const job = made();
    w.lrm.behaviour.distort = (jobs) => jobs.map((j) => ({ ...j, state: 'failed', native: 'FAILED' }));
    await w.until('the end of the lease', 2 * POLL_S, async () => (await w.leases())[0]?.state === 'Terminated');
    w.lrm.behaviour.distort = (jobs) => jobs;
    await atRest(3 * POLL_S);
    expect(w.cancelled).toContain(job.jobId);
  });

  it('another job under a slot’s name is never touched while the slot’s own is not listed', async () => {
    await running();
    w.lrm.behaviour.distort = (jobs) => jobs.map((j) => ({ ...j, jobId: '666' }));
    await w.pass(POLL_S + 1);
    expect(await reasons(), 'once is not believed').toEqual([['Running', null]]);
    w.lrm.behaviour.distort = (jobs) => jobs;
    await w.pass(3 * POLL_S);
    expect(await reasons()).toEqual([['Running', null]]);
    await endAll();
    await atRest();
    expect(w.cancelled).not.toContain('666');
  });

  it('job ids that stand twice say nothing', async () => {
    await running();
    w.lrm.behaviour.distort = (jobs) => [...jobs, ...jobs];
    await w.pass(5 * POLL_S);
    expect(await reasons()).toEqual([['Running', null]]);
    await endAll();
    w.lrm.behaviour.distort = (jobs) => jobs;
    await atRest();
  });

  it('a job that vanishes is lost after two lists; should it come back, it is cancelled', async () => {
    const job = await running();
    w.lrm.behaviour.distort = () => [];
    await w.until('the loss', 2 * POLL_S + 1, async () => (await w.leases())[0]?.state === 'Terminated');
    expect(await reasons()).toEqual([['Terminated', 'Server.BatchJobLost']]);
    expect(job.state).toBe('running');
    w.lrm.behaviour.distort = (jobs) => jobs;
    await atRest();
  });
});

describe('killing', () => {
  it('without a word: pilots are gone, and the leases end with the job', async () => {
    const job = await running(2);
    w.lrm.behaviour.kill = 'kill-only';
    w.lrm.end(job, 'timeout');
    await w.until('the end of the leases', 2 * POLL_S, async () => (await w.leases()).every((l) => l.state === 'Terminated'));
    expect(await reasons()).toEqual([['Terminated', 'Server.BatchJobTimeout'], ['Terminated', 'Server.BatchJobTimeout']]);
    await atRest();
  });

  it('one pilot of several: its lease is lost, its node goes back, the others go on', async () => {
    const job = await running(3);
    w.pilots[1]?.signal('SIGKILL');
    await w.until('the loss', 40, async () => (await w.leases()).some((l) => l.state === 'Terminated'));
    expect((await reasons()).sort()).toEqual([['Running', null], ['Running', null], ['Terminated', 'Server.PilotLost']]);
    await w.until('the node’s return', 3 * POLL_S, () => Promise.resolve(job.hosts.length === 2));
    expect(job.hosts).not.toContain(w.pilots[1]?.host);
    expect((await slot())?.state).toBe('Ready');
    await endAll();
    await atRest();
  });

  it('a pilot before its first word: the group is never complete, so all of it ends', async () => {
    await create(2);
    w.startJob(made());
    w.pilots[1]?.signal('SIGKILL');
    await w.until('one lease', 30, async () => (await w.leases()).some((l) => l.state === 'Running'));
    await w.until('the end of both', 60 + 20 + 30, async () => (await w.leases()).every((l) => l.final));
    expect((await reasons()).map(([, code]) => code)).toEqual(['Server.PilotLost', 'Server.PilotLost']);
    await atRest();
  });

  it('every pilot of a job that goes on: it is let go', async () => {
    w.jobsLinger = true;
    const job = await running(2);
    for (const p of w.pilots) p.signal('SIGKILL');
    await w.until('the end of both', 40, async () => (await w.leases()).every((l) => l.final));
    expect((await reasons()).map(([, code]) => code)).toEqual(['Server.PilotLost', 'Server.PilotLost']);
    await atRest();
    expect(w.cancelled).toContain(job.jobId);
  });

  it('not at all: pilots give back, the job stays, and is cancelled again until it goes', async () => {
    w.jobsLinger = true;
    const job = await running(2);
    w.lrm.behaviour.cancel = 'ignores';
    w.lrm.warn(job);
    await w.until('the nodes', 60, async () => (await slot())?.nodes.every((n) => n === 'Returned') === true);
    await w.pass(60);
    expect((await slot())?.state).toBe('Releasing');
    expect(w.cancelled.length).toBeGreaterThan(2);
    w.lrm.behaviour.cancel = 'cancels';
    await atRest();
    expect((await reasons()).map(([, code]) => code)).toEqual(['Server.BatchSystemPreempted', 'Server.BatchSystemPreempted']);
  });
});

describe('all or none, while one of two pilots has not been heard', () => {
  /** The other has run for a while; its own lease is the first. */
  async function halfReady(): Promise<readonly FakePilot[]> {
    await create(2);
    w.startJob(made());
    for (const p of w.pilots.slice(1)) p.line = 'cut';
    await w.until('one lease', 30, async () => (await w.leases())[0]?.state === 'Running');
    return w.pilots;
  }
  const heard = (p: FakePilot | undefined): void => { if (p !== undefined) p.line = 'good'; };
  const endLease = async (n: number): Promise<void> => void await w.service.manager.leases.end(w.site.admin, (await w.leases()).slice(n, n + 1).map((l) => l.id), 'no more of this one');

  it.each<[string, (p: FakePilot | undefined) => void, string]>([
    ['gives its node back', (p) => p?.giveBack(), 'Server.SlotEnded'],
    ['is heard to have given it back, and not to do so', (p) => {
      if (p !== undefined) p.line = 'reversed';
      p?.giveBack();
    }, 'Server.SlotEnded'],
    ['is killed', (p) => p?.signal('SIGKILL'), 'Server.PilotLost'],
  ])('the one that %s takes the other with it', async (_how, goes, code) => {
    const [first, second] = await halfReady();
    goes(first);
    await w.until('the end of its lease', 40, async () => (await w.leases())[0]?.final === true);
    heard(second);
    await w.until('the end of the other', 20, async () => (await w.leases()).every((l) => l.final));
    expect((await reasons()).map(([, c]) => c)).toEqual([code, code]);
    expect((await slot())?.reason_code).toBe(code);
    await atRest();
  });

  it.each<[string, (p: FakePilot | undefined) => void]>([
    ['gives its node back', () => undefined],
    // Its lease is told to end, and nobody hears that it has.
    ['hangs', (p) => p?.hang()],
  ])('one whose lease its user has ended, and which %s, takes nobody with it', async (_how, goes) => {
    const [first, second] = await halfReady();
    goes(first);
    await endLease(0);
    await w.until('the end of the node', 45, async () => ['Returned', 'Lost'].includes((await slot())?.nodes[0] ?? ''));
    heard(second);
    await w.until('the other lease', 20, async () => (await w.leases())[1]?.state === 'Running');
    expect((await slot())?.state).toBe('Ready');
    await endAll();
    await atRest();
  });

  it('one that never reports takes nobody with it when its user has ended its lease, and is given up', async () => {
    const [, second] = await halfReady();
    second?.hang();
    await endLease(1);
    await w.pass(60 + 20 + 30);
    expect((await w.leases()).map((l) => l.state)).toEqual(['Running', 'Terminated']);
    expect(await slot()).toMatchObject({ state: 'Ready', nodes: ['Reserved', 'Lost'] });
    await endAll();
    await atRest();
  });

  it('one that makes no room for a lease that its user has ended takes nobody with it, and the group is complete', async () => {
    await create(2);
    w.startJob(made());
    const [, second] = w.pilots;
    if (second !== undefined) second.line = 'cut';
    second?.signal('SIGTERM');
    await w.until('one lease', 15, async () => (await w.leases())[0]?.state === 'Running');
    await endLease(1);
    heard(second);
    await w.until('the end of the node', 15, async () => (await slot())?.nodes[1] === 'Returned');
    expect((await slot())?.state).toBe('Ready');
    expect((await w.leases())[0]?.state).toBe('Running');
    await endAll();
    await atRest();
  });
});

describe('answers that are lost', () => {
  it('to a submission: the job is found by its name, and there is one', async () => {
    w.lrm.behaviour.submit = 'lost-answer';
    await create();
    expect(await slot()).toMatchObject({ state: 'Submitting', job_id: null });
    await w.until('the job’s discovery', POLL_S + 1, async () => (await slot())?.job_id === made().jobId);
    await w.pass(5 * POLL_S);
    expect(w.lrm.calls.submit).toBe(1);
    await endAll();
    await atRest();
  });

  it('a submission that outlives its service, after the next one has made it again: one of the two jobs is cancelled', async () => {
    const { until, letGo } = held();
    w.lrm.behaviour.until = until;
    await create();
    expect(w.lrm.calls.submit).toBe(1);
    w.kill();
    w.lrm.behaviour.until = null;
    await w.start();
    await w.until('the second submission', 4 * POLL_S, async () => (await slot())?.state === 'Queued');
    const job = made();
    letGo();
    await w.idle();
    expect(w.lrm.jobs.filter((j) => j.state === 'queued')).toHaveLength(2);
    await w.until('one job', 2 * POLL_S, () => Promise.resolve(w.liveJobs().length === 1));
    expect(w.liveJobs()).toEqual([job]);
    w.startJob(job);
    await w.until('the lease’s start', 30, async () => (await w.leases())[0]?.state === 'Running');
    await endAll();
    await atRest();
  });

  it('a submission that outlives its service and its lease: the job is cancelled', async () => {
    const { until, letGo } = held();
    w.lrm.behaviour.until = until;
    await create();
    w.kill();
    w.lrm.behaviour.until = null;
    await w.start();
    await endAll();
    await w.until('the end of the slot', 3 * POLL_S, async () => (await slot())?.state === 'Ended');
    letGo();
    await w.idle();
    expect(w.liveJobs()).toHaveLength(1);
    await atRest(2 * POLL_S);
  });

  it('to a cancellation, several times', async () => {
    await create();
    w.lrm.behaviour.cancel = 'unknown';
    await endAll();
    await w.pass(35);
    expect((await w.leases())[0]?.state).toBe('Terminated');
    expect(await slot()).toMatchObject({ state: 'Releasing' });
    expect(w.cancelled.length).toBeGreaterThan(2);
    w.lrm.behaviour.cancel = 'cancels';
    await atRest(2 * POLL_S);
  });
});
