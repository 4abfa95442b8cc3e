/** `nimbus slot`, `kill-all`, `doctor`, waiting leases and breakdowns, against the real door with a scripted manager. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildCli } from '../../src/cli/program.ts';
import type { KillWait, OfflineSite, Place, WithoutService } from '../../src/cli/without-service.ts';
import { Fault } from '../../src/lease/faults.ts';
import { summary, breakdown, type Moments } from '../../src/lease/phases.ts';
import type { KilledSlot, SlotChange, SlotDetails } from '../../src/manager/admin-types.ts';
import type { SlotNodeView, SlotView } from '../../src/manager/slots/types.ts';
import { StartError } from '../../src/platform/errors.ts';
import { realClock } from '../../src/platform/real.ts';
import { aLease, openFakeSite, type FakeSite } from '../support/admin-fakes.ts';

let site: FakeSite;
beforeEach(async () => { site = await openFakeSite(); });
afterEach(() => site.close());

const NOW = 3_600_000;
const ID = 'sl-0123456789ab';
const OTHER = 'sl-ba9876543210';
const LEASE = 'i-0123456789abcdef0';

interface Ran { code: number; out: string; err: string }
interface Options { data?: string; answer?: string | null; withoutService?: Partial<WithoutService> }

const notHere = (): Promise<never> => Promise.reject(new Error('not here'));

async function nimbus(argv: readonly string[], o: Options = {}): Promise<Ran & { asked: string[] }> {
  const ran = { code: -1, out: '', err: '', asked: [] as string[] };
  let waited = 0;
  const cli = buildCli({
    io: { out: (t) => { ran.out += t; }, err: (t) => { ran.err += t; }, width: 80, watched: false, ask: (q) => { ran.asked.push(q); return Promise.resolve(o.answer ?? null); } },
    // A wait is over at once, and took as long as it says.
    clock: { now: () => NOW, monotonic: () => waited, after: (ms, fn) => { waited += ms; return realClock.after(0, fn); } },
    env: { NIMBUS_DATA: o.data ?? site.dataDir }, serve: notHere, installer: { install: notHere },
    withoutService: { open: notHere, killJobs: notHere, doctor: notHere, fsck: notHere, backup: notHere, restore: notHere, ...o.withoutService },
  });
  ran.code = await cli.run(['node', 'nimbus', ...argv]);
  return ran;
}

const widest = (text: string): number => Math.max(...text.split('\n').map((l) => [...l].length));

const aNode = (over: Partial<SlotNodeView> = {}): SlotNodeView => ({
  ordinal: 0, part: 0, state: 'Reserved', host: 'n1', memoryMb: 128, cores: 1, leases: [LEASE], lastHeard: NOW - 4000, until: NOW + 7_200_000,
  graceEnds: null, reason: null, phases: {}, ...over,
});
const aSlot = (over: Partial<SlotView> = {}): SlotView => ({
  id: ID, user: 'alice', preemptible: false, state: 'Ready', lrm: 'slurm', jobId: '4711', nativeState: 'RUNNING', position: null, waitsFor: null, expectedStart: null,
  nodes: [aNode()], durationS: 3600, walltimeS: 3750, graceS: 30, createdAt: 0, submittedAt: 10, readyAt: 900, endedAt: null, reasonCode: null, reason: null, ...over,
});
const waiting = aSlot({ id: OTHER, state: 'Queued', nativeState: 'PENDING', position: 3, waitsFor: 'Resources', nodes: [aNode({ state: 'Waiting', host: null, lastHeard: null, until: null })] });

describe('slot', () => {
  test('list: nodes, or why there are none yet', async () => {
    site.on('slots.list', () => [aSlot({ user: 'u'.repeat(60) }), waiting, aSlot({ id: 'sl-000000000000', state: 'Requested', jobId: null, nativeState: null, nodes: [] })]);
    const { out } = await nimbus(['slot', 'list']);
    expect(widest(out)).toBeLessThanOrEqual(80);
    expect(out).toMatch(/sl-0123456789ab {2}u+… {2}Ready {6}4711 {2}1\/1 {4}n1\n/);
    expect(out).toMatch(/Queued {5}4711 {2}0\/1 {4}place 3: Resources\n/);
    expect(out).toMatch(/Requested {2}- .* not submitted yet\n/);
    await nimbus(['slot', 'list', '--all', '--user', 'bob', '--node', 'n7']);
    expect(site.calls.at(-1)).toEqual({ name: 'slots.list', args: [{ live: false, user: 'bob', node: 'n7' }] });
    site.on('slots.list', () => []);
    expect((await nimbus(['slot', 'list'])).out).toContain('scheduler.mode is "pilot"');
  });

  test('show: job, nodes, steps, what pilots said; nothing of it steers the terminal', async () => {
    const moments: Moments = { 'submit-begun': 10, 'pilot-start': 700, notify: 880, reported: 900 };
    const slot: SlotDetails = {
      ...aSlot({ preemptible: true, waitsFor: 'evil\u001b[2J' }), nodes: [{ ...aNode({ state: 'Preempted', graceEnds: NOW + 12_000, reason: 'odd' }), breakdown: breakdown(moments) }],
      messages: [{ id: 'a', host: 'n1', seq: 1, at: 880, receivedAt: 900, state: 'reserved', code: 4, text: 'only 100 MiB', applied: false }],
    };
    site.on('slots.show', () => slot);
    const { out } = await nimbus(['slot', 'show', ID]);
    expect(out).toContain('job       4711 of slurm, which says RUNNING; preemptible\n');
    expect(out).toMatch(/n1 {4}Preempted .* 4s ago {2}grace 12s/);
    expect(out).toMatch(/ {2}torque +690 /);
    expect(out).toMatch(/0\.900 {2}n1 {4} 1 {2}reserved \(code 4\), not applied yet {2}only 100 MiB/);
    expect(out).not.toContain('\u001b');
    expect(widest(out)).toBeLessThanOrEqual(80);
    expect(JSON.parse((await nimbus(['slot', 'show', ID, '--json'])).out)).toEqual(slot);
  });

  test('kill reports each and stops at none', async () => {
    site.on('slots.kill', ((_c: unknown, id: string): SlotChange => {
      if (id === OTHER) throw new Fault('ResourceNotFound', 'There is no slot');
      return { id, before: 'Ready', after: 'Releasing', jobId: '4711', leases: [LEASE] };
    }) as never);
    const { code, out, err } = await nimbus(['slot', 'kill', OTHER, ID, '--why', 'repair']);
    expect({ code, out, err }).toEqual({ code: 1, out: `${ID} is Releasing, was Ready (job 4711), 1 lease with it\n`, err: `${OTHER}: There is no slot (ResourceNotFound)\n` });
    expect(site.calls.map((c) => c.args.slice(1))).toEqual([[OTHER, 'repair'], [ID, 'repair']]);
  });
});

const ended = (over: Partial<SlotNodeView>, id = ID): SlotView => aSlot({ id, state: 'Ended', nodes: [aNode(over)] });
const killed = (slot: string): KilledSlot => ({ slot, ok: true, change: { id: slot, before: 'Ready', after: 'Releasing', jobId: '4711', leases: [] } });

describe('kill-all', () => {
  /** Lists of live slots one after the other, then what the table has in the end. */
  function scripted(live: readonly SlotView[][], end: SlotView[], report: KilledSlot[]): void {
    let looks = 0;
    site.on('slots.list', ((q: { live: boolean }) => (q.live ? live[Math.min(looks++, live.length - 1)] : end)) as never);
    site.on('slots.killAll', () => report);
  }

  test('waits until all are gone, and says of each node what became of it', async () => {
    scripted([[aSlot()], [aSlot()], []], [ended({ state: 'Returned' })], [killed(ID)]);
    const { code, out, err, asked } = await nimbus(['kill-all', '--node', 'n1'], { answer: 'y' });
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(asked).toEqual(['This ends 1 slot and 1 lease. Go on? [y/N] ']);
    expect(out).toMatch(/n1 {4}sl-0123456789ab {2}4711 {2}restored\n/);
    expect(site.calls.find((c) => c.name === 'slots.killAll')?.args.slice(1)).toEqual([{ node: 'n1' }, 'all slots ended by an administrator']);
  });

  test.each<[string, SlotView, string]>([
    ['lost', ended({ state: 'Lost' }), 'n1: lost: its pilot has not said that memory was restored; look there: workspace-pilot --recover\n'],
    ['failed', ended({ state: 'Failed', reason: 'xl hangs' }), 'n1: failed: xl hangs\n'],
    ['still there', aSlot({ state: 'Releasing' }), 'n1: still there: the node is Reserved, the slot Releasing; the batch system says RUNNING\n'],
  ])('%s is told, and is 1', async (outcome, end, said) => {
    scripted([[aSlot()]], [end], [killed(ID)]);
    const { code, out, err } = await nimbus(['kill-all', '--yes', '--wait', '3s']);
    expect({ code, err }).toEqual({ code: 1, err: said });
    expect(out).toContain(outcome);
  });

  test('a slot that could not be ended keeps no other from the report', async () => {
    const error = { code: 'Internal', message: 'the row is cursed', reasons: ['by someone'] };
    scripted([[aSlot(), waiting], []], [aSlot(), ended({ state: 'Lost', host: null }, OTHER)], [{ slot: ID, ok: false, error }, killed(OTHER)]);
    const { code, out } = await nimbus(['kill-all', '--yes', '--json']);
    expect({ code, report: JSON.parse(out) as unknown }).toEqual({ code: 1, report: [
      { slot: ID, job: '4711', node: null, outcome: 'not ended', reason: 'the row is cursed; by someone' },
      { slot: OTHER, job: '4711', node: null, outcome: 'not used', reason: '' },
    ] });
  });

  test('nothing is done that nobody has confirmed', async () => {
    scripted([[aSlot()]], [], []);
    expect(await nimbus(['kill-all'])).toMatchObject({ code: 2, err: 'nimbus: nobody is there to be asked: add --yes\n' });
    expect(await nimbus(['kill-all'], { answer: 'no' })).toMatchObject({ code: 1, err: expect.stringContaining('nothing was done') as string });
    expect(await nimbus(['kill-all', '--json'], { answer: 'y' })).toMatchObject({ code: 2 });
    expect(await nimbus(['kill-all', '--yes', '--wait', 'soon'])).toMatchObject({ code: 2 });
    expect(site.calls.some((c) => c.name === 'slots.killAll')).toBe(false);
  });

  test('nothing borrowed is said', async () => {
    scripted([[]], [], []);
    expect(await nimbus(['kill-all', '--yes'])).toMatchObject({ code: 0, out: 'There are no such slots: nothing is borrowed.\n' });
  });

  test('a refusal of the service is no reason to go around it', async () => {
    site.on('slots.list', () => { throw new Fault('Unavailable', 'The database does not answer now'); });
    expect(await nimbus(['kill-all', '--yes'])).toMatchObject({ code: 1, err: expect.stringContaining('does not answer now (Unavailable)') as string });
  });

  test('without a service: the same, through database and batch system; closed in any case', async () => {
    const seen: unknown[] = [];
    let closed = 0;
    const offline: OfflineSite = {
      liveSlots: (choice) => { seen.push(choice); return Promise.resolve([aSlot()]); },
      slots: (ids) => { seen.push(ids); return Promise.resolve([ended({ state: 'Returned' })]); },
      killAll: (choice, wait: KillWait) => { seen.push([choice, wait.waitMs, wait.why]); wait.trouble('pilots are not heard'); return Promise.resolve([killed(ID)]); },
      close: () => { closed += 1; return Promise.resolve(); },
    };
    const places: Place[] = [];
    const open = (place: Place): Promise<OfflineSite> => { places.push(place); return Promise.resolve(offline); };
    const ran = await nimbus(['kill-all', '--yes', '--user', 'bob', '--config', 'c.toml', '--why', 'x'], { data: '/nowhere', withoutService: { open } });
    expect(ran).toMatchObject({ code: 0, err: 'no service answers: working on its database and the batch system instead\npilots are not heard\n' });
    expect(ran.out).toContain('restored');
    expect(places).toEqual([{ config: 'c.toml', data: '/nowhere' }]);
    expect(seen).toEqual([{ node: undefined, user: 'bob', partition: undefined }, [{ node: undefined, user: 'bob', partition: undefined }, 120_000, 'x'], [ID]]);
    await nimbus(['kill-all'], { data: '/nowhere', answer: 'n', withoutService: { open } });
    expect(closed).toBe(2);
    expect(await nimbus(['kill-all', '--yes'], { data: '/nowhere', withoutService: { open: () => Promise.reject(new StartError('no data directory')) } })).toMatchObject({ code: 2 });
  });

  test('from the batch system alone', async () => {
    const jobs = [{ slot: ID, jobId: '1', hosts: ['n1', 'n2'], gone: true, reason: null }, { slot: OTHER, jobId: '2', hosts: [], gone: false, reason: 'the batch system says COMPLETING' }];
    const killJobs: WithoutService['killJobs'] = (_place, { node }) => Promise.resolve(node === undefined ? jobs : []);
    const ran = await nimbus(['kill-all', '--from-batch-system', '--yes'], { withoutService: { killJobs } });
    expect(ran).toMatchObject({ code: 1, err: 'job 2: the batch system says COMPLETING\n' });
    expect(ran.out).toMatch(/1 {4}sl-0123456789ab {2}n1,n2 {2}gone\n/);
    expect(await nimbus(['kill-all', '--from-batch-system', '--yes', '--node', 'n9'], { withoutService: { killJobs } })).toMatchObject({ code: 0, out: 'The batch system has no such jobs.\n' });
    expect(await nimbus(['kill-all', '--from-batch-system', '--yes', '--user', 'bob'], { withoutService: { killJobs } })).toMatchObject({ code: 2 });
    expect(site.calls).toEqual([]);
  });
});

describe('doctor', () => {
  const findings = [
    { check: 'epilogue', level: 'fail', what: 'none is configured', mend: ['in slurm.conf:', '  Epilog=/x'] }, { check: 'grace', level: 'ok', what: '30 s', mend: [] },
  ] as const;

  test('shows what to mend; 1 when something fails', async () => {
    const ran = await nimbus(['doctor', '--config', 'c.toml'], { data: '/nowhere', withoutService: { doctor: () => Promise.resolve(findings) } });
    expect(ran).toMatchObject({ code: 1, out: 'FAIL  epilogue: none is configured\n      in slurm.conf:\n        Epilog=/x\nok    grace: 30 s\n\n1 ok, 0 to look at, 1 failed\n' });
    const json = await nimbus(['doctor', '--json'], { data: '/nowhere', withoutService: { doctor: () => Promise.resolve(findings.slice(1)) } });
    expect({ code: json.code, out: JSON.parse(json.out) as unknown }).toEqual({ code: 0, out: findings.slice(1) });
  });

  test('a service that answers looks at itself', async () => {
    expect(await nimbus(['doctor'])).toMatchObject({ code: 1, err: expect.stringContaining('does not look after itself') as string });
  });
});

describe('leases that wait, and that are in grace', () => {
  const waits = aLease({ state: 'Pending', node: null, reach: null, endsAt: null, slot: OTHER, waiting: { jobId: '4711', position: 3, reason: 'Resources', state: 'PENDING', expectedStart: 5_400_000 } });
  const grace = aLease({ id: 'i-1111111111111111a', slot: ID, graceEndsAt: NOW + 12_900 });
  const said = 'job 4711 waits at place 3 of the queue: PENDING, Resources; expected to start 1970-01-01 01:30Z';

  test('list and show say so', async () => {
    site.on('leases.describe', () => [waits, grace, aLease({ id: 'i-2222222222222222b' })]);
    site.on('leases.events', () => []);
    const { out } = await nimbus(['lease', 'list']);
    expect(out).toContain(`\n\n${LEASE}: ${said}\ni-1111111111111111a: in grace: 12 s left\n`);
    const show = (await nimbus(['lease', 'show', LEASE])).out;
    expect(show).toContain(`waits     ${said}\nslot      ${OTHER}\n`);
    expect(show).toContain('ends      its time begins when its node is ready\n');
    site.on('leases.describe', () => [grace]);
    expect((await nimbus(['lease', 'show', LEASE])).out).toContain('grace     in grace: 12 s left\n');
    expect(JSON.parse((await nimbus(['lease', 'list', '--json'])).out)).toHaveLength(1);
  });

  test('show says what a node has still to do, and why it has not', async () => {
    site.on('leases.describe', () => [aLease()]);
    site.on('leases.events', () => []);
    const show = async (): Promise<string> => (await nimbus(['lease', 'show', LEASE])).out;
    expect(await show()).not.toContain('\nwork ');
    for (const [facts, shown] of [[{ askedAgain: 0, error: null }, ''], [{ askedAgain: 12, error: 'disk\non fire' }, ', asked for again 12 times: disk on fire']] as const) {
      site.on('work.of', () => ({ operation: 'remove', since: 5, nextAt: 9, ...facts }));
      expect(await show()).toContain(`\nwork      remove since 1970-01-01 00:00Z${shown}\n`);
    }
  });

  test('many of them do not hide the list', async () => {
    site.on('leases.describe', () => Array.from({ length: 30 }, (_, i) => ({ ...waits, id: `i-${String(i).padStart(17, '0')}` })));
    expect((await nimbus(['lease', 'list'])).out).toMatch(/\nand 10 more: nimbus slot list\n$/);
  });
});

describe('breakdown', () => {
  const moments: Moments = { accepted: 0, placed: 4, 'submit-begun': 6, 'pilot-start': 706, notify: 900, reported: 910, received: 915, propagated: 920, started: 950, recorded: 952 };
  const leases = [moments, { ...moments, 'pilot-start': 806, 'restore-begun': 5000, restored: 5170 }]
    .map((m, index) => ({ id: `i-${String(index).padStart(17, '0')}`, index, node: `node${index}.${ID}`, moments: m }));

  test('of a lease: its steps', async () => {
    site.on('breakdown.of', () => ({ id: LEASE, leases: [{ id: LEASE, index: 0, node: 'n1', rows: breakdown(moments) }], summary: summary([moments]) }));
    const { out } = await nimbus(['lease', 'show', LEASE, '--breakdown']);
    expect(out).toMatch(/^STEP .*\nproc +4\.0 {2}request checked, placed and written\n/);
    expect(out).toMatch(/\n {2}torque +700 .*\n {2}pilot +194 .*\n {2}ping +10 .*\nslot +904 /);
    expect(widest(out)).toBeLessThanOrEqual(80);
  });

  test('of a group: each lease, then mean, maximum and critical path', async () => {
    const view = { id: 'r-0123456789abcdef0', leases: leases.map((l) => ({ id: l.id, index: l.index, node: l.node, rows: breakdown(l.moments) })), summary: summary(leases.map((l) => l.moments)) };
    site.on('breakdown.of', () => view);
    const { out } = await nimbus(['lease', 'show', view.id, '--breakdown']);
    expect(out).toMatch(/^LEASE +NODE +PROC +SLOT +VM +TOTAL +RESTORE\n/);
    expect(out).toMatch(/\n {2}torque +750 +800 +700 /);
    expect(out).toMatch(/\nrestore +170 +170 +170 /);
    expect(widest(out)).toBeLessThanOrEqual(80);
    expect(JSON.parse((await nimbus(['lease', 'show', view.id, '--breakdown', '--json'])).out)).toEqual(view);
    expect(await nimbus(['lease', 'show', view.id])).toMatchObject({ code: 2, err: expect.stringContaining('--breakdown') as string });
  });

  test('of one that has none yet', async () => {
    site.on('breakdown.of', () => ({ id: LEASE, leases: [{ id: LEASE, index: 0, node: null, rows: [] }], summary: [] }));
    expect((await nimbus(['lease', 'show', LEASE, '--breakdown'])).out).toBe(`Nothing is known of the steps of ${LEASE} yet.\n`);
  });
});
