/** Groups of which some leases are ended before every pilot has been heard: nobody waits for more nodes than are needed. */
import { afterEach, describe, expect, it } from 'vitest';
import { expectInvariants } from '../../support/invariants.ts';
import { openPilotSite, type PilotSite } from './site.ts';

let p: PilotSite;
let leases: readonly string[] = [];
afterEach(async () => {
  await expectInvariants(p.site);
  await p.site.close();
});

/** A group of three whose job runs. */
async function running(): Promise<string> {
  p = await openPilotSite();
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
