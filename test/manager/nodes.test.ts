import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { AgentHello, VmInfo } from '../../src/control/protocol.ts';
import { statement } from '../../src/store/db.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { unanswered } from '../support/unanswered.ts';

let site: TestSite;
/** Keeps the PostgreSQL of this file up between its tests. */
let held: TestDatabase;
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(async () => { await held.close(); });
beforeEach(async () => { site = await openTestSite({ nodes: [{ name: 'n1', memoryMb: 4096, cores: 16 }] }); });
afterEach(async () => { await site.close(); });

const running = async (): Promise<string> => {
  const id = (await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest' })).leases[0]?.id ?? '';
  await site.settled();
  return id;
};
const see = async (id: string) => (await site.manager.leases.describe(site.admin, { ids: [id] }))[0];
const hello = (): AgentHello => site.control.state(1).hello as AgentHello;
const vms = (): VmInfo[] => [...site.control.node(1).vms.values()];

it('a VM that starts while its node is asked for its VMs is not taken for gone', async () => {
  let id = '';
  const { orphans } = await site.manager.work.nodes.up(1, hello(), async () => {
    const before = vms();
    id = await running();
    return before;
  });
  expect(orphans).toEqual([]);
  expect((await see(id))?.state).toBe('Running');
});

it('a lease that is made while its node is asked for its VMs keeps its VM', async () => {
  let id = '';
  const { orphans } = await site.manager.work.nodes.up(1, hello(), async () => {
    id = await running();
    return vms();
  });
  expect(orphans).toEqual([]);
  expect((await see(id))?.state).toBe('Running');
});

it('a VM that started and stopped before its node was heard again does not become Running', async () => {
  site.control.answer = (_, r) => (r.op === 'start' ? 'silent' : undefined);
  const id = (await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest' })).leases[0]?.id ?? '';
  await unanswered(site);
  const stopped: VmInfo = { lease: id, generation: 1, state: 'stopped', memoryMb: 128, cores: 1, image: '', pid: null, reach: null, startedAt: 0, reason: 'it powered off' };
  site.control.node(1).vms.set(id, stopped);
  site.control.answer = () => undefined;
  await site.manager.work.nodes.up(1, hello(), () => Promise.resolve([stopped]));
  await site.settled();
  expect(await see(id)).toMatchObject({ state: 'Terminated', reason: 'it powered off', runningAt: null });
  await expectInvariants(site);
});

it.each([[7, 8], [2 ** 31 - 1, 2 ** 31 - 1]])('a VM that no lease knows, of generation %i, is removed with %i: above it, and no more than there is', async (generation, asked) => {
  const lease = 'i-00000000000000abc';
  const stray: VmInfo = { lease, generation, state: 'running', memoryMb: 128, cores: 1, image: '', pid: null, reach: null, startedAt: 0, reason: null };
  const { orphans } = await site.manager.work.nodes.up(1, hello(), () => Promise.resolve([...vms(), stray]));
  expect(orphans).toMatchObject([{ op: 'remove', lease, generation: asked }]);
});

it.each(['propagated', 'stopped'] as const)('a VM that was shut down while nobody heard of it (%s) is not taken for gone, and its disk is kept', async (left) => {
  const id = await running();
  const [workspace] = await site.manager.workspaces.list(site.alice);
  site.control.answer = (_, r) => (r.op === 'shutdown' ? 'silent' : undefined);
  await site.manager.workspaces.change(site.alice, { number: workspace?.number ?? 0 }, { to: 'shutdown' });
  await unanswered(site);
  const [vm] = vms();
  if (vm === undefined) throw new Error('it runs');
  site.control.node(1).vms.set(id, { ...vm, state: left, pid: null, reach: null });
  site.control.answer = () => undefined;
  expect((await site.manager.work.nodes.up(1, hello(), () => Promise.resolve(vms()))).orphans).toEqual([]);
  expect((await see(id))?.state).toBe('ShuttingDown');
  await site.dispatcher.poll(1);
  await site.settled();
  expect((await see(id))?.state).toBe('Propagated');
  await expectInvariants(site);
});

it('a lease whose node was removed can be ended, and is over then', async () => {
  site.control.answer = (_, r) => (r.op === 'start' ? { code: 'DriverFailed', message: 'no' } : undefined);
  const id = await running();
  expect((await see(id))?.state).toBe('Corrupted');
  await site.db.query(statement('test-forget-node', 'WITH l AS (UPDATE lease SET node_id = NULL) DELETE FROM intent'));
  expect(await site.manager.leases.end(site.alice, [id], '')).toEqual([{ id, before: 'Corrupted', after: 'Terminated', ran: false }]);
  expect((await see(id))?.endedAt).not.toBeNull();
  await expectInvariants(site);
});

it('leases of a dead node that an administrator forgets do not keep it from being removed', async () => {
  const id = await running();
  site.control.setUp(1, false, 'it burnt down');
  await site.manager.leases.end(site.alice, [id], '');
  expect((await see(id))?.state).toBe('Ending');
  await site.manager.leases.forget(site.admin, [id], 'it burnt down');
  const open = statement<{ n: number }>('test-open-intents', "SELECT count(*) AS n FROM intent WHERE state = 'open'");
  expect(await site.db.query(open)).toEqual([{ n: 0 }]);
  site.control.node(1).vms.clear();
  await expectInvariants(site);
});

it('a node that comes back does not wait for rows that another transaction holds', async () => {
  site.control.answer = (_, r) => (r.op === 'start' ? 'silent' : undefined);
  await site.manager.leases.create(site.alice, { minCount: 2, maxCount: 2, image: 'guest' });
  await unanswered(site);
  await site.db.transaction(async (tx) => {
    await tx.query(statement('test-hold-intent', 'SELECT id FROM intent ORDER BY id DESC LIMIT 1 FOR UPDATE'));
    await site.manager.work.nodes.up(1, hello(), () => Promise.resolve(vms()));
  });
});
