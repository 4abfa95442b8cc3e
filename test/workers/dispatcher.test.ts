import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { workAdministration } from '../../src/manager/admin/work.ts';
import { realClock } from '../../src/platform/real.ts';
import { statement } from '../../src/store/db.ts';
import { createDispatcher, type Dispatcher, type DispatcherDeps } from '../../src/workers/dispatcher.ts';
import { echo, fakeNode } from '../control/client/fake-agent.ts';
import { overTransports } from '../control/client/setup.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
/** The service's time stands still: what is put off is due when the test says so, however slow it is itself. */
let at = 0;
const clock = { ...realClock, now: () => at };
/** Keeps the PostgreSQL of this file up between its tests. */
let held: TestDatabase;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(async () => { await held.close(); });
beforeEach(async () => {
  at = realClock.now();
  site = await openTestSite({ clock, config: { control: { start_deadline_ms: 60_000 } }, nodes: [{ name: 'n1', memoryMb: 4096, cores: 16 }] });
});
afterEach(async () => { await site.close(); });

const create = async (): Promise<string> => (await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest' })).leases[0]?.id ?? '';
const see = async (id: string) => (await site.manager.leases.describe(site.admin, { ids: [id] }))[0];
const intents = (id: string) => site.db.query(statement<{ id: string; kind: string; state: string; error: string | null; waits: boolean }>('test-intents',
  'SELECT id, kind, state, error, next_at > $2 AS waits FROM intent WHERE lease_id = $1 ORDER BY generation'), [id, new Date(at)]);
const makeDue = (id: string) => site.db.query(statement('test-make-due', "UPDATE intent SET next_at = created_at WHERE lease_id = $1 AND state = 'open'"), [id]);
const sends = (id: string, op: string) => site.control.node(1).seen.filter((r) => r.op === op && 'lease' in r && r.lease === id);

/** Polls until the lease's newest intent is as wanted. */
async function intentBecomes(id: string, wanted: object): Promise<void> {
  await expect.poll(async () => (await intents(id)).at(-1), { interval: 10, timeout: 60_000 }).toMatchObject(wanted);
}

describe('the dispatcher', () => {
  it('sends again, with the same id, what was not answered', async () => {
    site.control.answer = (_, r) => (r.op === 'start' ? 'silent' : undefined);
    const id = await create();
    await intentBecomes(id, { state: 'open', error: 'no answer', waits: true });
    site.control.answer = () => undefined;
    await makeDue(id);
    await site.dispatcher.poll();
    await site.settled();
    expect((await see(id))?.state).toBe('Running');
    const ids = sends(id, 'start').map((r) => r.id);
    expect(ids.length).toBeGreaterThanOrEqual(2);
    expect(new Set(ids).size).toBe(1);
  });

  it('does not send what waits before it is due', async () => {
    site.control.answer = (_, r) => (r.op === 'start' ? 'silent' : undefined);
    const id = await create();
    await intentBecomes(id, { state: 'open', waits: true, error: 'no answer' });
    const sent = sends(id, 'start').length;
    await site.dispatcher.poll();
    expect(sends(id, 'start')).toHaveLength(sent);
  });

  it('gives a start up when its time is over: the lease is Corrupted with the reason, its VM is removed when the node is back', async () => {
    site.control.setUp(1, false, 'no route to host');
    site.control.setUp(1, true);
    site.control.answer = (_, r) => (r.op === 'start' || r.op === 'remove' ? 'silent' : undefined);
    const id = await create();
    await intentBecomes(id, { kind: 'start', state: 'open', error: 'no answer' });
    await site.db.query(statement('test-old', "UPDATE intent SET sent_at = created_at - interval '2 min', next_at = created_at WHERE lease_id = $1 AND sent_at IS NOT NULL"), [id]);
    await site.dispatcher.poll();
    await intentBecomes(id, { kind: 'remove', state: 'open', error: 'no answer' });
    expect(await see(id)).toMatchObject({ state: 'Corrupted', reasonCode: 'Server.NodeUnreachable', reason: expect.stringContaining('no answer') });
    site.control.answer = () => undefined;
    await makeDue(id);
    await site.dispatcher.poll();
    await intentBecomes(id, { kind: 'remove', state: 'done' });
    const [use] = await site.db.query(statement<{ memory_used: number }>('test-memory', 'SELECT memory_used FROM vmm_node'));
    expect(use?.memory_used).toBe(0);
  });

  describe('with more for a node than may wait for it', () => {
    const age = statement<never>('test-age', "UPDATE intent SET created_at = created_at - interval '2 min', sent_at = sent_at - interval '2 min', next_at = created_at WHERE state = 'open'");

    it('does not hold it against the node: its time counts from when it is sent', async () => {
      site.control.answer = (_, r) => (r.op === 'start' ? 'busy' : undefined);
      const id = await create();
      await intentBecomes(id, { state: 'open', error: 'much waits for the node already', waits: true });
      // Silent for long once, and then only busy.
      for (const [answer, error] of [['silent', 'no answer'], ['busy', 'much waits for the node already'], ['silent', 'no answer']] as const) {
        site.control.answer = (_, r) => (r.op === 'start' ? answer : undefined);
        await site.db.query(age);
        await site.dispatcher.poll();
        await intentBecomes(id, { kind: 'start', state: 'open', error, waits: true });
      }
      await site.db.query(age);
      await site.dispatcher.poll();
      await expect.poll(async () => (await see(id))?.state, { interval: 10 }).toBe('Corrupted');
      expect(await see(id)).toMatchObject({ reasonCode: 'Server.NodeUnreachable', reason: expect.stringContaining('no answer') });
    });

    it('sends all of it in its turn, however long that takes', async () => {
      await site.dispatcher.stop();
      const ids = [await create(), await create(), await create(), await create(), await create()];
      const held: Array<() => void> = [];
      const agent = fakeNode({ onLine: (l, a) => { if ('do' in l) held.push(() => echo(l, a)); } });
      const { client, when } = overTransports([agent.transport], { maxOutstanding: 2 });
      await when(1, (s) => s.up);
      const next = dispatcherOn(site, undefined, { control: client });
      const states = async (): Promise<string[]> => (await Promise.all(ids.map(see))).map((l) => l?.state ?? '').sort();
      for (const running of [2, 4, 5]) {
        await site.db.query(age);
        await next.poll();
        await expect.poll(() => held.length, { interval: 10 }).toBeGreaterThan(0);
        for (const answer of held.splice(0)) answer();
        await expect.poll(() => next.underWay, { interval: 10 }).toBe(0);
        expect(await states()).toEqual([...Array<string>(running).fill('Running'), ...Array<string>(5 - running).fill('Unpropagated')]);
      }
      await next.stop();
      await client.close();
    });
  });

  it('never gives a remove up', async () => {
    const id = await create();
    await site.settled();
    site.control.answer = (_, r) => (r.op === 'remove' ? { code: 'DriverFailed', message: 'disk on fire' } : undefined);
    await site.manager.leases.end(site.alice, [id], '');
    await intentBecomes(id, { kind: 'remove', state: 'open', error: 'disk on fire' });
    await site.db.query(statement('test-very-old', "UPDATE intent SET created_at = created_at - interval '30 d', next_at = created_at WHERE lease_id = $1 AND state = 'open'"), [id]);
    await site.dispatcher.poll();
    await intentBecomes(id, { kind: 'remove', state: 'open', waits: true, error: 'disk on fire' });
    expect((await see(id))?.state).toBe('Ending');
  });

  it('goes on asking an agent that calls every removal stale, with a generation that ends somewhere, and takes its word when it is mended', async () => {
    const id = await create();
    await site.settled();
    site.control.answer = (_, r) => (r.op === 'remove' ? { code: 'StaleGeneration', message: 'more was seen' } : undefined);
    await site.manager.leases.end(site.alice, [id], '');
    const claimed = 'the agent calls stale what nothing can be above: more was seen';
    await intentBecomes(id, { kind: 'remove', state: 'open', error: claimed, waits: true });
    const { generation } = await see(id) ?? { generation: 0 };
    expect(generation).toBeGreaterThan(2 ** 29);
    expect(generation).toBeLessThan(2 ** 31 - 1_000_000);
    const tried = sends(id, 'remove').length;
    for (let more = 1; more <= 3; more += 1) {
      await makeDue(id);
      await site.dispatcher.poll();
      await intentBecomes(id, { kind: 'remove', state: 'open', error: claimed, waits: true });
      expect(sends(id, 'remove')).toHaveLength(tried + more);
    }
    expect(new Set(sends(id, 'remove').slice(tried - 1).map((r) => r.id)).size, 'the same request').toBe(1);
    expect(sends(id, 'remove').at(-1)).toMatchObject({ generation: 2 ** 31 - 1 });
    expect(await see(id)).toMatchObject({ state: 'Ending', generation });
    expect(await workAdministration({ db: site.db } as never).of(id)).toMatchObject({ operation: 'remove', askedAgain: 3, error: claimed });
    expect(site.ctx.lines.filter((l) => l.message.startsWith('a node calls a removal stale')), 'the log says so once').toHaveLength(1);
    site.control.answer = () => undefined;
    await makeDue(id);
    await site.dispatcher.poll();
    await expect.poll(async () => (await see(id))?.state, { interval: 10 }).toBe('Terminated');
    expect(await workAdministration({ db: site.db } as never).of(id)).toBeNull();
    await expectInvariants(site);
  });

  it('removes a VM whose node has the highest generation there is, as after its journal was damaged', async () => {
    const id = await create();
    await site.settled();
    const { vms } = site.control.node(1);
    const vm = vms.get(id);
    if (vm === undefined) throw new Error('it runs');
    vms.set(id, { ...vm, generation: 2 ** 31 - 1 });
    await site.manager.leases.end(site.alice, [id], '');
    await site.settled();
    expect((await see(id))?.state).toBe('Terminated');
    await expectInvariants(site);
  });

  it('finds what a crash left between the commit and the hand-over', async () => {
    await site.dispatcher.stop();
    const id = await create();
    expect((await intents(id))[0]).toMatchObject({ state: 'open', waits: true });
    const next = dispatcherOn(site);
    await makeDue(id);
    await next.poll();
    await expect.poll(async () => (await see(id))?.state, { interval: 10 }).toBe('Running');
  });

  it('fails an intent that cannot be said to an agent, and sends those that came with it', async () => {
    await site.dispatcher.stop();
    const [bad, good] = [await create(), await create()];
    const next = dispatcherOn(site, (file) => {
      if (file === 'elsewhere') throw new Error('no such file in the repository');
      return file;
    });
    await site.db.query(statement('test-bad-image', `WITH m AS (
      INSERT INTO image (id, name, format, size_bytes, sha256, file, created_at) VALUES ('ami-00000000', 'lost', 'raw', 1, repeat('0', 64), 'elsewhere', now()) RETURNING id)
      UPDATE lease SET image_id = 'ami-00000000' WHERE id = $1`), [bad]);
    await makeDue(bad);
    await makeDue(good);
    await next.poll();
    await expect.poll(async () => (await see(good))?.state, { interval: 10 }).toBe('Running');
    await expect.poll(async () => (await see(bad))?.state, { interval: 10 }).toBe('Corrupted');
    expect((await see(bad))?.reason).toContain('no such file');
    await expect.poll(() => next.underWay).toBe(0);
  });

  it('does not pass on for ever what each of two services takes to be within the reach of the other', async () => {
    await site.dispatcher.stop();
    const id = await create();
    site.control.setUp(1, false, 'no route to host');
    let passed = 0;
    const all: Dispatcher[] = [];
    const tellOthers = (): void => {
      passed += 1;
      if (passed <= 20) for (const d of all) void d.poll();
    };
    for (let i = 0; i < 2; i += 1) all.push(dispatcherOn(site, undefined, { elsewhere: () => true, tellOthers }));
    await makeDue(id);
    await all[0]?.poll();
    await intentBecomes(id, { state: 'open', error: 'no route to host', waits: true });
    await expect.poll(() => all.map((d) => d.underWay), { interval: 10 }).toEqual([0, 0]);
    expect(passed).toBe(0);
  });

  describe('with more due than one statement takes', () => {
    const MANY = 600;
    /** What a service left that has died between its commits and its messages. */
    async function leave(): Promise<void> {
      await site.close();
      site = await openTestSite({ clock, config: { control: { start_deadline_ms: 60_000 }, lease: { max_group: MANY } }, nodes: [{ name: 'n1', memoryMb: 1_000_000, cores: 10_000 }] });
      await site.dispatcher.stop();
      await site.manager.leases.create(site.alice, { minCount: MANY, maxCount: MANY, image: 'guest' });
      await site.db.query(statement('test-all-due', 'UPDATE intent SET next_at = created_at'));
    }
    const attempts = () => site.db.query(statement<{ attempts: number; waits: boolean; error: string | null; n: number }>('test-attempts',
      "SELECT attempts, next_at > $1 AS waits, error, count(*)::int AS n FROM intent WHERE state = 'open' GROUP BY 1, 2, 3"), [new Date(at)]);

    it('sends it all in one poll', async () => {
      await leave();
      const next = dispatcherOn(site);
      await next.poll();
      await expect.poll(() => site.control.node(1).seen.length, { interval: 10 }).toBe(MANY);
      await expect.poll(() => next.underWay, { interval: 10, timeout: 60_000 }).toBe(0);
      expect(await attempts()).toEqual([]);
    });

    it('tries what is not for reachable nodes once, and puts it off in a few statements', async () => {
      await leave();
      site.control.setUp(1, false, 'no route to host');
      let postponements = 0;
      const next = dispatcherOn(site, undefined, { db: { ...site.db, query: (s, values) => {
        postponements += s.name === 'postpone-intents' ? 1 : 0;
        return site.db.query(s, values);
      } } });
      await next.poll();
      await expect.poll(() => next.underWay, { interval: 10, timeout: 60_000 }).toBe(0);
      expect(await attempts()).toEqual([{ attempts: 1, waits: true, error: 'no route to host', n: MANY }]);
      expect(postponements).toBeLessThan(10);
    });

    it('ends though all that it puts off is due again at once', async () => {
      await leave();
      site.control.setUp(1, false, 'no route to host');
      let now = site.ctx.clock.now();
      // A clock that jumps back after the first look at it.
      const clock = { ...site.ctx.clock, now: () => { const told = now; now = site.ctx.clock.now() - 3_600_000; return told; } };
      const next: Dispatcher = dispatcherOn(site, undefined, { ctx: { ...site.ctx, clock }, db: { ...site.db, query: async (s, values) => {
        while (s.name === 'take-intents' && next.underWay > 0) await new Promise((resolve) => setImmediate(resolve));
        return site.db.query(s, values);
      } } });
      await next.poll();
      await expect.poll(() => next.underWay, { interval: 10, timeout: 60_000 }).toBe(0);
      expect((await attempts()).reduce((n, a) => n + a.attempts * a.n, 0), 'what may be under way').toBe(10_000);
    });

    it('takes no more when it is told to stop', async () => {
      await leave();
      const pages: unknown[] = [];
      const next: Dispatcher = dispatcherOn(site, undefined, { db: { ...site.db, query: async (s, values) => {
        const rows = await site.db.query(s, values);
        if (s.name === 'take-intents') {
          pages.push(rows.length);
          await next.stop();
        }
        return rows;
      } } });
      await next.poll();
      expect(pages).toEqual([256]);
    });

    it('shares it with a second service: each is sent once', async () => {
      await leave();
      const both = [dispatcherOn(site), dispatcherOn(site)];
      await Promise.all(both.map((d) => d.poll()));
      await expect.poll(() => both.map((d) => d.underWay), { interval: 10, timeout: 60_000 }).toEqual([0, 0]);
      expect(site.control.node(1).seen).toHaveLength(MANY);
      expect(new Set(site.control.node(1).seen.map((r) => r.id)).size).toBe(MANY);
    });
  });

  it('does not start what was ended before the node heard of it', async () => {
    site.control.setUp(1, true);
    site.control.answer = (_, r) => (r.op === 'start' ? 'silent' : undefined);
    const id = await create();
    await intentBecomes(id, { kind: 'start', state: 'open', error: 'no answer' });
    site.control.answer = () => undefined;
    await site.manager.leases.end(site.alice, [id], '');
    await site.settled();
    expect(await intents(id)).toMatchObject([{ kind: 'start', state: 'superseded' }, { kind: 'remove', state: 'done' }]);
    expect((await see(id))?.state).toBe('Terminated');
    expect(site.control.node(1).vms.get(id)?.state).toBe('removed');
  });
});

/** A second dispatcher on the same site, as after a restart. */
function dispatcherOn(s: TestSite, imagePath = (file: string): string => file, others: Partial<Pick<DispatcherDeps, 'ctx' | 'db' | 'control' | 'elsewhere' | 'tellOthers'>> = {}): Dispatcher {
  return createDispatcher({
    ctx: s.ctx, db: s.db, config: s.config, control: s.control, recorder: s.manager.work.recorder, imagePath, save: s.saving.save, ...others,
  });
}
