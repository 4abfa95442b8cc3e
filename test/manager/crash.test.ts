/**
 * The service is killed before and after each statement, each commit and each message of an agent, in a life of two leases:
 * create, run, extend, reboot, stop and start, a guest that powers off, an end by the user and one by time. The moments are counted, so that
 * a new statement is a new moment. Whenever it dies: leases, nodes, room, addresses and usage agree, and what a client was
 * told stands. A node that vanishes meanwhile comes back with its VMs, or without.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isFault } from '../../src/lease/faults.ts';
import { statement } from '../../src/store/db.ts';
import { expectInvariants } from '../support/invariants.ts';
import { deadline, oneIn } from '../support/moments.ts';
import { expectRest, killAgain, killAtEach } from './crash-walk.ts';
import { CrashWorld, type Moment } from './crash-world.ts';

let w: CrashWorld;
let walks = 0;
let nodesVanish = false;
beforeAll(async () => { w = await CrashWorld.open(); });
afterAll(async () => { await w.close(); });
beforeEach(() => {
  w.dies = () => false;
  nodesVanish = false;
});

const timeOver = statement<never>('crash-over', "UPDATE lease SET ends_at = now() - interval '1 s' WHERE id = $1");
const groups = statement<{ token: string; n: number; ids: string[] }>('crash-groups', `
  SELECT g.client_token AS token, count(DISTINCT g.id)::int AS n, array_agg(l.id ORDER BY l.launch_index) AS ids
    FROM lease_group g JOIN lease l ON l.group_id = g.id WHERE g.client_token = $1 GROUP BY g.client_token`);
const live = statement<{ id: string; state: string }>('crash-live', 'SELECT id, state FROM lease WHERE NOT final');
const ends = statement<{ ends: number }>('crash-ends', 'SELECT ends_at AS ends FROM lease WHERE id = $1');

/** What clients were told, by what they asked. */
interface Told { token: string; ids?: string[]; extended?: string; ended?: string[] }

/**
 * Nothing is asked of a service that is dead; whoever looks after it starts it again between two requests. A lease whose VM went
 * with its node is over, and what is asked of it is refused: that is an answer.
 */
async function ask<T>(what: () => Promise<T>): Promise<T | undefined> {
  if (!w.alive) await w.rest();
  return what().catch((e: unknown) => {
    if (w.alive && !(nodesVanish && isFault(e) && e.code === 'StateRefused')) throw e;
    return undefined;
  });
}

async function liveOnce(): Promise<Told> {
  const told: Told = { token: `walk-${walks += 1}` };
  const request = { minCount: 2, maxCount: 2, image: 'guest', clientToken: told.token };
  const { alice } = w.site;
  const made = await ask(() => w.life.manager.leases.create(alice, request));
  if (made !== undefined) told.ids = made.leases.map((l) => l.id);
  await w.rest();
  // What was answered is answered so again; what was not becomes one lease.
  const [first = '', second = ''] = told.ids ??= (await ask(() => w.life.manager.leases.create(alice, request)))?.leases.map((l) => l.id) ?? [];
  await w.rest();
  if (first === '') return told;
  if (await ask(() => w.life.manager.leases.setEnd(alice, [first], { durationS: 7200 })) !== undefined) told.extended = first;
  await w.rest();
  await ask(() => w.life.manager.leases.reboot(alice, [first, second]));
  await w.rest();
  for (const to of ['stop', 'start'] as const) {
    // A client that was not answered asks again.
    for (let answered = false; !answered; answered = w.alive) await ask(() => w.life.manager.leases[to](alice, [first]));
    await w.rest();
  }
  const node = [1, 2].find((n) => w.site.control.node(n).vms.get(second)?.state === 'running');
  if (node !== undefined) w.site.control.exit(node, second, 'the guest powered off');
  await w.rest();
  const third = (await ask(() => w.life.manager.leases.create(alice, { minCount: 1, maxCount: 1, image: 'guest' })))?.leases[0]?.id;
  await w.rest();
  if (third !== undefined) await w.site.db.query(timeOver, [third]);
  await ask(() => w.life.manager.work.sweep());
  if (await ask(() => w.life.manager.leases.end(alice, [first], '')) !== undefined) told.ended = [first];
  return told;
}

async function walk(what: string): Promise<void> {
  const told = await liveOnce();
  await expectRest(w, what);
  if (told.ids !== undefined && told.ids.length > 0) {
    expect(await w.site.db.query(groups, [told.token]), `the client token ${what}`).toEqual([{ token: told.token, n: 1, ids: told.ids }]);
    const again = await w.life.manager.leases.create(w.site.alice, { minCount: 2, maxCount: 2, image: 'guest', clientToken: told.token });
    expect(again.leases.map((l) => l.id), `the client token ${what}`).toEqual(told.ids);
  }
  if (told.extended !== undefined) expect((await w.site.db.query(ends, [told.extended]))[0]?.ends, `the extension ${what}`).toBeGreaterThan(Date.now() + 6_000_000);
  const left = await w.site.db.query(live);
  for (const id of told.ended ?? []) expect(left.map((l) => l.id), `the end ${what}`).not.toContain(id);
  expect(left.filter((l) => l.state !== 'Running'), `leases that are on no way ${what}`).toEqual([]);
  if (left.length > 0) await w.life.manager.leases.end(w.site.admin, left.map((l) => l.id), 'the end of a walk');
  await w.rest();
  expect(await w.site.db.query(live), what).toEqual([]);
  await expectInvariants(w.site, `${what}, ended`);
}

/** Of a life without a fault, after which all agrees. */
async function moments(): Promise<Moment[]> {
  const all = await w.moments(liveOnce);
  await walk('a life without a fault');
  return all;
}

describe('the service', { timeout: deadline(480_000) }, () => {
  it('may be killed before and after each statement and each message', async () => {
    const all = await moments();
    expect(all.length).toBeGreaterThan(150);
    expect(all).toContain('after release-leases');
    expect(all).toContain('before start-begun');
    await killAtEach(w, all, walk, true);
  });

  it('may be killed again while it recovers', async () => {
    await killAgain(w, await moments(), oneIn(9), walk);
  });
});

describe('a node', () => {
  it.each(['with its VMs', 'without its VMs'])('may vanish at any message of a life and come back %s', async (how) => {
    nodesVanish = true;
    const all = await moments();
    const messages = all.flatMap((m, i) => (/^(before|after) (start|reboot|remove|list|vm-exited)$/.test(m) ? [i + 1] : []));
    expect(messages.length).toBeGreaterThan(8);
    for (const k of messages) {
      let n = 0;
      w.dies = () => {
        n += 1;
        if (n === k) vanish(how);
        return false;
      };
      await w.anew();
      await walk(`after the nodes vanished at moment ${k}, ${all[k - 1]}, and came back ${how}`);
    }
  });

  function vanish(how: string): void {
    for (const node of [1, 2]) {
      w.site.control.setUp(node, false, 'it has vanished');
      if (how === 'without its VMs') w.site.control.node(node).vms.clear();
      setImmediate(() => w.site.control.setUp(node, true));
    }
  }
});
