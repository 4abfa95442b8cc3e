/** Rules about slots: a site in pilot mode with a group that runs, one that waits and one that is over. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openPilotSite, type PilotSite } from '../manager/slots/site.ts';
import { checkedSite, type Checked } from './site.ts';

let p: PilotSite;
let c: Checked;
beforeAll(async () => {
  p = await openPilotSite();
  c = await checkedSite(p.site);
  const { site } = p;
  const create = (count: number) => site.manager.leases.create(site.alice, { minCount: count, maxCount: count, image: 'guest' });
  const run = async (hosts: string[]): Promise<string[]> => {
    const group = await create(hosts.length);
    const slot = await p.run(...hosts);
    for (const host of hosts) await p.reserved(slot, host);
    await site.settled();
    return group.leases.map((l) => l.id);
  };
  const over = await run(['n1', 'n2']);
  const { id } = await p.slot();
  await site.manager.leases.end(site.alice, over, 'enough');
  await site.settled();
  await p.say(id, 'n1', { state: 'restored' });
  await p.say(id, 'n2', { state: 'restored' });
  p.lrm.jobs.clear();
  await p.until(() => site.slots.poll().then(() => p.slot()), (s) => s.state === 'Ended');
  await run(['n3', 'n4']);
  await create(1);
});
afterAll(() => c.close());

it('a healthy site has no findings', async () => {
  expect(await c.fsck()).toMatchObject({ problems: [], notes: [], looked: { leases: 5, slots: 3 } });
});

const OVER = "(SELECT id FROM slot WHERE state = 'Ended')";
const MENDED: Readonly<Record<string, { of: string; broken: string; says: RegExp }>> = {
  'slot-ended': { of: OVER, broken: 'UPDATE slot SET final = false WHERE id = $1', says: /^slot {} is Ended, but counts as live/ },
  'slot-node-open': { of: `SELECT max(id) AS id FROM slot_node WHERE slot_id IN ${OVER}`, broken: "UPDATE slot_node SET state = 'Reserved' WHERE id = $1::text::bigint", says: /^node n\d of slot sl-\w+ is Reserved, but the slot has ended$/ },
  'borrowed-node-kept': { of: `SELECT max(node_id) AS id FROM slot_node WHERE slot_id IN ${OVER}`, broken: 'UPDATE vmm_node SET ended_at = NULL WHERE id = $1::text::bigint', says: /^node \S+ was given back by slot sl-\w+ \(\w+\), but counts as a node of the site$/ },
  'borrowed-node-stray': {
    of: 'SELECT 1 AS id', says: /^node stray is borrowed by slot sl-\w+, which does not know it$/,
    broken: `INSERT INTO vmm_node (name, zone, memory_mb, cores, access, created_at, slot_id) SELECT 'stray', 'batch', $1::text::int, 1, '{"transport":"pilot"}', now(), id FROM slot WHERE state = 'Ended'`,
  },
  'lease-misplaced': {
    of: "SELECT id FROM lease WHERE state = 'Running' ORDER BY seq LIMIT 1", says: /^lease {} \(Running\) is on node \S+, but its slot gave it \S+$/,
    broken: 'UPDATE lease l SET node_id = (SELECT max(n.node_id) FROM slot_node n WHERE n.node_id <> l.node_id) WHERE id = $1',
  },
  'lease-slotless': {
    of: "SELECT id FROM lease WHERE state = 'Pending'", says: /^lease {} is Pending, but its slot sl-\w+ is Ended, and its node there \w+$/,
    broken: `UPDATE lease SET slot_node_id = (SELECT max(id) FROM slot_node WHERE slot_id IN ${OVER}) WHERE id = $1`,
  },
};

it.each(Object.entries(MENDED))('%s is found, said and mended', async (rule, { of, broken, says }) => {
  const id = await c.id(of);
  await c.break(broken, id);
  const found = (await c.fsck()).problems.filter((f) => f.rule === rule);
  expect(found).toEqual([expect.objectContaining({ what: expect.stringMatching(new RegExp(says.source.replace('{}', id))) as string, repairs: true })]);
  const report = await c.fsck({ repair: true });
  expect(report).toMatchObject({ problems: [], notes: [] });
  expect(report.mended.map((m) => m.rule)).toContain(rule);
  await p.site.settled();
  expect(await c.wrong()).toEqual([]);
});

it('a node that counts as given back while its slot lives is shown', async () => {
  const id = await c.id("SELECT min(node_id) AS id FROM slot_node WHERE state = 'Reserved'");
  await c.break('UPDATE vmm_node SET ended_at = now() WHERE id = $1::text::bigint', id);
  expect(await c.wrong({ repair: true })).toEqual([expect.stringMatching(/^borrowed-node-ended: node \S+ counts as given back, but is Reserved in slot sl-/)]);
  await c.break('UPDATE vmm_node SET ended_at = NULL WHERE id = $1::text::bigint', id);
  expect(await c.wrong()).toEqual([]);
});

it('messages that a service which runs has not applied are shown', async () => {
  const slot = await c.id(OVER);
  await c.break("UPDATE slot_message SET applied = false, received_at = now() - interval '1 hour' WHERE slot_id = $1", slot);
  expect(await c.wrong()).toEqual([expect.stringMatching(new RegExp(`^slot-messages: \\d+ messages of the pilots of slot ${slot} were stored, but have had no effect$`))]);
  expect((await c.fsck({ serving: false })).problems).toEqual([]);
  await c.break('UPDATE slot_message SET applied = true WHERE slot_id = $1', slot);
});

it('a lease that is not preemptible in a job that may be displaced is shown', async () => {
  const slot = await c.id("SELECT min(s.id) AS id FROM slot s JOIN slot_node n ON n.slot_id = s.id JOIN lease l ON l.slot_node_id = n.id WHERE l.state = 'Running'");
  await c.break('UPDATE slot SET spot = true WHERE id = $1', slot);
  expect(await c.wrong({ repair: true })).toEqual([expect.stringMatching(new RegExp(`^spot-slot: the job of slot ${slot} may be displaced, but its lease i-\\w+ is not preemptible$`))]);
  await c.break('UPDATE slot SET spot = false WHERE id = $1', slot);
});
