import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Fault } from '../../src/lease/faults.ts';
import type { CreateRequest } from '../../src/lease/types.ts';
import { statement } from '../../src/store/db.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
const request = (over: Partial<CreateRequest> = {}): CreateRequest => ({ minCount: 1, maxCount: 1, image: 'guest', ...over });
const one = async (over: Partial<CreateRequest> = {}): Promise<string> => {
  const group = await site.manager.leases.create(site.alice, request(over));
  await site.settled();
  return group.leases[0]?.id ?? '';
};
const see = async (id: string) => (await site.manager.leases.describe(site.admin, { ids: [id] }))[0];
const nodeUse = () => site.db.query(statement<{ memory: number; cores: number }>('test-use', 'SELECT sum(memory_used)::int AS memory, sum(cores_used)::int AS cores FROM vmm_node'));
const held = () => site.db.query(statement<{ memory: number; cores: number }>('test-held', 'SELECT coalesce(sum(memory_mb), 0)::int AS memory, coalesce(sum(cores), 0)::int AS cores FROM lease WHERE holding'));

beforeAll(async () => { site = await openTestSite(); });
afterAll(async () => { await site.close(); });
beforeEach(() => { site.control.answer = () => undefined; });

describe('a lease', () => {
  it('goes from create to Running with its phases, events and an open usage interval', async () => {
    const id = await one({ tags: { purpose: 'test' } });
    const lease = await see(id);
    expect(lease).toMatchObject({ state: 'Running', generation: 1, type: 'm1.small', zone: 'default', tags: { purpose: 'test' }, reach: { host: '127.0.0.1' } });
    expect(lease?.runningAt).toBeGreaterThanOrEqual(lease?.createdAt ?? Infinity);
    expect(Object.keys(lease?.phases ?? {})).toEqual(expect.arrayContaining(['accepted', 'placed', 'received', 'propagated', 'started', 'recorded']));
    const events = await site.manager.leases.events(site.alice, id);
    expect(events.map((e) => e.trigger)).toEqual(['created', 'propagate-begun', 'propagated', 'start-begun', 'started']);
    expect(events[0]).toMatchObject({ who: 'alice', requestId: 'req-alice', to: 'Unpropagated' });
    expect(events.at(-1)).toMatchObject({ from: 'Starting', to: 'Running' });
  });

  it('is answered as everyone sees it then', async () => {
    site.control.answer = (_, r) => (r.op === 'start' ? 'silent' : undefined);
    const { leases } = await site.manager.leases.create(site.alice, request({ maxCount: 2, tags: { purpose: 'test', team: 'blue' }, durationS: 600, clientToken: 'as-everyone' }));
    expect(await site.manager.leases.describe(site.alice, { ids: leases.map((l) => l.id) })).toEqual(leases);
    expect((await site.manager.leases.create(site.alice, request({ maxCount: 2, tags: { purpose: 'test', team: 'blue' }, durationS: 600, clientToken: 'as-everyone' }))).leases).toEqual(leases);
    site.control.answer = () => undefined;
    await site.manager.leases.end(site.alice, leases.map((l) => l.id), '');
    await site.settled();
  });

  it('ends: room, address and interval are given back and the record is charged', async () => {
    const id = await one();
    const [change] = await site.manager.leases.end(site.alice, [id], 'enough');
    expect(change).toEqual({ id, before: 'Running', after: 'Ending', ran: true });
    await site.settled();
    expect(await see(id)).toMatchObject({ state: 'Terminated', reach: null, reasonCode: 'Client.UserInitiatedShutdown' });
    const [record] = await site.db.query(statement<{ closed: boolean; minutes: number; open: number }>('test-record', `
      SELECT closed_at IS NOT NULL AS closed, charged_minutes AS minutes,
             (SELECT count(*) FROM usage_interval WHERE lease_id = $1 AND stop_at IS NULL) AS open FROM usage_record WHERE lease_id = $1`), [id]);
    expect(record).toEqual({ closed: true, minutes: 1, open: 0 });
    expect(await nodeUse()).toEqual(await held());
  });

  it('may be ended twice, and an unknown or foreign id changes nothing', async () => {
    const id = await one();
    await expect(site.manager.leases.end(site.bob, [id], '')).rejects.toMatchObject({ code: 'LeaseNotFound' });
    await expect(site.manager.leases.end(site.alice, [id, 'i-00000000000000000'], '')).rejects.toMatchObject({ code: 'LeaseNotFound', message: expect.stringContaining('i-00000000000000000') });
    expect((await see(id))?.state).toBe('Running');
    await site.manager.leases.end(site.alice, [id], '');
    await site.settled();
    expect(await site.manager.leases.end(site.alice, [id], '')).toEqual([{ id, before: 'Terminated', after: 'Terminated', ran: true }]);
  });

  it('reboots, and refuses to when it is not running', async () => {
    const id = await one();
    await site.manager.leases.reboot(site.alice, [id]);
    await site.settled();
    expect(await see(id)).toMatchObject({ state: 'Running', generation: 2 });
    await site.manager.leases.end(site.alice, [id], '');
    await expect(site.manager.leases.reboot(site.alice, [id])).rejects.toMatchObject({ code: 'StateRefused' });
  });

  it('stays Running when the node refuses the reboot, and says why', async () => {
    const id = await one();
    site.control.answer = (_, r) => (r.op === 'reboot' ? { code: 'DriverFailed', message: 'no' } : undefined);
    await site.manager.leases.reboot(site.alice, [id]);
    await site.settled();
    expect(await see(id)).toMatchObject({ state: 'Running', reasonCode: 'Server.DriverFailed' });
  });

  it('whose start fails is Corrupted, cleaned up on the node, gives its room back, and can still be ended', async () => {
    site.control.answer = (_, r) => (r.op === 'start' ? { code: 'DriverFailed', message: 'qemu said no' } : undefined);
    const id = await one();
    expect(await see(id)).toMatchObject({ state: 'Corrupted', reasonCode: 'Server.DriverFailed', reason: expect.stringContaining('qemu said no') });
    expect([...site.control.node(1).seen, ...site.control.node(2).seen].some((r) => r.op === 'remove' && r.lease === id)).toBe(true);
    expect(await nodeUse()).toEqual(await held());
    await site.manager.leases.end(site.alice, [id], '');
    await site.settled();
    expect((await see(id))?.state).toBe('Terminated');
  });

  it('ends when its VM exits by itself', async () => {
    const id = await one();
    const nodeId = [1, 2].find((n) => site.control.node(n).vms.has(id)) ?? 0;
    site.control.exit(nodeId, id, 'the guest powered off');
    await site.control.reached((_, r) => r.op === 'remove' && r.lease === id);
    await site.settled();
    expect(await see(id)).toMatchObject({ state: 'Terminated', reasonCode: 'Client.InstanceInitiatedShutdown', reason: 'the guest powered off' });
  });

  it('is ended on time by the sweep, and not before', async () => {
    const id = await one({ durationS: 3600 });
    expect(await site.manager.work.sweep()).toBe(0);
    await site.db.query(statement('test-due', "UPDATE lease SET ends_at = now() - interval '1 s' WHERE id = $1"), [id]);
    expect(await site.manager.work.sweep()).toBe(1);
    await site.settled();
    expect(await see(id)).toMatchObject({ state: 'Terminated', reasonCode: 'Server.LeaseExpired' });
  });

  it('is extended and shortened within policy, with an event each', async () => {
    const id = await one({ durationS: 3600 });
    const before = await see(id);
    const [longer] = await site.manager.leases.setEnd(site.alice, [id], { durationS: 7200 });
    expect(longer?.endsAt).toBeGreaterThan(before?.endsAt ?? Infinity);
    const [shorter] = await site.manager.leases.setEnd(site.alice, [id], { durationS: 60 });
    expect(shorter?.endsAt).toBeLessThan(before?.endsAt ?? 0);
    const triggers = (await site.manager.leases.events(site.alice, id)).map((e) => e.trigger);
    expect(triggers.slice(-2)).toEqual(['extended', 'shortened']);
    await expect(site.manager.leases.setEnd(site.alice, [id], { durationS: 15 * 86_400 })).rejects.toMatchObject({ code: 'DurationRefused', reasons: [expect.stringContaining('lease.max_duration')] });
    await expect(site.manager.leases.setEnd(site.alice, [id], { endsAt: 0 })).rejects.toMatchObject({ code: 'DurationRefused' });
  });

  it('keeps the time asked as the user wrote it, and moves end and tags together or not at all', async () => {
    const id = await one({ durationS: 5400, tags: { 'nimbus:duration': '90m' } });
    expect((await see(id))?.tags).toEqual({ 'nimbus:duration': '90m' });
    await site.manager.tags.set(site.alice, [id], { 'nimbus:duration': 'PT3H', 'Name': 'n' }, { end: { durationS: 10_800 } });
    const moved = await see(id);
    expect(moved?.tags).toEqual({ 'nimbus:duration': 'PT3H', 'Name': 'n' });
    expect((moved?.endsAt ?? 0) - site.ctx.clock.now()).toBeGreaterThan(5_400_000);
    const events = await site.manager.leases.events(site.alice, id);
    const refused: Array<[Record<string, string>, object, object]> = [
      [{ 'nimbus:duration': '1h', 'x': 'v'.repeat(257) }, { end: { durationS: 3600 } }, { code: 'TagRefused' }],
      [Object.fromEntries(Array.from({ length: 49 }, (_, i) => [`k${i}`, ''])), { end: { durationS: 3600 } }, { code: 'TagLimit' }],
      [{ 'nimbus:duration': '900d', 'x': '' }, { end: { durationS: 900 * 86_400 } }, { code: 'DurationRefused' }],
      [{ 'nimbus:duration': '1h' }, { end: { durationS: 3600 }, dryRun: true }, { code: 'DryRun' }],
      [{ 'nimbus:duration': '1h' }, {}, { code: 'TagRefused' }],
    ];
    for (const [tags, options, fault] of refused) await expect(site.manager.tags.set(site.alice, [id], tags, options)).rejects.toMatchObject(fault);
    await expect(site.manager.tags.set(site.bob, [id], {}, { end: { durationS: 60 } })).rejects.toMatchObject({ code: 'LeaseNotFound' });
    await expect(one({ tags: { 'nimbus:duration': '90m' } })).rejects.toMatchObject({ code: 'TagRefused' });
    await site.manager.tags.remove(site.alice, [id], [{ key: 'nimbus:duration', value: undefined }]);
    expect(await see(id)).toMatchObject({ endsAt: moved?.endsAt, tags: { Name: 'n' } });
    expect(await site.manager.leases.events(site.alice, id)).toEqual(events);
  });

  it('shows its console to its owner only', async () => {
    const id = await one();
    expect((await site.manager.leases.console(site.alice, id)).bytes.toString()).toBe(`console of ${id}`);
    await expect(site.manager.leases.console(site.bob, id)).rejects.toMatchObject({ code: 'LeaseNotFound' });
  });
});

describe('create', () => {
  it('answers a repeated client token with the first group, and refuses it with another request', async () => {
    const first = await site.manager.leases.create(site.alice, request({ clientToken: 'tok-1', minCount: 2, maxCount: 2 }));
    const again = await site.manager.leases.create(site.alice, request({ clientToken: 'tok-1', minCount: 2, maxCount: 2 }));
    expect(again).toMatchObject({ id: first.id, repeated: true });
    expect(again.leases.map((l) => l.id)).toEqual(first.leases.map((l) => l.id));
    await expect(site.manager.leases.create(site.alice, request({ clientToken: 'tok-1' }))).rejects.toMatchObject({ code: 'TokenMismatch' });
    const bobs = await site.manager.leases.create(site.bob, request({ clientToken: 'tok-1', minCount: 2, maxCount: 2 }));
    expect(bobs.id).not.toBe(first.id);
    await site.settled();
  });

  it('makes one group of twenty equal tokens sent at once', async () => {
    const groups = await Promise.all(Array.from({ length: 20 }, () => site.manager.leases.create(site.alice, request({ clientToken: 'tok-many' }))));
    expect(new Set(groups.map((g) => g.id)).size).toBe(1);
    expect(groups.filter((g) => !g.repeated)).toHaveLength(1);
    await site.settled();
  });

  it('is all or none: a group that does not fit leaves nothing and names each node’s reason', async () => {
    const before = await nodeUse();
    const refused = site.manager.leases.create(site.alice, request({ minCount: 90, maxCount: 90, type: 'm1.small' }));
    await expect(refused).rejects.toMatchObject({ code: 'NoCapacity', reasons: expect.arrayContaining([expect.stringContaining('n1'), expect.stringContaining('n2')]) });
    expect(await nodeUse()).toEqual(before);
  });

  it('refuses what the site does not have, each with its code', async () => {
    const cases: Array<[Partial<CreateRequest>, string]> = [
      [{ image: 'ami-00000000000000000' }, 'ImageNotFound'], [{ image: '../../etc/passwd' }, 'ImageIdMalformed'], [{ type: 'x9.huge' }, 'TypeUnknown'],
      [{ keyName: 'none' }, 'KeyPairNotFound'], [{ zone: 'mars' }, 'ZoneUnknown'], [{ networks: ['nowhere'] }, 'NetworkNotFound'],
      [{ durationS: 10 ** 9 }, 'DurationRefused'], [{ minCount: 101, maxCount: 101 }, 'TooMany'], [{ userData: Buffer.alloc(16_385) }, 'UserDataMalformed'],
    ];
    for (const [over, code] of cases) {
      await expect(site.manager.leases.create(site.alice, request(over)), code).rejects.toMatchObject({ code });
    }
  });

  it('with dryRun checks everything and writes nothing', async () => {
    const count = async () => (await site.manager.leases.describe(site.alice, {})).length;
    const before = await count();
    await expect(site.manager.leases.create(site.alice, request(), { dryRun: true })).rejects.toMatchObject({ code: 'DryRun' });
    await expect(site.manager.leases.create(site.alice, request({ type: 'x' }), { dryRun: true })).rejects.toMatchObject({ code: 'TypeUnknown' });
    expect(await count()).toBe(before);
  });

  it('never oversubscribes under concurrent creates and ends', async () => {
    const results = await Promise.allSettled(Array.from({ length: 60 }, (_, i) =>
      site.manager.leases.create(i % 2 === 0 ? site.alice : site.bob, request({ type: 'm1.large' }))));
    const refused = results.filter((r) => r.status === 'rejected');
    expect(refused.every((r) => r.reason instanceof Fault && r.reason.code === 'NoCapacity')).toBe(true);
    await site.settled();
    expect(await nodeUse()).toEqual(await held());
    const mine = await site.manager.leases.describe(site.admin, { live: true });
    await site.manager.leases.end(site.admin, mine.map((l) => l.id), 'end of test');
    await site.settled();
    expect(await nodeUse()).toEqual([{ memory: 0, cores: 0 }]);
  });
});

describe('one user', () => {
  it('never sees another’s leases, by list or by id', async () => {
    const id = await one();
    expect((await site.manager.leases.describe(site.bob, {})).map((l) => l.id)).not.toContain(id);
    await expect(site.manager.leases.describe(site.bob, { ids: [id] })).rejects.toMatchObject({ code: 'LeaseNotFound' });
    await expect(site.manager.leases.describe(site.bob, { account: 'alice' })).rejects.toMatchObject({ code: 'NotAuthorized' });
    expect((await site.manager.leases.describe(site.admin, { account: 'alice' })).map((l) => l.id)).toContain(id);
  });
});

describe('an absent node', () => {
  it('gets its open requests when it comes back, and a VM that is gone ends its lease', async () => {
    const kept = await one();
    const nodeId = [1, 2].find((n) => site.control.node(n).vms.has(kept)) ?? 0;
    const other = nodeId === 1 ? 2 : 1;
    site.control.setUp(nodeId, false);
    await site.manager.leases.end(site.alice, [kept], '');
    await new Promise((resolve) => setImmediate(resolve));
    expect((await see(kept))?.state).toBe('Ending');
    const elsewhere = await one();
    expect(site.control.node(other).vms.has(elsewhere)).toBe(true);
    const removed = site.control.reached((n, r) => n === nodeId && r.op === 'remove' && r.lease === kept);
    site.control.setUp(nodeId, true);
    await removed;
    await site.settled();
    expect((await see(kept))?.state).toBe('Terminated');

    site.control.setUp(other, false);
    site.control.node(other).vms.delete(elsewhere);
    const cleaned = site.control.reached((n, r) => n === other && r.op === 'remove' && r.lease === elsewhere);
    site.control.setUp(other, true);
    await cleaned;
    await site.settled();
    expect(await see(elsewhere)).toMatchObject({ state: 'Terminated', reason: expect.stringContaining('gone') });
  });

  it('loses VMs that no live lease knows when it is seen again', async () => {
    const stray = { lease: 'i-0123456789abcdef0', generation: 4, state: 'running' as const, memoryMb: 128, cores: 1, image: '', pid: 1, reach: null, startedAt: 0, reason: null };
    site.control.setUp(1, false);
    site.control.node(1).vms.set(stray.lease, stray);
    const removed = site.control.reached((n, r) => n === 1 && r.op === 'remove' && r.lease === stray.lease);
    site.control.setUp(1, true);
    expect(await removed).toMatchObject({ generation: 5 });
  });
});
