/**
 * A life of a slot, from its creation over a partial release to a preemption, with the database failing at every statement
 * and losing the answer to every commit, and with the service killed at every statement. Whatever happens, the site comes to
 * rest: one job, nothing kept, every lease in a true state.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { expectSlotsSettled } from '../../support/invariants.ts';
import { World } from './faults-world.ts';

let w: World;
afterEach(async () => { await w.close(); });

/** Seconds of the site's time within which everything is given back after the last fault: two polls, a farewell, a silence. */
const REST_S = 90;

/** What a user, the batch system and the pilots do; what is refused on the way is refused. */
async function live(): Promise<void> {
  const { alice } = w.site;
  await w.service.manager.leases.create(alice, { minCount: 2, maxCount: 2, image: 'guest', durationS: 3600, tags: { 'nimbus:on-preempt': 'save' } }).catch(() => undefined);
  await goOn(2);
  for (const job of w.lrm.jobs) if (job.state === 'queued') w.startJob(job);
  await goOn(12);
  const [one] = (await w.leases()).filter((l) => !l.final);
  if (one !== undefined) await w.service.manager.leases.end(alice, [one.id], '').catch(() => undefined);
  await goOn(4);
  for (const job of w.liveJobs()) w.lrm.warn(job);
  await goOn(6);
}

/** Whoever looks after the service starts it again. */
async function goOn(seconds: number): Promise<void> {
  await w.pass(seconds);
  if (!w.alive) await w.start();
}

/** Faults are over: what lives runs, then all leases end, and nothing is left. */
async function comesToRest(what: string): Promise<void> {
  w.faults.fails = () => false;
  w.faults.losesAnswer = () => false;
  await goOn(1);
  await w.until(`the start of what lives after ${what}`, REST_S, async () => {
    for (const job of w.lrm.jobs) if (job.state === 'queued') w.startJob(job);
    return (await w.leases()).every((l) => l.final || l.state === 'Running');
  });
  const ids = (await w.leases()).filter((l) => !l.final).map((l) => l.id);
  if (ids.length > 0) await w.service.manager.leases.end(w.site.admin, ids, 'the end of a walk');
  await w.until(`the end after ${what}`, REST_S, async () => (await w.slots()).every((s) => s.state === 'Ended') && w.liveJobs().length === 0);
  await w.pass(1);
  await expectSlotsSettled(w.site, what);
  expect((await w.leases()).filter((l) => !l.final), what).toEqual([]);
  const jobs = new Map<string, number>();
  for (const { request } of w.lrm.jobs) jobs.set(request.slotId, (jobs.get(request.slotId) ?? 0) + 1);
  expect([...jobs].filter(([, n]) => n > 1), `slots with more than one job ${what}`).toEqual([]);
  expect(w.pilots.filter((p) => p.alive), `pilots that are left ${what}`).toEqual([]);
}

type Mode = 'fails' | 'losesAnswer';

/** Each statement by its name and which time it is said; what is only looked up again every second, once. */
async function momentsOfALife(mode: Mode, most: (name: string) => number): Promise<readonly string[]> {
  const times = new Map<string, number>();
  w.faults[mode] = (name) => {
    times.set(name, (times.get(name) ?? 0) + 1);
    return false;
  };
  await live();
  await comesToRest('a life without a fault');
  return [...times].flatMap(([name, n]) => Array.from({ length: Math.min(n, most(name)) }, (_, i) => `${name} ${i + 1}`));
}

/**
 * A life with a fault at this moment, once. Whether a statement comes another time may hang on what came first: a life that has not had its
 * moment is lived again, so that in the end every moment has had its fault.
 */
async function liveWith(mode: Mode, moment: string, what: string, then: () => void = () => undefined): Promise<void> {
  const [wanted, nth] = moment.split(' ');
  for (let hit = false, lives = 1; !hit; lives += 1) {
    expect(lives, `lives until ${moment}`).toBeLessThanOrEqual(MOST_LIVES);
    await w.forget();
    let times = 0;
    w.faults[mode] = (name) => {
      if (name !== wanted || (times += 1) !== Number(nth)) return false;
      hit = true;
      then();
      return true;
    };
    await live();
    await comesToRest(`${what} ${moment}`);
  }
}
const MOST_LIVES = 4;

const commits = (name: string): number => (name === 'COMMIT' ? 100 : 0);
/** As many as there are, but of those that timers repeat. */
const all = (name: string): number => (name === 'COMMIT' ? 100 : /^(take|slots|returning|open-messages|all|live)/.test(name) ? 1 : 2);

describe('the life of a slot', { timeout: 240_000 }, () => {
  it('goes as it should without a fault', async () => {
    w = await World.open();
    await live();
    await comesToRest('nothing');
    expect((await w.leases()).map((l) => [l.state, l.reason_code])).toEqual([['Terminated', 'Client.UserInitiatedShutdown'], ['Terminated', 'Server.BatchSystemPreempted']]);
    expect((await w.slots()).map((s) => [s.state, s.nodes])).toEqual([['Ended', ['Returned', 'Returned']]]);
    const [, saved] = await w.leases();
    expect((await w.service.manager.images.list(w.site.alice)).map((i) => i.name)).toContain(`saved-${saved?.id ?? ''}`);
  });

  it('may meet a database that fails at any statement and commit', async () => {
    w = await World.open();
    const moments = await momentsOfALife('fails', all);
    expect(moments.length).toBeGreaterThan(80);
    for (const moment of moments) await liveWith('fails', moment, 'the failure of');
  });

  it('may lose the answer of any commit, and of any statement that is one', async () => {
    w = await World.open();
    const moments = await momentsOfALife('losesAnswer', all);
    expect(moments.length).toBeGreaterThan(40);
    for (const moment of moments) await liveWith('losesAnswer', moment, 'the lost answer of');
  });

  it('may see the service killed before and after any commit', async () => {
    w = await World.open();
    const moments = await momentsOfALife('fails', commits);
    expect(moments.length).toBeGreaterThan(20);
    for (const moment of moments) {
      await liveWith('fails', moment, 'a kill before', () => w.kill());
      await liveWith('losesAnswer', moment, 'a kill after', () => w.kill());
    }
  });

  it('may meet a database that is away for a while, from any second on', async () => {
    w = await World.open();
    for (let second = 0; second < 24; second += 2) {
      await w.forget();
      const from = w.clock.now() + second * 1_000;
      w.faults.fails = () => w.clock.now() >= from && w.clock.now() < from + 5_000;
      await live();
      await comesToRest(`the database was away from second ${second} on`);
    }
  });
});
