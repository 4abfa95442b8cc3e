/** Policies on a whole site but its agents: what creates, ensembles and later ends are held to. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import type { CreateRequest } from '../../src/lease/types.ts';
import type { Bounds } from '../../src/authorization/settings.ts';
import type { PolicyChange } from '../../src/manager/admin-types.ts';
import type { Caller } from '../../src/manager/types.ts';
import { statement } from '../../src/store/db.ts';
import { removeAccount } from '../../src/store/users.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { FakeLrm } from '../support/fake-lrm.ts';
import { expectInvariants } from '../support/invariants.ts';
import { policiesOf, type SitePolicies } from '../support/policies.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
let policies: SitePolicies;
let held: TestDatabase;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(async () => { await held.close(); });

async function open(options: Parameters<typeof openTestSite>[0] = {}): Promise<void> {
  site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 65_536, cores: 200, zone: 'east' }, { name: 'n2', memoryMb: 65_536, cores: 200, zone: 'west' }], ...options });
  policies = policiesOf(site);
}
beforeEach(() => open());
afterEach(async () => { await site.close(); });

const request = (over: Partial<CreateRequest> = {}): CreateRequest => ({ minCount: 1, maxCount: 1, image: 'guest', type: 'm1.small', ...over });
const create = (caller: Caller, over: Partial<CreateRequest> = {}) => site.manager.leases.create(caller, request(over));
const ids = async (caller: Caller, over: Partial<CreateRequest> = {}): Promise<string[]> => (await create(caller, over)).leases.map((l) => l.id);
async function end(caller: Caller, which: readonly string[]): Promise<void> {
  await site.manager.leases.end(caller, which, 'test');
  await site.settled();
}

describe('a template', () => {
  beforeEach(async () => {
    await policies.set('students', { leases: 3, cores: 4, memory_mb: 1024 });
    await policies.assign('students', 'alice');
  });

  it('counts each of its users alone, and gives room back when leases end', async () => {
    await policies.assign('students', 'bob');
    const first = await ids(site.alice, { minCount: 3, maxCount: 3 });
    await expect(create(site.alice)).rejects.toMatchObject({ code: 'TooMany', ec2: 'InstanceLimitExceeded', reasons: ['policy students: leases: limit 3, used 3, asked 1'] });
    expect(await ids(site.bob, { minCount: 3, maxCount: 3 })).toHaveLength(3);
    await site.settled();
    await end(site.alice, first);
    expect(await ids(site.alice)).toHaveLength(1);
    await site.settled();
    await expectInvariants(site);
  });

  it('bounds what "up to so many" gets by whatever runs out first', async () => {
    expect(await ids(site.alice, { type: 'm1.large', minCount: 1, maxCount: 50 })).toHaveLength(2);
    await site.settled();
  });

  it('names every check that fails', async () => {
    await expect(create(site.alice, { type: 'm1.xlarge', minCount: 4, maxCount: 4 })).rejects.toMatchObject({ reasons: [
      'policy students: leases: limit 3, used 0, asked 4', 'policy students: cores: limit 4, used 0, asked 16', 'policy students: memory_mb: limit 1024 MiB, used 0 MiB, asked 4096 MiB',
    ] });
  });

  it('is of who has it; another takes its place, the default one is of the others', async () => {
    await policies.set('staff', { leases: 4 });
    await policies.set('default', { leases: 1 });
    expect(await policies.admin.assign('staff', 'alice')).toMatchObject({ instead: 'students', changed: true });
    expect(await policies.admin.assign('staff', 'alice')).toMatchObject({ instead: null, changed: false });
    await ids(site.alice, { minCount: 4, maxCount: 4 });
    await expect(create(site.bob, { minCount: 2, maxCount: 2 })).rejects.toMatchObject({ reasons: ['policy default: leases: limit 1, used 0, asked 2'] });
    await policies.admin.unassign('staff', 'alice');
    await expect(create(site.alice)).rejects.toMatchObject({ reasons: ['policy default: leases: limit 1, used 4, asked 1'] });
    await site.settled();
  });

  it('holds for dry runs too', async () => {
    await expect(site.manager.leases.create(site.alice, request({ minCount: 4, maxCount: 4 }), { dryRun: true })).rejects.toMatchObject({ code: 'TooMany' });
    await expect(site.manager.leases.create(site.alice, request(), { dryRun: true })).rejects.toMatchObject({ code: 'DryRun' });
  });

  it('counts the groups of an ensemble together', async () => {
    const ensemble = (...sizes: number[]) => site.manager.leases.createEnsemble(site.alice, sizes.map((n) => request({ minCount: n, maxCount: n })));
    await expect(ensemble(2, 2)).rejects.toMatchObject({ code: 'TooMany', reasons: ['policy students: leases: limit 3, used 0, asked 4'] });
    expect((await ensemble(2, 1)).map((g) => g.leases.length)).toEqual([2, 1]);
    await site.settled();
  });

  it('does not keep a client token from its first answer', async () => {
    const first = await create(site.alice, { minCount: 3, maxCount: 3, clientToken: 'once' });
    await policies.set('students', { leases: 0 });
    expect(await create(site.alice, { minCount: 3, maxCount: 3, clientToken: 'once' })).toMatchObject({ id: first.id, repeated: true });
    await site.settled();
  });
});

it('a group counts all of its users together, the site all users', async () => {
  await policies.set('physics', { leases: 3 }, 'group');
  await policies.assign('physics', 'alice', 'bob');
  await policies.set('site', { cores: 5 });
  await ids(site.alice, { minCount: 2, maxCount: 2 });
  await expect(create(site.bob, { minCount: 2, maxCount: 2 })).rejects.toMatchObject({ reasons: ['policy physics: leases: limit 3, used 2, asked 2'] });
  await ids(site.bob);
  await expect(create(site.admin, { type: 'm1.xlarge' })).rejects.toMatchObject({ reasons: ['policy site: cores: limit 5, used 3, asked 4'] });
  await site.settled();
  expect((await policies.admin.show('physics')).use).toMatchObject({ leases: 3, cores: 3 });
  await expectInvariants(site);
});

it('what requests name must be allowed; who names no zone gets an allowed one', async () => {
  await policies.set('default', { images: ['common/guest'], types: ['m1.s*'], networks: ['public'], zones: ['west'] });
  const group = await create(site.alice, { minCount: 2, maxCount: 2 });
  expect(group.leases.map((l) => l.zone)).toEqual(['west', 'west']);
  await expect(create(site.alice, { zone: 'east' })).rejects.toMatchObject({ code: 'NotAuthorized', ec2: 'UnauthorizedOperation', reasons: ['policy default: zones: limit west, asked east'] });
  await expect(create(site.alice, { type: 'm1.large' })).rejects.toMatchObject({ code: 'NotAuthorized', reasons: ['policy default: types: limit m1.s*, asked m1.large'] });
  await policies.set('default', { images: ['~/*'], networks: ['lab-*'] });
  await expect(create(site.alice)).rejects.toMatchObject({ code: 'NotAuthorized', reasons: ['policy default: images: limit ~/*, asked common/guest', 'policy default: networks: limit lab-*, asked public'] });
  await site.settled();
});

it('a change holds for the next request', async () => {
  await policies.set('site', { leases: 0 });
  await expect(create(site.alice)).rejects.toMatchObject({ code: 'TooMany' });
  await policies.set('site', { leases: 1 });
  await create(site.alice);
  await policies.set('site', { leases: 0 });
  await expect(create(site.alice)).rejects.toMatchObject({ code: 'TooMany' });
  await policies.admin.remove('site');
  await create(site.alice);
  await site.settled();
});

describe('time', () => {
  it('who does not say how long gets what the policy allows', async () => {
    await policies.set('default', { duration: 7200 });
    const { leases: [lease] } = await create(site.alice);
    expect((lease?.endsAt ?? 0) - (lease?.createdAt ?? 0)).toBe(7_200_000);
    await expect(create(site.alice, { durationS: 7201 })).rejects.toMatchObject({ code: 'DurationRefused', reasons: ['policy default: duration: limit 2h, asked 2h1s'] });
    await site.settled();
  });

  it('a later end is held to the policies of its owner, whoever asks as him; a sooner one is not', async () => {
    await policies.set('default', { duration: 7200, may_extend: false });
    const [id = ''] = await ids(site.alice, { durationS: 3600 });
    const move = (caller: Caller, durationS: number) => site.manager.leases.setEnd(caller, [id], { durationS });
    await expect(move(site.alice, 3700)).rejects.toMatchObject({ code: 'NotAuthorized', message: 'A later end is not within the policy default', reasons: ['policy default: may_extend: limit no, asked a later end'] });
    await move(site.alice, 600);
    await policies.set('default', { duration: 7200 });
    await move(site.alice, 3700);
    await expect(move(site.alice, 7300)).rejects.toMatchObject({ code: 'DurationRefused' });
    await expect(site.manager.tags.set(site.alice, [id], { 'nimbus:duration': '3h' }, { end: { durationS: 10_800 } })).rejects.toMatchObject({ code: 'DurationRefused' });
    await move(site.admin, 10_000);
    await site.settled();
    await expectInvariants(site);
  });
});

describe('minutes', () => {
  it('reserved ones count what was charged in the period, what lives, and what is asked', async () => {
    await policies.set('default', { reserved_minutes: 200, period: '7d' });
    await site.db.query(statement('test-days', "SELECT charge($1, (now() AT TIME ZONE 'UTC')::date - d, m) FROM (VALUES (0, 50), (7, 1000), (6, 30)) AS x(d, m)"), [site.alice.accountId]);
    const [id = ''] = await ids(site.alice, { durationS: 6000 });
    await expect(create(site.alice, { durationS: 1260 })).rejects.toMatchObject({ reasons: ['policy default: reserved_minutes: limit 200 minutes, used 180 minutes, asked 21 minutes'] });
    await create(site.alice, { durationS: 600 });
    await expect(site.manager.leases.setEnd(site.alice, [id], { durationS: 6900 })).rejects.toMatchObject({ code: 'TooMany', message: 'A later end is not within the policy default' });
    await site.manager.leases.setEnd(site.alice, [id], { durationS: 6300 });
    await site.settled();
    await site.db.query(statement('test-forget-days', 'WITH d AS (DELETE FROM usage_day), s AS (DELETE FROM usage_site_day) UPDATE account_use SET charged_minutes = 0'));
    await expectInvariants(site);
  });

  it('used ones count running leases from their first minute', async () => {
    await policies.set('default', { used_minutes: 2 });
    const [id = ''] = await ids(site.alice);
    await site.settled();
    await create(site.alice);
    await site.settled();
    // Time passes for one of them.
    await site.db.query(statement('test-older', "UPDATE lease SET running_at = running_at - interval '90 seconds' WHERE id = $1"), [id]);
    await expect(create(site.alice)).rejects.toMatchObject({ code: 'TooMany', reasons: ['policy default: used_minutes: limit 2 minutes, used 3 minutes, asked more'] });
    await policies.set('physics', { used_minutes: 3 }, 'group');
    await policies.assign('physics', 'alice', 'bob');
    await policies.set('site', { used_minutes: 3 });
    await expect(create(site.bob)).rejects.toMatchObject({ reasons: ['policy site: used_minutes: limit 3 minutes, used 3 minutes, asked more', 'policy physics: used_minutes: limit 3 minutes, used 3 minutes, asked more'] });
  });

  it('what a lease was charged is counted on the day of its end', async () => {
    const [id = ''] = await ids(site.alice);
    await site.settled();
    await end(site.alice, [id]);
    const days = await site.db.query(statement<{ minutes: number }>('test-usage-days', 'SELECT total AS minutes FROM usage_day WHERE account_id = $1'), [site.alice.accountId]);
    expect(days).toEqual([{ minutes: 1 }]);
    await policies.set('default', { reserved_minutes: 1 });
    await expect(create(site.alice, { durationS: 60 })).rejects.toMatchObject({ reasons: ['policy default: reserved_minutes: limit 1 minutes, used 1 minutes, asked 1 minutes'] });
  });
});

it('leases that wait for a borrowed node count', async () => {
  await site.close();
  const lrm = new FakeLrm();
  await open({ lrm, config: { scheduler: { mode: 'pilot' } }, nodes: [] });
  await policies.set('default', { leases: 2, reserved_minutes: 100, zones: ['batch'] });
  const [id = ''] = await ids(site.alice, { durationS: 3000 });
  expect((await site.manager.leases.describe(site.alice, { ids: [id] }))[0]?.state).toBe('Pending');
  await expect(create(site.alice, { minCount: 2, maxCount: 2, durationS: 3000 })).rejects.toMatchObject({ reasons: [
    'policy default: leases: limit 2, used 1, asked 2', 'policy default: reserved_minutes: limit 100 minutes, used 50 minutes, asked 100 minutes',
  ] });
  await policies.set('default', { zones: ['east'] });
  await expect(create(site.alice)).rejects.toMatchObject({ code: 'NotAuthorized', reasons: ['policy default: zones: limit east, asked any'] });
  await end(site.alice, [id]);
  expect((await policies.admin.explain(site.admin, 'alice', { ...request({ zone: 'batch' }), minCount: 1, maxCount: 1 })).checks.find((c) => c.bound === 'leases')).toMatchObject({ used: 0 });
});

describe('administration', () => {
  it('finds every mistake at once, and keeps what stood', async () => {
    await policies.set('students', { leases: 1 });
    await expect(policies.admin.set('students', { bounds: { leases: -1, cores: 'x', nodes: 3 }, replace: false })).rejects.toMatchObject({ code: 'ParameterInvalid', reasons: [
      'leases: must be 0 or more', 'cores: must be a whole number', expect.stringMatching(/^unknown bound nodes; there are leases, cores, /) as string,
    ] });
    const period = 'period: says over what reserved_minutes and used_minutes are counted; set one of them';
    const mistakes: ReadonlyArray<readonly [string, PolicyChange, readonly string[]]> = [
      ['students', { bounds: { period: '7d' }, replace: false }, [period]],
      ['students', { bounds: { leases: -1, period: '7d' }, replace: false }, ['leases: must be 0 or more', period]],
      ['students', { bounds: { period: '36h' }, replace: false }, ['period: must be whole days, up to 366d', period]],
      ['students', { bounds: { period: '36h', used_minutes: -1 }, replace: false }, ['used_minutes: must be 0 or more', 'period: must be whole days, up to 366d']],
      ['site', { kind: 'group', bounds: { leases: -1 }, replace: false }, ['kind: the policy of kind site is called site, and no other is; site cannot be of kind group', 'leases: must be 0 or more']],
      ['default', { kind: 'group', bounds: { leases: -1 }, replace: false }, ['kind: the policy default is the template of users who have no other; it cannot be of kind group', 'leases: must be 0 or more']],
      ['a b', { kind: 'planet', description: 'two\nlines', bounds: { leases: -1, period: '7d' }, replace: true }, [
        'a policy name is 1 to 64 letters, digits, ".", "_" or "-"', 'kind: must be template, group or site', 'description: must be one line', 'leases: must be 0 or more', period]],
      ['students', { kind: 5, description: true, bounds: { images: ['a b', 'c d'], nodes: 3 }, replace: true }, [
        'kind: must be template, group or site', 'description: must be a text', expect.stringMatching(/^images\.0: /) as string, expect.stringMatching(/^images\.1: /) as string, expect.stringMatching(/^unknown bound nodes/) as string]],
    ];
    for (const [name, change, reasons] of mistakes) {
      await expect(policies.admin.set(name, change), JSON.stringify(change)).rejects.toMatchObject({ code: 'ParameterInvalid', message: 'The policy has mistakes.', reasons });
    }
    expect(await policies.admin.show('students')).toMatchObject({ kind: 'template', description: '', bounds: { leases: 1 } });
  });

  it('changes some bounds, takes some away, or replaces all', async () => {
    await policies.set('students', { leases: 1, cores: 2 });
    expect((await policies.admin.set('students', { bounds: { leases: null, duration: '8h' }, replace: false })).bounds).toEqual({ cores: 2, duration: 28_800 });
    expect((await policies.admin.set('students', { bounds: { images: ['*'] }, replace: true })).bounds).toEqual({ images: ['*'] });
  });

  it('refuses what cannot be', async () => {
    await policies.set('physics', { leases: 1 }, 'group');
    await policies.assign('physics', 'alice');
    await expect(policies.admin.remove('physics')).rejects.toMatchObject({ code: 'PolicyInUse', reasons: ['user alice has it'] });
    await expect(policies.set('physics', {}, 'template')).rejects.toMatchObject({ code: 'PolicyInUse' });
    await expect(policies.set('other', {}, 'site')).rejects.toMatchObject({ code: 'ParameterInvalid' });
    await expect(policies.set('default', {}, 'group')).rejects.toMatchObject({ code: 'ParameterInvalid' });
    await policies.set('site', {});
    await expect(policies.assign('site', 'alice')).rejects.toMatchObject({ code: 'ParameterInvalid' });
    await expect(policies.assign('nobody', 'alice')).rejects.toMatchObject({ code: 'PolicyNotFound' });
    await expect(policies.assign('physics', 'carol')).rejects.toMatchObject({ code: 'UserNotFound' });
    await expect(policies.admin.show('nobody')).rejects.toMatchObject({ code: 'PolicyNotFound' });
  });
});

it('a user who is removed has no policies any more', async () => {
  await policies.set('physics', { leases: 1 }, 'group');
  await policies.assign('physics', 'bob');
  await site.db.query(removeAccount, [site.bob.accountId, new Date()]);
  expect((await policies.admin.show('physics')).users).toEqual([]);
  await policies.admin.remove('physics');
});

describe('explain', () => {
  it('shows each check, the configuration’s too, and makes nothing', async () => {
    await policies.set('students', { leases: 4, duration: 28_800, types: ['m1.*'] });
    await policies.assign('students', 'alice');
    await ids(site.alice);
    const e = await policies.admin.explain(site.admin, 'alice', request({ minCount: 4, maxCount: 4, durationS: 30_000 }));
    expect(e).toMatchObject({ user: 'alice', allowed: false, leases: 0, site: null });
    expect(e.checks.map((c) => [c.policy, c.bound, c.limit, c.used, c.asked, c.ok])).toEqual([
      ['students', 'types', ['m1.*'], null, ['m1.small'], true],
      ['configuration', 'duration', 14 * 86_400, null, 30_000, true],
      ['students', 'duration', 28_800, null, 30_000, false],
      ['configuration', 'group_size', 100, null, 4, true],
      ['configuration', 'leases', 10_000, 1, 4, true],
      ['students', 'leases', 4, 1, 4, false],
    ]);
    expect(await policies.admin.explain(site.admin, 'alice', request({ maxCount: 9 }))).toMatchObject({ allowed: true, leases: 3, durationS: 28_800 });
    await site.settled();
  });

  it('agrees with create, whatever the policies and the request', async () => {
    const bound = (most: number) => fc.option(fc.nat(most), { nil: undefined });
    const arbBounds = fc.record({
      leases: bound(8), cores: bound(16), memory_mb: bound(2048), group_size: bound(4), duration: fc.option(fc.integer({ min: 60, max: 7200 }), { nil: undefined }), reserved_minutes: bound(400),
      zones: fc.constantFrom(undefined, ['east'], ['north'], ['*']), types: fc.constantFrom(undefined, ['m1.small'], ['m1.*']), images: fc.constantFrom(undefined, ['common/*'], ['~/*', 'guest']),
    });
    const arbRequest = fc.record({
      minCount: fc.integer({ min: 1, max: 3 }), more: fc.nat(3), type: fc.constantFrom('m1.small', 'm1.large'), zone: fc.constantFrom(undefined, 'east', 'west'),
      durationS: fc.constantFrom(undefined, 60, 1800, 5000),
    }).map(({ more, ...r }) => request({ ...r, maxCount: r.minCount + more }));
    await policies.set('physics', {}, 'group');
    await policies.assign('physics', 'alice', 'bob');
    const clean = (b: object): Bounds => Object.fromEntries(Object.entries(b).filter(([, v]) => v !== undefined));
    await fc.assert(fc.asyncProperty(arbBounds, arbBounds, arbBounds, fc.array(fc.tuple(fc.boolean(), arbRequest), { minLength: 1, maxLength: 4 }), async (template, group, all, asks) => {
      await policies.set('default', clean(template));
      await policies.set('physics', clean(group), 'group');
      await policies.set('site', clean(all));
      for (const [whose, ask] of asks) {
        const caller = whose ? site.alice : site.bob;
        const e = await policies.admin.explain(site.admin, caller.name, ask);
        const made = await site.manager.leases.create(caller, ask).catch((error: Error) => error);
        if (made instanceof Error) expect({ made: made.message, allowed: e.allowed }).toMatchObject({ allowed: false });
        else expect({ leases: made.leases.length, allowed: true }).toEqual({ leases: e.leases, allowed: e.allowed });
      }
      const live = [...await site.manager.leases.describe(site.admin, { live: true })].map((l) => l.id);
      if (live.length > 0) await end(site.admin, live);
    }), { numRuns: 15 });
    await expectInvariants(site);
  });
});

it('the figure that EC2 clients see is the least of the limits', async () => {
  expect(await site.manager.site.limits(site.alice)).toEqual({ maxInstances: 10_000 });
  await policies.set('default', { leases: 7 });
  expect(await site.manager.site.limits(site.alice)).toEqual({ maxInstances: 7 });
});
