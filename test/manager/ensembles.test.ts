/** Ensembles: several groups, all or none, on owned nodes and as one batch job. Real PostgreSQL and manager. */
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CreateRequest } from '../../src/lease/types.ts';
import { boundDigests, MOST_GROUPS } from '../../src/manager/ensembles.ts';
import type { GroupView } from '../../src/manager/types.ts';
import { statement } from '../../src/store/db.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { failingDb, type FailingDb } from '../support/failing-db.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { openPilotSite, wordsLrm, type PilotSite } from './slots/site.ts';

/** Keeps the PostgreSQL of this file up between its tests. */
let held: TestDatabase;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(async () => { await held.close(); });

const group = (count: number, over: Partial<CreateRequest> = {}): CreateRequest =>
  ({ minCount: count, maxCount: count, image: 'guest', durationS: 3600, resources: { memoryMb: 64, cores: 1 }, ...over });
const GROUPS = statement<{ n: number }>('test-groups', 'SELECT count(*) AS n FROM lease_group');
const LEASES = statement<{ n: number }>('test-leases', 'SELECT count(*) AS n FROM lease');

describe('on owned nodes', () => {
  let site: TestSite;
  let db: FailingDb;
  afterEach(async () => { await site.close(); });
  const open = async (config: object = {}): Promise<void> => {
    site = await openTestSite({ config, nodes: [{ name: 'n1', memoryMb: 512, cores: 8 }], seenDb: (real) => (db = failingDb(real)) });
  };
  const ensemble = (requests: readonly CreateRequest[]): Promise<GroupView[]> => site.manager.leases.createEnsemble(site.alice, requests);
  const nothing = async (): Promise<void> => {
    expect([(await site.db.query(GROUPS))[0]?.n, (await site.db.query(LEASES))[0]?.n]).toEqual([0, 0]);
    await expectInvariants(site);
  };

  it('all groups run', async () => {
    await open();
    const groups = await ensemble([group(2), group(1, { resources: { memoryMb: 256, cores: 2 } })]);
    await site.settled();
    expect(groups.map((g) => [g.leases.length, g.repeated])).toEqual([[2, false], [1, false]]);
    const leases = await site.manager.leases.describe(site.alice, {});
    expect(leases.map((l) => [l.groupId, l.state, l.memoryMb])).toEqual([[groups[0]?.id, 'Running', 64], [groups[0]?.id, 'Running', 64], [groups[1]?.id, 'Running', 256]]);
    await expectInvariants(site);
  });

  it('one group that has no room leaves none, says which it was, and takes no room from the next', async () => {
    await open();
    await expect(ensemble([group(4), group(2, { resources: { memoryMb: 256, cores: 1 } }), group(1)]))
      .rejects.toMatchObject({ code: 'NoCapacity', message: expect.stringMatching(/^Group 2 of 3: /) as string });
    await nothing();
    expect((await ensemble([group(4), group(4)])).flatMap((g) => g.leases)).toHaveLength(8);
    await site.settled();
    await expectInvariants(site);
  });

  it('one group that names what does not exist leaves none', async () => {
    await open();
    await expect(ensemble([group(1), group(1, { image: 'no-such' })])).rejects.toMatchObject({ code: 'ImageNotFound', message: expect.stringContaining('Group 2 of 2') as string });
    await nothing();
  });

  it('the user’s limit counts all groups together', async () => {
    await open({ lease: { max_per_user: 3 } });
    await expect(ensemble([group(2), group(2)])).rejects.toMatchObject({ code: 'TooMany' });
    await nothing();
    const groups = await ensemble([group(1), group(1, { maxCount: 7 })]);
    expect(groups.map((g) => g.leases.length)).toEqual([1, 2]);
    await site.settled();
  });

  it('needs one group, takes so many, and tokens for all or none, each once', async () => {
    await open();
    await expect(ensemble([])).rejects.toMatchObject({ code: 'ParameterMissing' });
    await expect(ensemble(Array.from({ length: MOST_GROUPS + 1 }, () => group(1)))).rejects.toMatchObject({ code: 'TooMany' });
    await expect(ensemble([group(1, { clientToken: 'a' }), group(1)])).rejects.toMatchObject({ code: 'ParameterInvalid' });
    await expect(ensemble([group(1, { clientToken: 'a' }), group(1, { clientToken: 'a' })])).rejects.toMatchObject({ code: 'ParameterInvalid' });
    await nothing();
  });

  it('a dry run makes nothing and takes no room', async () => {
    await open();
    await expect(site.manager.leases.createEnsemble(site.alice, [group(4), group(4)], { dryRun: true })).rejects.toMatchObject({ code: 'DryRun' });
    await nothing();
    expect((await ensemble([group(4), group(4)])).flatMap((g) => g.leases)).toHaveLength(8);
    await site.settled();
  });

  describe('client tokens', () => {
    const asked = [group(1, { clientToken: 'a' }), group(2, { clientToken: 'b' })];

    it('repeat the ensemble as a whole, also all at once and when there is no room left', async () => {
      await open();
      const large = asked.map((r) => ({ ...r, resources: { memoryMb: 170, cores: 1 } }));
      const all = await Promise.all(Array.from({ length: 5 }, () => ensemble(large)));
      expect(new Set(all.map((groups) => groups.map((g) => g.id).join())).size).toBe(1);
      expect(all.filter((groups) => groups.every((g) => !g.repeated))).toHaveLength(1);
      expect((await site.db.query(LEASES))[0]?.n).toBe(3);
      await site.settled();
      await expectInvariants(site);
    });

    it('answer with what was made after its key pair is gone', async () => {
      await open();
      await site.manager.keys.create(site.alice, 'mine', 'ed25519');
      const keyed = asked.map((r) => ({ ...r, keyName: 'mine' }));
      const first = await ensemble(keyed);
      await site.settled();
      await site.manager.keys.remove(site.alice, { name: 'mine' });
      expect((await ensemble(keyed)).map((g) => [g.id, g.repeated])).toEqual(first.map((g) => [g.id, true]));
      await expect(ensemble(keyed.slice(0, 1))).rejects.toMatchObject({ code: 'KeyPairNotFound' });
    });

    it('are good for the same groups only: another group, fewer, more, or another order is refused', async () => {
      await open();
      await ensemble(asked);
      const [a, b] = asked as [CreateRequest, CreateRequest];
      for (const other of [[a, { ...b, minCount: 1 }], [a], [a, b, group(1, { clientToken: 'c' })], [b, a]]) {
        await expect(ensemble(other)).rejects.toMatchObject({ code: 'TokenMismatch' });
      }
      await expect(site.manager.leases.create(site.alice, a)).rejects.toMatchObject({ code: 'TokenMismatch' });
      expect((await site.db.query(LEASES))[0]?.n).toBe(3);
      await site.settled();
    });

    it('shared by orders of one moment: the order that comes first has them', async () => {
      await open();
      const [a, b] = asked as [CreateRequest, CreateRequest];
      const results = await Promise.allSettled([
        site.manager.leases.create(site.alice, a), ensemble([a, b]), ensemble([group(1, { clientToken: 'x' }), b]), site.manager.leases.create(site.alice, group(1)),
      ]);
      expect(results.filter((r) => r.status === 'rejected').every((r) => (r.reason as { code: string }).code === 'TokenMismatch')).toBe(true);
      expect(results.map((r) => r.status)[3]).toBe('fulfilled');
      const made = results.flatMap((r) => (r.status === 'fulfilled' ? r.value : []));
      expect((await site.db.query(GROUPS))[0]?.n, 'no group of a refused ensemble').toBe(made.length);
      await site.settled();
      await expectInvariants(site);
    });
  });

  it('a database that goes away leaves all of it or none', async () => {
    await open();
    db.fails = (s) => s === 'insert-leases';
    await expect(ensemble([group(1), group(1)])).rejects.toThrow();
    db.fails = () => false;
    await nothing();
    let lost = 0;
    db.losesCommit = () => (lost += 1) === 1;
    await expect(ensemble([group(1), group(1)])).rejects.toMatchObject({ code: 'Unavailable' });
    db.losesCommit = () => false;
    expect([(await site.db.query(GROUPS))[0]?.n, (await site.db.query(LEASES))[0]?.n]).toEqual([2, 2]);
    await site.db.query(statement('test-make-due', "UPDATE intent SET next_at = now() - interval '1 s'"));
    await site.dispatcher.poll();
    await site.settled();
    await expectInvariants(site);
  });
});

describe('as one batch job', () => {
  let p: PilotSite;
  afterEach(async () => { await p.site.close(); });
  const large = { memoryMb: 512, cores: 2 };
  const ensemble = (...requests: CreateRequest[]): Promise<GroupView[]> => p.site.manager.leases.createEnsemble(p.site.alice, requests);
  const all = (states: readonly string[], state: string): boolean => states.length > 0 && states.every((s) => s === state);
  const view = async () => (await p.site.manager.leases.describe(p.site.alice, { endedWithinMs: 60_000 })).map((l) => [l.groupId, l.state, l.node?.split('.')[0]]);

  it('has a part for each size; leases land on nodes of their part; the longest lease gives its time', async () => {
    p = await openPilotSite();
    const [small, big] = await ensemble(group(2), group(1, { resources: large, durationS: 7200 })) as [GroupView, GroupView];
    const { id } = await p.until(p.slot, (s) => s.state === 'Queued');
    expect(p.lrm.submitted).toHaveLength(1);
    expect(p.lrm.submitted[0]).toMatchObject({ slotId: id, walltimeS: 7200 + 60 + 60 + 30, parts: [{ nodes: 2, memoryMb: 64, cores: 1 }, { nodes: 1, ...large }] });
    const partOf = p.lrm.submitted[0]?.parts.map(({ argv }) => argv[argv.indexOf('--part') + 1]);
    expect(partOf).toEqual(['0', '1']);

    await p.run('s1', 's2', 'b1');
    await p.reserved(id, 'b1', 1);
    await p.reserved(id, 's1', 0);
    expect((await p.slot()).state, 'one node has not reported').not.toBe('Ready');
    await p.reserved(id, 's2', 0);
    await p.until(p.states, (s) => all(s, 'Running'));
    expect((await p.slot()).state).toBe('Ready');
    expect(await view()).toEqual([[small.id, 'Running', 's1'], [small.id, 'Running', 's2'], [big.id, 'Running', 'b1']]);
    await expectInvariants(p.site, 'running');

    await p.site.manager.leases.end(p.site.alice, [big.leases[0]?.id ?? ''], '');
    await p.until(p.slot, (s) => s.node_states[2] === 'Returning');
    await p.say(id, 'b1', { state: 'restored' }, 1);
    await p.until(() => Promise.resolve(p.lrm.shrunk), (s) => s.length > 0);
    expect(p.lrm.shrunk).toEqual([expect.objectContaining({ part: 1, keep: [] })]);
    await p.site.slots.poll();
    expect((await p.slot()).hosts).toEqual(['s1', 's2']);
    expect((await p.states()).sort()).toEqual(['Running', 'Running', 'Terminated']);
  });

  it('has one part where groups are of one size, and where the batch system knows one size only', async () => {
    p = await openPilotSite();
    await ensemble(group(2), group(1));
    await p.until(p.slot, (s) => s.state === 'Queued');
    expect(p.lrm.submitted[0]?.parts).toMatchObject([{ nodes: 3, memoryMb: 64, cores: 1 }]);
    await p.site.close();

    const lrm = wordsLrm();
    p = await openPilotSite({}, { ...lrm, facts: async () => ({ ...await lrm.facts(), heterogeneous: false }) });
    const groups = await ensemble(group(1, { resources: { memoryMb: 64, cores: 4 } }), group(1, { resources: large }));
    const { id } = await p.until(p.slot, (s) => s.state === 'Queued');
    expect(lrm.submitted[0]?.parts).toMatchObject([{ nodes: 2, memoryMb: 512, cores: 4 }]);
    await p.run('a', 'b');
    for (const host of ['a', 'b']) await p.reserved(id, host);
    await p.until(p.states, (s) => all(s, 'Running'));
    expect(await view()).toEqual([[groups[0]?.id, 'Running', 'a'], [groups[1]?.id, 'Running', 'b']]);
    await expectInvariants(p.site, 'running');
  });

  it('ends as a whole when a node of one part cannot make room', async () => {
    p = await openPilotSite();
    await ensemble(group(1), group(1, { resources: large }));
    const id = await p.run('s1', 'b1');
    await p.reserved(id, 's1', 0);
    await p.until(p.states, (s) => s.includes('Running'));
    await p.say(id, 'b1', { state: 'reserved', code: 4, text: 'only 100 of 512 MiB were reached' }, 1);
    await p.until(p.states, (s) => all(s, 'Terminated'));
    await expectInvariants(p.site);
  });

  it('is refused as a whole by a cap, and leaves no row', async () => {
    p = await openPilotSite({ pilot_caps: { nodes: 3 } });
    await expect(ensemble(group(2), group(2, { resources: large }))).rejects.toMatchObject({ code: 'TooMany', reasons: [expect.stringContaining('pilot_caps.nodes = 3')] });
    expect((await p.site.db.query(GROUPS))[0]?.n).toBe(0);
    await expect(ensemble(group(1), group(1, { zone: 'elsewhere' }))).rejects.toMatchObject({ code: 'ZoneUnknown' });
    const groups = await ensemble(group(1), group(1, { resources: large, maxCount: 5 }));
    expect(groups.map((g) => g.leases.length), 'what the caps leave').toEqual([1, 2]);
    await expect(ensemble(group(1))).rejects.toMatchObject({ code: 'TooMany' });
  });

  it('that is asked for twice is one job', async () => {
    p = await openPilotSite();
    const asked = [group(1, { clientToken: 'a' }), group(1, { clientToken: 'b', resources: large })];
    const [first, second] = await Promise.all([ensemble(...asked), ensemble(...asked)]);
    expect(second.map((g) => g.id)).toEqual(first.map((g) => g.id));
    await p.until(p.slot, (s) => s.state === 'Queued');
    expect(p.lrm.submitted).toHaveLength(1);
  });
});

it('digests of an ensemble tell apart which request came with which token, and in which place', () => {
  const digests = (pairs: ReadonlyArray<readonly [string, string | null]>): string => boundDigests(pairs.map(([d]) => d), pairs.map(([, t]) => t)).join();
  const pair = fc.tuple(fc.constantFrom('d1', 'd2', 'd3'), fc.constantFrom(null, 'a', 'b'));
  const some = fc.array(pair, { minLength: 2, maxLength: 4 });
  fc.assert(fc.property(some, some, (one, other) => {
    expect(digests(one) === digests(other)).toBe(JSON.stringify(one) === JSON.stringify(other));
  }));
  expect(boundDigests(['d1'], ['a']), 'a request alone is what it is').toEqual(['d1']);
});
