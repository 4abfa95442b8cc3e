/** `nimbus policy` and `nimbus usage sinks`, against the real door with a scripted manager. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildCli } from '../../src/cli/program.ts';
import { Fault } from '../../src/lease/faults.ts';
import type { Explanation, PolicyView, UsageSinkView } from '../../src/manager/admin-types.ts';
import { realClock } from '../../src/platform/real.ts';
import { openFakeSite, type FakeSite } from '../support/admin-fakes.ts';

let site: FakeSite;
beforeEach(async () => { site = await openFakeSite(); });
afterEach(() => site.close());

const notHere = (): Promise<never> => Promise.reject(new Error('not here'));

async function nimbus(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const ran = { code: -1, out: '', err: '' };
  const cli = buildCli({
    io: { out: (t) => { ran.out += t; }, err: (t) => { ran.err += t; }, width: 80, watched: false, ask: () => Promise.resolve(null) },
    clock: { ...realClock, now: () => 3_600_000 }, env: { NIMBUS_DATA: site.dataDir }, serve: notHere, installer: { install: notHere }, keyRotation: notHere,
    withoutService: { open: notHere, killJobs: notHere, doctor: notHere, fsck: notHere, backup: notHere, restore: notHere },
  });
  ran.code = await cli.run(['node', 'nimbus', ...argv]);
  return ran;
}
const widest = (text: string): number => Math.max(...text.split('\n').map((l) => [...l].length));
const policy = (over: Partial<PolicyView> = {}): PolicyView => ({ name: 'students', kind: 'template', description: '', bounds: { leases: 4, duration: 28_800, images: ['common/*'] }, users: ['alice'], changedAt: 0, ...over });

describe('policy set', () => {
  test('sends what was typed, as the kind of value that each key has', async () => {
    site.on('policies.set', () => policy());
    const { code, out } = await nimbus('policy', 'set', 'students', 'leases=4', 'duration=8h', 'images=common/*,~/*', 'may_extend=false', 'cores=', '--kind', 'group', '--description', 'all of them');
    expect(code).toBe(0);
    expect(site.calls).toEqual([{ name: 'policies.set', args: ['students', {
      bounds: { leases: 4, duration: '8h', images: ['common/*', '~/*'], may_extend: false, cores: null }, replace: false, kind: 'group', description: 'all of them',
    }] }]);
    expect(out).toBe('students (template) holds from the next request on\n\nleases = 4\nduration = "8h"\nimages = ["common/*"]\n');
  });

  test('takes the example as a file, whole', async () => {
    site.on('policies.set', () => policy());
    expect((await nimbus('policy', 'set', 'students', '--file', fileURLToPath(new URL('../../etc/examples/students.toml', import.meta.url)))).code).toBe(0);
    expect(site.calls[0]?.args[1]).toMatchObject({ replace: true, kind: 'template', description: 'each student by himself', bounds: { leases: 4, duration: '8h', may_extend: false, types: ['m1.small', 'm1.large'] } });
  });

  test.each([
    [['leases'], '"leases" is no KEY=VALUE; write e.g. leases=4, or leases= to take the bound away'],
    [['leases', 'a=1', '=2'], '"leases", "=2" are no KEY=VALUE'],
    [['leases=1', '--file', 'x.toml'], 'choose --file or KEY=VALUE'],
    [['--file', '/no/such/file.toml'], '/no/such/file.toml: cannot be read'],
  ])('%j is a mistake of the command line', async (args, message) => {
    const { code, err } = await nimbus('policy', 'set', 'students', ...args);
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(message) as string });
    expect(site.calls).toEqual([]);
  });

  test('a file that is no TOML is said with its line', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'policy-'));
    writeFileSync(join(dir, 'p.toml'), 'leases = 4\ncores =\n');
    expect(await nimbus('policy', 'set', 'students', '--file', join(dir, 'p.toml'))).toMatchObject({ code: 2, err: expect.stringContaining('p.toml: line 2: ') as string });
    rmSync(dir, { recursive: true });
  });

  test('a wrong kind reaches who tells every mistake', async () => {
    site.on('policies.set', () => { throw new Fault('ParameterInvalid', 'The policy has mistakes.', ['kind: …', 'leases: …']); });
    expect(await nimbus('policy', 'set', 'students', '--kind', 'planet', 'leases=-1')).toMatchObject({ code: 1, err: 'nimbus: The policy has mistakes. (ParameterInvalid)\n  kind: …\n  leases: …\n' });
    expect(site.calls[0]?.args).toEqual(['students', { kind: 'planet', bounds: { leases: -1 }, replace: false }]);
  });

  test('refusals are shown with every mistake', async () => {
    site.on('policies.set', () => { throw new Fault('ParameterInvalid', 'The policy has mistakes.', ['leases: must be 0 or more', 'unknown bound x']); });
    expect(await nimbus('policy', 'set', 'students', 'leases=-1')).toEqual({ code: 1, out: '', err: 'nimbus: The policy has mistakes. (ParameterInvalid)\n  leases: must be 0 or more\n  unknown bound x\n' });
  });
});

test('policy list fits, and says who is counted', async () => {
  site.on('policies.list', () => [policy({ name: 'site', kind: 'site', users: [] }), policy({ name: 'n'.repeat(64), description: 'd'.repeat(99) }), policy({ name: 'default', users: [] })]);
  const { out } = await nimbus('policy', 'list');
  expect(widest(out)).toBeLessThanOrEqual(80);
  expect(out).toMatch(/^site +site +all +leases=4/m);
  expect(out).toMatch(/^default +template +others/m);
  site.on('policies.list', () => []);
  expect((await nimbus('policy', 'list')).out).toContain('nimbus policy set NAME KEY=VALUE');
});

test('policy show prints what set --file takes', async () => {
  site.on('policies.show', () => ({ ...policy({ kind: 'group', users: ['alice', 'bob'] }), use: { leases: 3, cores: 6, memoryMb: 512, reservedMinutes: 90, usedMinutes: 40 } }));
  expect((await nimbus('policy', 'show', 'students')).out).toBe('# students, of users: alice, bob\n# in use: 3 leases, 6 cores, 512 MiB; 40 minutes used, 90 reserved\nkind = "group"\nleases = 4\nduration = "8h"\nimages = ["common/*"]\n');
});

test('assign and unassign report each user', async () => {
  site.on('policies.assign', ((name: string, user: string) => {
    if (user === 'carol') throw new Fault('UserNotFound', 'No user is named carol');
    return { policy: name, user, instead: user === 'bob' ? 'staff' : null, changed: user !== 'dave' };
  }) as never);
  site.on('policies.unassign', ((name: string, user: string) => ({ policy: name, user, instead: null, changed: user === 'alice' })) as never);
  expect(await nimbus('policy', 'assign', 'students', 'alice', 'carol', 'bob', 'dave')).toEqual({
    code: 1, out: 'alice has students\nbob has students instead of staff\ndave has students already\n', err: 'carol: No user is named carol (UserNotFound)\n',
  });
  expect((await nimbus('policy', 'unassign', 'students', 'alice', 'bob')).out).toBe('alice has students no more\nbob had not students\n');
});

describe('policy explain', () => {
  const answer = (over: Partial<Explanation> = {}): Explanation => ({
    user: 'alice', allowed: false, leases: 0, durationS: 28_800, site: null, checks: [
      { policy: 'students', bound: 'images', limit: ['common/*'], used: null, asked: ['common/debian-12'], ok: true },
      { policy: 'configuration', bound: 'leases', limit: 10_000, used: 3, asked: 4, ok: true },
      { policy: 'students', bound: 'leases', limit: 4, used: 3, asked: 4, ok: false },
      { policy: 'students', bound: 'duration', limit: 28_800, used: null, asked: 43_200, ok: false },
    ], ...over,
  });

  test('asks for what was typed and shows each check', async () => {
    site.on('policies.explain', () => answer());
    const { code, out } = await nimbus('policy', 'explain', 'alice', '--count', '4', '--max', '6', '--type', 'm1.large', '--image', 'debian-12', '--duration', '12h', '--networks', 'public,lab', '--zone', 'east', '--tag', 'project=x');
    expect(code).toBe(0);
    expect(site.calls[0]?.args.slice(1)).toEqual(['alice', { minCount: 4, maxCount: 6, type: 'm1.large', image: 'debian-12', durationS: 43_200, networks: ['public', 'lab'], zone: 'east', tags: { project: 'x' } }]);
    expect(out).toBe(`POLICY       BOUND     LIMIT     USED  ASKED             VERDICT
students     images    common/*  -     common/debian-12  ok
nimbus.toml  leases    10000     3     4                 ok
students     leases    4         3     4                 refused
students     duration  8h        -     12h               refused

alice may not have this: 2 checks refuse it.
`);
  });

  test('says how many there would be, and what the site says', async () => {
    site.on('policies.explain', () => answer({ allowed: true, leases: 1, checks: [], site: { allowed: true, reasons: [], failure: 'it did not answer within 2000 ms' } }));
    expect((await nimbus('policy', 'explain', 'alice')).out).toContain("The site's own decision: allowed (no answer: it did not answer within 2000 ms)\n\nalice may have this lease for 8h, where there is room.\n");
    expect(site.calls[0]?.args[2]).toEqual({ minCount: 1, maxCount: 1, image: 'nimbus-guest', durationS: undefined });
  });

  test('--json is the answer as it came', async () => {
    site.on('policies.explain', () => answer());
    expect(JSON.parse((await nimbus('policy', 'explain', 'alice', '--json')).out)).toEqual(answer());
  });

  test('what cannot be asked is said with every mistake', async () => {
    const { code, err } = await nimbus('policy', 'explain', 'alice', '--count', '0', '--duration', 'soon', '--zone', 'a b');
    expect(code).toBe(1);
    for (const key of ['minCount', 'duration', 'zone']) expect(err).toContain(`  ${key}: `);
  });
});

test('usage sinks shows what waits; why goes to stderr', async () => {
  const sink = (over: Partial<UsageSinkView>): UsageSinkView => ({
    name: 'ledger', active: true, backlog: 0, next: null, delivered: 8, dropped: 0, attempts: 0, nextAt: 0, lastDeliveredAt: 60_000, lastError: null, lastErrorAt: null, ...over,
  });
  site.on('usage.sinks', () => [sink({}), sink({ name: 'audit', backlog: 5, attempts: 2, nextAt: 3_604_000, lastError: 'the ledger\nis closed', lastErrorAt: 60_000 }), sink({ name: 'old', active: false })]);
  const { out, err } = await nimbus('usage', 'sinks');
  expect(out).toMatch(/^ledger +ok +0 +8 +0 +1970-01-01 00:01Z +-$/m);
  expect(out).toMatch(/^audit +failing \(2\) +5 +8 +0 .* 4s$/m);
  expect(out).toMatch(/^old +not configured /m);
  expect(err).toMatch(/^audit: 1970-01-01 00:01Z the ledger.is closed\n$/);
  expect(widest(out)).toBeLessThanOrEqual(80);
  site.on('usage.sinks', () => []);
  expect((await nimbus('usage', 'sinks')).out).toContain('There are no accounting sinks');
});
