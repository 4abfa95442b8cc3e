/** Groups of which some leases are ended before every pilot has been heard: nobody waits for more nodes than are needed. */
import { afterEach, describe, expect, it } from 'vitest';
import { realClock } from '../../../src/platform/real.ts';
import { expectInvariants } from '../../support/invariants.ts';
import { openPilotSite, type PilotSite } from './site.ts';

let p: PilotSite;
let leases: readonly string[] = [];
/** ms that the service's clock is ahead. */
let ahead = 0;
const clock = { ...realClock, now: () => realClock.now() + ahead };
afterEach(async () => {
  ahead = 0;
  await expectInvariants(p.site);
  await p.site.close();
});

/** A group of three whose job runs. */
async function running(): Promise<string> {
  p = await openPilotSite(undefined, undefined, { clock });
  leases = (await p.site.manager.leases.create(p.site.alice, { minCount: 3, maxCount: 3, image: 'guest', durationS: 3600 })).leases.map((l) => l.id);
  return p.run('n1', 'n2', 'n3');
}
const endLease = (n: number): Promise<unknown> => p.site.manager.leases.end(p.site.alice, [leases[n] ?? ''], '');
const counted = (states: readonly string[]): Record<string, number> => states.reduce<Record<string, number>>((sum, s) => ({ ...sum, [s]: (sum[s] ?? 0) + 1 }), {});

describe('a group one of whose leases ended before its node was heard', () => {
  it('is complete without it; a pilot that comes later gives its node back, and the job shrinks by it', async () => {
    const id = await running();
    for (const host of ['n1', 'n2']) await p.reserved(id, host);
    await endLease(2);
    await p.until(p.slot, (s) => s.state === 'Ready');
    await p.until(p.states, (s) => counted(s)['Running'] === 2);
    await p.reserved(id, 'n3');
    await p.until(p.slot, (s) => s.node_states[2] === 'Returning');
    expect((await p.heartbeat(id, 'n3')).do).toBe('release');
    await p.say(id, 'n3', { state: 'restored' });
    await p.until(() => Promise.resolve(p.lrm.shrunk), (s) => s.length === 1);
    expect(p.lrm.shrunk[0]?.keep).toEqual(['n1', 'n2']);
    expect(counted(await p.states())).toEqual({ Running: 2, Terminated: 1 });
  });

  it('gets the nodes that are heard, whichever those are', async () => {
    const id = await running();
    await endLease(0);
    for (const host of ['n3', 'n2']) await p.reserved(id, host);
    await p.until(p.states, (s) => counted(s)['Running'] === 2);
    expect(await p.slot()).toMatchObject({ state: 'Ready', node_states: ['Waiting', 'Reserved', 'Reserved'] });
  });

  it('is not ended by a pilot that makes no room while there are others', async () => {
    const id = await running();
    await endLease(1);
    await p.say(id, 'n1', { state: 'reserved', code: 4, text: 'only 100 of 128 MiB were reached' });
    for (const host of ['n2', 'n3']) await p.reserved(id, host);
    await p.until(p.states, (s) => counted(s)['Running'] === 2);
    expect(await p.slot()).toMatchObject({ state: 'Ready', node_states: ['Reserved', 'Failed', 'Reserved'] });
  });

  it('gives other nodes back without the one that was not heard: its pilot may be at work', async () => {
    const id = await running();
    for (const host of ['n1', 'n2']) await p.reserved(id, host);
    await endLease(2);
    await p.until(p.states, (s) => counted(s)['Running'] === 2);
    await endLease(1);
    await p.until(p.slot, (s) => s.node_states[1] === 'Returning');
    await p.say(id, 'n2', { state: 'restored' });
    await p.until(() => Promise.resolve(p.lrm.shrunk), (s) => s.length === 1);
    expect(p.lrm.shrunk[0]?.keep).toEqual(['n1', 'n3']);
  });
});

describe('a node whose lease has ended and whose pilot is never heard', () => {
  const LATE_MS = 10 * 60_000;
  /** The time for first words is over; those that are there are still heard. */
  async function late(id: string, ...hosts: string[]): Promise<void> {
    ahead += LATE_MS;
    for (const host of hosts) await p.heartbeat(id, host);
    p.site.slots.wake();
  }

  it('goes back to the batch system, though nobody has said which of the job’s hosts it is', async () => {
    const id = await running();
    for (const host of ['n3', 'n1']) await p.reserved(id, host);
    await endLease(2);
    await p.until(p.slot, (s) => s.state === 'Ready');
    expect(p.lrm.shrunk, 'its pilot may be about to make room').toEqual([]);
    await late(id, 'n1', 'n3');
    await p.until(p.slot, (s) => s.node_states[2] === 'Lost');
    await p.until(() => Promise.resolve(p.lrm.shrunk), (s) => s.length === 1);
    expect(p.lrm.shrunk).toEqual([{ jobId: expect.any(String) as string, part: 0, keep: ['n1', 'n3'] }]);
    expect(counted(await p.states())).toEqual({ Running: 2, Terminated: 1 });
    await p.site.slots.poll();
    expect(await p.slot()).toMatchObject({ state: 'Ready', hosts: ['n1', 'n3'] });
  });

  it('is told to go when its pilot comes after all', async () => {
    const id = await running();
    for (const host of ['n2', 'n3']) await p.reserved(id, host);
    await endLease(2);
    await p.until(p.slot, (s) => s.state === 'Ready');
    // The job's first node stays with it, whatever becomes of it.
    await late(id, 'n2', 'n3');
    await p.until(p.slot, (s) => s.node_states[2] === 'Lost');
    await p.reserved(id, 'n1');
    await p.until(async () => (await p.heartbeat(id, 'n1')).do, (told) => told === 'release');
    await p.say(id, 'n1', { state: 'restored' });
    await p.until(p.slot, (s) => s.node_states[2] === 'Returned');
    expect(counted(await p.states())).toEqual({ Running: 2, Terminated: 1 });
    expect(p.lrm.shrunk).toEqual([]);
  });

  it('does not go while the list names more hosts than have nobody’s pilot', async () => {
    const id = await running();
    for (const host of ['n1', 'n2']) await p.reserved(id, host);
    await endLease(2);
    await p.until(p.slot, (s) => s.state === 'Ready');
    const [job] = p.lrm.jobs.values();
    if (job !== undefined) p.lrm.jobs.set(job.jobId, { ...job, hosts: ['n1', 'n2', 'n3', 'n4'] });
    await p.site.slots.poll();
    await late(id, 'n1', 'n2');
    await p.until(p.slot, (s) => s.node_states[2] === 'Lost');
    await endLease(1);
    await p.until(p.slot, (s) => s.node_states[1] === 'Returning');
    await p.say(id, 'n2', { state: 'restored' });
    await p.until(() => Promise.resolve(p.lrm.shrunk), (s) => s.length > 0);
    expect(p.lrm.shrunk.map((s) => s.keep), 'the first time').toEqual([['n1', 'n3', 'n4']]);
  });

  it('takes the rest of its part with it where the job has several', async () => {
    p = await openPilotSite(undefined, undefined, { clock });
    const [small = [], large = []] = (await p.site.manager.leases.createEnsemble(p.site.alice, [
      { minCount: 1, maxCount: 1, image: 'guest', durationS: 3600 }, { minCount: 2, maxCount: 2, image: 'guest', durationS: 3600, resources: { memoryMb: 512, cores: 2 } },
    ])).map((g) => g.leases.map((l) => l.id));
    const id = await p.run('s1', 'l1', 'l2');
    await p.reserved(id, 's1');
    await p.reserved(id, 'l2', 1);
    await p.site.manager.leases.end(p.site.alice, [large[1] ?? ''], '');
    await p.until(p.slot, (s) => s.state === 'Ready');
    await late(id, 's1', 'l2');
    await p.until(() => Promise.resolve(p.lrm.shrunk), (s) => s.length === 1);
    expect(p.lrm.shrunk).toEqual([{ jobId: expect.any(String) as string, part: 1, keep: ['l2'] }]);
    expect([small.length, counted(await p.states())]).toEqual([1, { Running: 2, Terminated: 1 }]);
  });
});
