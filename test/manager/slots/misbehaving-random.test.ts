/**
 * Anything in any order: users, the batch system, pilots, the lines between them and the service's own death, from a seed.
 * When the faults are over, leases are in true states within two polls, and everything is given back.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { expectInvariants, expectSlotsSettled } from '../../support/invariants.ts';
import type { FakeJob } from '../../support/fake-lrm.ts';
import type { FakePilot } from './faults-pilot.ts';
import { World } from './faults-world.ts';

let w: World;
beforeAll(async () => { w = await World.open(); });
afterAll(async () => { await w.close(); });

const POLL_S = 10;
/** A farewell, a cancellation that is repeated, a pilot's silence, its last words, the batch system's grace. */
const REST_S = 150;
const RUNS_MS = 15_000;

const pick = <T>(from: readonly T[], n: number): T | undefined => from[n % Math.max(1, from.length)];
const jobs = (...states: string[]): FakeJob[] => w.lrm.jobs.filter((j) => states.includes(j.state));
const pilots = (): FakePilot[] => w.pilots.filter((p) => p.alive);

const n = fc.nat(1000);
const event = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('create' as const), n: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('start-job' as const), n }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('pass' as const), n: fc.integer({ min: 1, max: 15 }) }) },
  { weight: 8, arbitrary: fc.record({
    do: fc.constantFrom('end-lease', 'end-job', 'delete-job', 'vanish', 'requeue', 'hold', 'warn', 'kill-pilot', 'hang-pilot', 'restart', 'die') , n }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('line' as const), n, how: fc.constantFrom('good', 'cut', 'answers-lost', 'doubled', 'reversed') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('submit' as const), how: fc.constantFrom('takes', 'rejects', 'lost-answer', 'lost-question') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), how: fc.constantFrom('cancels', 'unknown', 'ignores') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), how: fc.constantFrom('term-then-kill', 'kill-only', 'term-only') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('list' as const), how: fc.constantFrom('lists', 'unavailable', 'doubled', 'empty', 'half', 'over') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('database-away' as const), n: fc.integer({ min: 1, max: 12 }) }) },
);
type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

async function happen(e: Event): Promise<void> {
  switch (e.do) {
    case 'create':
      if (w.alive) await w.service.manager.leases.create(w.site.alice, { minCount: e.n, maxCount: e.n, image: 'guest', durationS: 3600 }).catch(() => undefined);
      return w.idle();
    case 'pass':
      return w.pass(e.n);
    case 'line': {
      const pilot = pick(pilots(), e.n);
      if (pilot !== undefined) pilot.line = e.how;
      return;
    }
    case 'submit':
      w.lrm.behaviour.submit = e.how;
      return;
    case 'cancel':
      w.lrm.behaviour.cancel = e.how;
      return;
    case 'kill':
      w.lrm.behaviour.kill = e.how;
      return;
    case 'list':
      return list(e.how);
    case 'database-away': {
      const until = w.clock.now() + e.n * 1_000;
      w.faults.fails = () => w.clock.now() < until;
      return;
    }
    case 'end-lease': {
      const lease = pick((await w.leases()).filter((l) => !l.final), e.n);
      if (lease !== undefined && w.alive) await w.service.manager.leases.end(w.site.admin, [lease.id], '').catch(() => undefined);
      return w.idle();
    }
    case 'restart':
      if (w.alive) w.kill();
      return w.start();
    case 'die':
      if (w.alive) w.kill();
      return;
    default:
      return befall(e.do, e.n);
  }
}

/** What happens to a job or a pilot. */
function befall(what: string, n: number): void {
  const [waiting, running, pilot] = [pick(jobs('queued', 'held'), n), pick(jobs('running'), n), pick(pilots(), n)];
  if (what === 'start-job' && waiting !== undefined) w.startJob(waiting);
  if (what === 'hold' && waiting !== undefined) w.lrm.hold(waiting);
  if (what === 'delete-job' && waiting !== undefined) w.lrm.end(waiting, 'cancelled');
  if (what === 'vanish' && waiting !== undefined) w.lrm.vanish(waiting);
  if (what === 'end-job' && running !== undefined) w.lrm.end(running, (['cancelled', 'failed', 'timeout', 'node-failed', 'preempted'] as const)[n % 5] ?? 'failed');
  if (what === 'requeue' && running !== undefined) w.lrm.requeue(running);
  if (what === 'warn' && running !== undefined) w.lrm.warn(running);
  if (what === 'kill-pilot') pilot?.signal('SIGKILL');
  if (what === 'hang-pilot') pilot?.hang();
}

function list(how: 'lists' | 'unavailable' | 'doubled' | 'empty' | 'half' | 'over'): void {
  w.lrm.behaviour.list = how === 'unavailable' ? 'unavailable' : 'lists';
  w.lrm.behaviour.distort = (all) => {
    if (how === 'doubled') return [...all, ...all];
    if (how === 'empty') return [];
    if (how === 'half') return all.filter((_, i) => i % 2 === 0);
    return how === 'over' ? all.map((j) => ({ ...j, state: 'done' as const, native: 'COMPLETED' })) : all;
  };
}

async function healed(): Promise<void> {
  Object.assign(w.lrm.behaviour, { submit: 'takes', cancel: 'cancels', kill: 'term-then-kill' });
  list('lists');
  w.faults.fails = () => false;
  for (const p of pilots()) p.line = 'good';
  if (!w.alive) await w.start();
}

/** Leases live only where the batch system has a job for them, or may still be asked for one. */
async function leasesAreTrue(): Promise<void> {
  for (const lease of (await w.leases()).filter((l) => !l.final)) {
    const job = w.liveJobs().find((j) => j.request.slotId === lease.slot_id);
    const grace = w.pilots.some((p) => p.alive && p.slot === lease.slot_id);
    if (job === undefined && !grace) expect(lease.slot_state, JSON.stringify(lease)).toMatch(/^(Requested|Submitting)$/);
    if (lease.state === 'Running') expect(grace, `a lease runs where no pilot is: ${JSON.stringify(lease)}`).toBe(true);
  }
}

async function everythingIsGivenBack(): Promise<void> {
  const ids = (await w.leases()).filter((l) => !l.final).map((l) => l.id);
  if (ids.length > 0) await w.service.manager.leases.end(w.site.admin, ids, 'the end');
  await w.until('the end of every slot and job', REST_S, async () => (await w.slots()).every((s) => s.state === 'Ended') && w.liveJobs().length === 0);
  await w.until('the end of every pilot', 40, () => Promise.resolve(pilots().length === 0));
  expect((await w.leases()).filter((l) => !l.final)).toEqual([]);
  await expectSlotsSettled(w.site);
}

it('ends with everything given back', async () => {
  await fc.assert(fc.asyncProperty(fc.array(event, { minLength: 5, maxLength: 30 }), async (events) => {
    for (const e of events) {
      await happen(e);
      await w.idle();
    }
    await healed();
    // A list that backs off was unavailable for a while: the next one is asked for here.
    await w.service.slots.poll();
    await w.pass(2 * POLL_S + 1);
    await expectInvariants(w.site);
    await leasesAreTrue();
    await everythingIsGivenBack();
    await w.forget();
  }), { numRuns: 200, endOnFailure: true, interruptAfterTimeLimit: RUNS_MS, ...(process.env['SEED'] === undefined ? {} : { seed: Number(process.env['SEED']) }) });
});
