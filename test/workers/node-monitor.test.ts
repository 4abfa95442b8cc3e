import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { statement } from '../../src/store/db.ts';
import { createNodeMonitor } from '../../src/workers/node-monitor.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { failingDb, type FailingDb } from '../support/failing-db.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

let site: TestSite;
let db: FailingDb;
/** Keeps the PostgreSQL of this file up between its tests. */
let held: TestDatabase;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(async () => { await held.close(); });
beforeEach(async () => {
  site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 4096, cores: 16 }], seenDb: (real) => (db = failingDb(real)) });
});
afterEach(async () => { await site.close(); });

const running = async (): Promise<string> => {
  const id = (await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest' })).leases[0]?.id ?? '';
  await site.settled();
  return id;
};
const see = async (id: string) => (await site.manager.leases.describe(site.admin, { ids: [id] }))[0];
const said = (text: string): number => site.ctx.lines.filter((l) => l.message.includes(text)).length;
const becomes = (id: string, state: string) => expect.poll(async () => (await see(id))?.state, { interval: 10 }).toBe(state);

describe('while the database is away', () => {
  it('an exit that cannot be recorded is learned from the node afterwards', async () => {
    const id = await running();
    db.fails = () => true;
    site.control.exit(1, id, 'the guest powered off');
    await expect.poll(() => said('was not recorded'), { interval: 5 }).toBe(1);
    db.fails = () => false;
    expect((await see(id))?.state).toBe('Running');
    await site.monitor.reload();
    await becomes(id, 'Terminated');
    await site.settled();
    await expectInvariants(site);
  });

  it('a node that comes back is compared afterwards', async () => {
    const id = await running();
    site.control.setUp(1, false);
    site.control.node(1).vms.delete(id);
    db.fails = (s) => s === 'leases-held-on';
    site.control.setUp(1, true);
    await expect.poll(() => said('could not be followed'), { interval: 5 }).toBe(1);
    db.fails = () => false;
    await site.monitor.reload();
    await becomes(id, 'Terminated');
  });
});

it('a node that was reached before the monitor is started is compared', async () => {
  const id = await running();
  await site.monitor.stop();
  const { ctx, control, manager } = site;
  const next = createNodeMonitor({
    ctx, db: site.db, control, nodes: manager.work.nodes, recorder: manager.work.recorder, nodeName: () => 'n1', refreshPool: () => undefined, poll: () => Promise.resolve(),
  });
  control.setUp(1, false);
  control.node(1).vms.delete(id);
  control.setUp(1, true);
  await becomes(id, 'Terminated');
  await next.stop();
});

it('a node that answers something else than its VMs loses no lease', async () => {
  const id = await running();
  site.control.ask = async () => ({ id: 'op', ok: true, result: { console: '', truncated: false, at: 0 }, stamps: {} });
  site.control.setUp(1, false);
  site.control.setUp(1, true);
  await expect.poll(() => said('could not be followed'), { interval: 5 }).toBe(1);
  await site.settled();
  expect((await see(id))?.state).toBe('Running');
});

describe('a node that says too much', () => {
  it('has no more exits under way than are allowed; the rest is learned from its list, and other nodes are served', async () => {
    const id = await running();
    // Reports wait for this.
    let go: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => { go = resolve; });
    const { recorder } = site.manager.work;
    const report = recorder.report.bind(recorder);
    const waiting: string[] = [];
    recorder.report = async (r) => {
      waiting.push(r.lease);
      await gate;
      return report(r);
    };
    for (let n = 0; n < 300; n += 1) site.control.say(1, { kind: 'vm-exited', lease: `i-${String(n).padStart(8, '0')}`, generation: 1, at: 0, reason: '' });
    site.control.exit(1, id, 'the guest powered off');
    expect([waiting.length, said('more exits than can be written')]).toEqual([256, 1]);
    expect(waiting).not.toContain(id);
    recorder.report = report;
    go();
    await site.monitor.reload();
    await becomes(id, 'Terminated');
  });

  it('whose channel comes and goes makes no queue: the newest state counts', async () => {
    const id = await running();
    let listed = 0;
    const ask = site.control.ask.bind(site.control);
    site.control.ask = (nodeId, r) => {
      if (r.op === 'list') listed += 1;
      return ask(nodeId, r);
    };
    for (let n = 0; n < 100; n += 1) site.control.setUp(1, n % 2 === 1);
    await site.monitor.stop();
    expect(listed).toBeLessThanOrEqual(2);
    expect((await see(id))?.state).toBe('Running');
    expect(await site.db.query(statement<{ reachable: boolean }>('test-reachable', 'SELECT reachable FROM vmm_node'))).toEqual([{ reachable: true }]);
  });
});
