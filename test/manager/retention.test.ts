/** History on virtual days: what is over goes when it is old, tables stay flat under churn, and what lives stays whole. */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Clock } from '../../src/platform/context.ts';
import { realClock } from '../../src/platform/real.ts';
import { statement } from '../../src/store/db.ts';
import { createPruner } from '../../src/workers/pruner.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { openPilotSite } from './slots/site.ts';

const DAY = 86_400_000;

/** Days pass at once. */
function calendar(): Clock & { pass(ms: number): void } {
  let ahead = 0;
  return { ...realClock, now: () => realClock.now() + ahead, pass: (ms) => { ahead += ms; } };
}

/** Its server serves all. */
let keep: TestDatabase;
beforeAll(async () => { keep = await openTestDatabase(); });
afterAll(() => keep.close());

let site: TestSite | undefined;
afterEach(async () => { await site?.close(); site = undefined; });

const SIZES = statement<Record<string, number>>('test-sizes', `SELECT ${['lease', 'lease_group', 'event', 'intent', 'tag', 'usage_record', 'usage_interval', 'slot', 'slot_node', 'slot_message', 'slot_sender', 'vmm_node']
  .map((t) => `(SELECT count(*)::int FROM ${t}) AS ${t}`).join(', ')}`);
const sizes = async (s: TestSite): Promise<Record<string, number>> => (await s.db.query(SIZES))[0] ?? {};

async function pruneAll(s: TestSite): Promise<void> {
  while ((await s.manager.work.prune()).more);
}

it('tables are as large after a year as after the first quarter', async () => {
  const clock = calendar();
  site = await openTestSite({ clock, config: { retention: { usage: '120d' } } });
  const s = site;
  const { leases: [kept] } = await s.manager.leases.create(s.bob, { minCount: 1, maxCount: 1, image: 'guest', durationS: 14 * 86_400, clientToken: 'kept' });
  await s.settled();
  const after: Array<Record<string, number>> = [];
  for (let day = 1; day <= 365; day += 1) {
    const group = await s.manager.leases.create(s.alice, { minCount: 3, maxCount: 3, image: 'guest', clientToken: `day-${day}`, tags: { day: String(day) }, volumeTags: { day: String(day) } });
    await s.settled();
    await s.manager.leases.end(s.alice, group.leases.map((l) => l.id), '');
    await s.settled();
    // A lease that lives for a year is extended, and stays with everything that happened to it.
    if (day % 7 === 0) await s.manager.leases.setEnd(s.bob, [kept?.id ?? ''], { durationS: 14 * 86_400 });
    clock.pass(DAY);
    await pruneAll(s);
    if (day > 130 && day % 20 === 0) after.push(await sizes(s));
  }
  const { event: _events, ...first } = after[0] ?? {};
  for (const { event: _later, ...later } of after) expect(later).toEqual(first);
  expect(first).toMatchObject({ lease: 90 * 3 + 1 - 3, usage_record: 120 * 3 + 1 - 3, tag: 2 * 89 * 3, lease_group: 90 });
  expect((await s.manager.leases.describe(s.bob, { ids: [kept?.id ?? ''] }))[0]?.state).toBe('Running');
  expect((await s.manager.leases.events(s.bob, kept?.id ?? '')).length).toBeGreaterThan(50);
  await expectInvariants(s, 'after a year', true);
});

it('a group goes as a whole, when its last lease is old; its token is free again, its usage stays', async () => {
  const clock = calendar();
  site = await openTestSite({ clock, config: { retention: { leases: '10d' } } });
  const request = { minCount: 2, maxCount: 2, image: 'guest', clientToken: 'once', durationS: 14 * 86_400 };
  const { id, leases: [one, two] } = await site.manager.leases.create(site.alice, request);
  await site.settled();
  await site.manager.leases.end(site.alice, [one?.id ?? ''], '');
  await site.settled();
  clock.pass(11 * DAY);
  expect(await site.manager.work.prune()).toMatchObject({ leases: 0 });
  await site.manager.leases.end(site.alice, [two?.id ?? ''], '');
  await site.settled();
  clock.pass(11 * DAY);
  expect(await site.manager.leases.create(site.alice, request)).toMatchObject({ id, repeated: true });
  expect(await site.manager.work.prune()).toEqual({ leases: 2, slots: 0, usage: 0, more: false });
  expect(await site.manager.leases.create(site.alice, request)).toMatchObject({ repeated: false });
  const [usage] = await site.db.query(statement<{ n: number; minutes: number }>('test-usage', 'SELECT count(*)::int AS n, sum(charged_minutes)::int AS minutes FROM usage_record WHERE closed_at IS NOT NULL'));
  expect(usage?.n).toBe(2);
  await site.settled();
  await expectInvariants(site);
});

it('spot requests that are over go with their tags when they are old; one that waits stays', async () => {
  const clock = calendar();
  site = await openTestSite({ clock, config: { lease: { max_duration: '365d' } } });
  const s = site;
  const asked = { launch: { minCount: 1, maxCount: 1, image: 'guest' }, count: 1, persistent: false, price: 0.5, validFrom: clock.now() + 300 * DAY };
  const ids = await Promise.all(['over', 'waits'].map(async (what) => (await s.manager.spot.request(s.alice, asked, { tags: { what } }))[0]?.id ?? ''));
  const [over = '', waits = ''] = ids;
  await s.manager.spot.cancel(s.alice, [over]);
  const left = async (): Promise<string[]> => (await s.manager.spot.list(s.alice)).map((r) => r.id).sort();
  clock.pass(89 * DAY);
  await pruneAll(s);
  expect(await left()).toEqual(ids.toSorted());
  clock.pass(2 * DAY);
  await pruneAll(s);
  expect(await left()).toEqual([waits]);
  expect(await s.db.query(statement<{ resource_id: string }>('test-spot-tags', 'SELECT resource_id FROM tag'))).toEqual([{ resource_id: waits }]);
});

it('images that could not be made go with their tags when they are old; one that is being made stays', async () => {
  const clock = calendar();
  site = await openTestSite({ clock, config: { lease: { max_duration: '365d' } } });
  const s = site;
  const { leases } = await s.manager.leases.create(s.alice, { minCount: 2, maxCount: 2, image: 'guest', durationS: 300 * 86_400 });
  await s.settled();
  const make = (n: number) => s.manager.images.make(s.alice, leases[n]?.id ?? '', { name: `image-${n}`, description: '', tags: { n: String(n) } });
  s.control.answer = (_node, r) => (r.op !== 'save' || !('lease' in r) ? undefined : r.lease === leases[0]?.id ? { code: 'DiskFull', message: 'no room' } : 'silent');
  const failed = await make(0);
  await s.settled();
  const making = await make(1);
  await s.settled();
  clock.pass(89 * DAY);
  await pruneAll(s);
  expect((await s.manager.images.list(s.alice, { ids: [failed, making] })).map((i) => i.state)).toEqual(['failed', 'pending']);
  clock.pass(2 * DAY);
  await pruneAll(s);
  await expect(s.manager.images.list(s.alice, { ids: [failed] })).rejects.toMatchObject({ code: 'ImageNotFound' });
  expect((await s.manager.images.list(s.alice, { ids: [making] })).map((i) => [i.state, i.tags])).toEqual([['pending', { n: '1' }]]);
  expect((await s.manager.tags.list(s.alice)).map((t) => t.resourceId)).toEqual([making]);
});

it('0 keeps for ever, and what is still shown is not removed', async () => {
  const clock = calendar();
  site = await openTestSite({ clock, config: { retention: { leases: 0 }, ec2: { terminated_visible: '30d' } } });
  const end = async (s: TestSite): Promise<string> => {
    const { leases: [l] } = await s.manager.leases.create(s.alice, { minCount: 1, maxCount: 1, image: 'guest' });
    await s.settled();
    await s.manager.leases.end(s.alice, [l?.id ?? ''], '');
    await s.settled();
    return l?.id ?? '';
  };
  await end(site);
  clock.pass(3650 * DAY);
  expect(await site.manager.work.prune()).toMatchObject({ leases: 0 });
  await site.close();
  site = await openTestSite({ clock, config: { retention: { leases: '1d' }, ec2: { terminated_visible: '30d' } } });
  const id = await end(site);
  clock.pass(20 * DAY);
  await pruneAll(site);
  expect((await site.manager.leases.describe(site.alice, {})).map((l) => l.id)).toEqual([id]);
  clock.pass(20 * DAY);
  await pruneAll(site);
  await expect(site.manager.leases.describe(site.alice, { ids: [id] })).rejects.toMatchObject({ code: 'LeaseNotFound' });
});

it('slots go with their nodes, messages and counters, when no lease refers to them', async () => {
  const clock = calendar();
  const p = await openPilotSite({ retention: { leases: '10d', slots: '20d' } }, undefined, { clock });
  site = p.site;
  for (const hosts of [['n1', 'n2'], ['n3']]) {
    const group = await site.manager.leases.create(site.alice, { minCount: hosts.length, maxCount: hosts.length, image: 'guest' });
    const slot = await p.run(...hosts);
    for (const host of hosts) await p.reserved(slot, host);
    await site.settled();
    await site.manager.leases.end(site.alice, group.leases.map((l) => l.id), '');
    await site.settled();
    for (const host of hosts) await p.say(slot, host, { state: 'restored' });
    p.lrm.jobs.clear();
    await p.until(() => p.site.slots.poll().then(() => p.slot()), (s) => s.state === 'Ended');
  }
  expect(await sizes(site)).toMatchObject({ slot: 2, slot_node: 3, vmm_node: 3 });
  clock.pass(11 * DAY);
  expect(await site.manager.work.prune()).toMatchObject({ leases: 3, slots: 0 });
  clock.pass(10 * DAY);
  expect(await site.manager.work.prune()).toMatchObject({ slots: 2 });
  expect(await sizes(site)).toMatchObject({ lease: 0, slot: 0, slot_node: 0, slot_message: 0, slot_sender: 0, vmm_node: 0, usage_record: 3 });
  await expectInvariants(site);
});

it('of two services one prunes; a backlog goes in batches; what fails is tried again', async () => {
  const clock = calendar();
  site = await openTestSite({ clock, config: { retention: { leases: '10d' } } });
  const s = site;
  await s.db.query(statement('test-backlog', `
    WITH g AS (INSERT INTO lease_group (id, account_id, request_hash, created_at) SELECT 'r-' || n, (SELECT min(id) FROM account), '', now() FROM generate_series(1, 450) AS n RETURNING id, account_id)
    INSERT INTO lease (id, group_id, account_id, launch_index, state, generation, final, holding, zone, image_id, type, memory_mb, cores, disk_mb, nics, created_at, duration_s, ended_at)
    SELECT 'i-' || id, id, account_id, 0, 'Terminated', 1, true, false, 'default', $1, 'm1.small', 128, 1, 0, '[]', now(), 60, now() FROM g`), [s.imageId]);
  clock.pass(11 * DAY);
  expect((await Promise.all([s.manager.work.prune(), s.manager.work.prune(), s.manager.work.prune()])).map((r) => r.leases).filter((n) => n > 0).every((n) => n === 200)).toBe(true);
  // Its clock runs as fast as the work does.
  const due: Array<() => void> = [];
  let fails = 1;
  const pruner = createPruner({ ...s.ctx, clock: { ...clock, after: (_ms, fn) => { due.push(fn); return { cancel: () => undefined }; } } }, async () => {
    if ((fails -= 1) === 0) throw new Error('not now');
    return s.manager.work.prune();
  });
  pruner.start();
  for (let looks = 0; looks < 50 && (await sizes(s))['lease'] !== 0; looks += 1) {
    due.shift()?.();
    while (due.length === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await pruner.stop();
  expect(await sizes(s)).toMatchObject({ lease: 0, lease_group: 0 });
  expect(s.ctx.lines.filter((l) => l.level === 'warn').map((l) => l.message)).toEqual(['what is old could not be removed; trying again']);
});
