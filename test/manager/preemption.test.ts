/** Room that is made for a request, on nodes that fail to give it and in zones where the request may not go. */
import { afterEach, expect, it } from 'vitest';
import type { AgentError } from '../../src/control/protocol.ts';
import type { GroupView, LeaseView } from '../../src/manager/types.ts';
import { realClock } from '../../src/platform/real.ts';
import { statement } from '../../src/store/db.ts';
import { expectInvariants } from '../support/invariants.ts';
import { policiesOf } from '../support/policies.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

const ONE = { image: 'guest', type: 'm1.small', minCount: 1, maxCount: 1 };
/** Room for one. */
const SMALL = { memoryMb: 128, cores: 1 };
const NO_END: AgentError = { code: 'DriverFailed', message: 'the VM does not end' };

/** Nobody gives up because this machine is slow: what is to be seen is why else. */
const patient = { ...realClock, monotonic: () => realClock.monotonic() / 10 };

let site: TestSite;
const open = async (...nodes: ReadonlyArray<{ name: string; memoryMb: number; cores: number; zone?: string }>): Promise<void> => {
  site = await openTestSite({ nodes, clock: patient, config: { scheduler: { preemption_grace: 0 } } });
};
afterEach(async () => {
  site.control.answer = () => undefined;
  await removeAgain();
  await site.settled();
  await expectInvariants(site);
  await site.close();
});

const again = statement<never>('test-again', "UPDATE intent SET next_at = now() - interval '1 s' WHERE state = 'open'");
const dear = statement<never>('test-dear', 'UPDATE lease SET spot_price = 2 WHERE id = $1');
/** What nodes have failed to do is asked of them once more. */
async function removeAgain(): Promise<void> {
  await site.db.query(again);
  await site.dispatcher.poll();
}
async function whileRemoving<T>(work: Promise<T>): Promise<T> {
  let over = false;
  const done = work.finally(() => { over = true; });
  done.catch(() => undefined);
  while (!over) await removeAgain();
  return done;
}
async function spot(price: number): Promise<LeaseView> {
  const { leases: [lease] } = await site.manager.leases.create(site.alice, { ...ONE, spot: { price, persistent: false } });
  await site.settled();
  if (lease === undefined) throw new Error('nothing was made');
  return lease;
}
const normal = (): Promise<GroupView> => site.manager.leases.create(site.bob, ONE);
const codeOf = (work: Promise<unknown>): Promise<string> => work.then(() => 'made', (e: unknown) => (e as { code: string }).code);
const stateOf = async ({ id }: LeaseView): Promise<string | undefined> => (await site.manager.leases.describe(site.alice, { ids: [id] }))[0]?.state;
const removals = (lease: LeaseView): number => site.control.node(1).seen.filter((r) => r.op === 'remove' && r.lease === lease.id).length;
/** Of one lease, or of all. */
const failing = (lease?: LeaseView): void => {
  site.control.answer = (_node, r) => (r.op === 'remove' && (lease === undefined || r.lease === lease.id) ? NO_END : undefined);
};

it('is not waited for where a node fails to end what ends already: another ends', async () => {
  await open({ name: 'n1', memoryMb: 256, cores: 2 });
  const [stuck, other] = [await spot(1), await spot(2)];
  failing(stuck);
  await site.manager.leases.end(site.alice, [stuck.id], '');
  while (removals(stuck) < 3) await removeAgain();
  expect((await normal()).leases).toHaveLength(1);
  expect([await stateOf(stuck), await stateOf(other)]).toEqual(['Ending', 'Terminated']);
});

it('is made by another when the node fails to end the one that was chosen', async () => {
  await open({ name: 'n1', memoryMb: 256, cores: 2 });
  const [cheap, other] = [await spot(1), await spot(2)];
  failing(cheap);
  expect((await whileRemoving(normal())).leases).toHaveLength(1);
  expect([await stateOf(cheap), await stateOf(other)]).toEqual(['Ending', 'Terminated']);
});

it('is looked for on other nodes first when one of them fails to end what it should', async () => {
  await open({ name: 'n1', memoryMb: 256, cores: 2 }, { name: 'n2', ...SMALL });
  const all = [await spot(1), await spot(1), await spot(1)];
  const [stuck, beside] = all.filter((l) => l.node === 'n1') as [LeaseView, LeaseView];
  const [elsewhere] = all.filter((l) => l.node === 'n2') as [LeaseView];
  await site.db.query(dear, [elsewhere.id]);
  failing(stuck);
  await site.manager.leases.end(site.alice, [stuck.id], '');
  while (removals(stuck) < 3) await removeAgain();
  expect((await normal()).leases[0]?.node).toBe('n2');
  expect([await stateOf(beside), await stateOf(elsewhere)]).toEqual(['Running', 'Terminated']);
});

it('ends few for one request where nodes fail to end any', async () => {
  await open({ name: 'n1', memoryMb: 1024, cores: 8 });
  for (let i = 0; i < 8; i += 1) await spot(1);
  failing();
  expect(await codeOf(whileRemoving(normal()))).toBe('NoCapacity');
  const live = await site.manager.leases.describe(site.alice, { live: true });
  expect(live.filter((l) => l.state === 'Running')).toHaveLength(5);
});

it('is not made where the policies of whoever needs it do not let it go', async () => {
  await open({ name: 'n1', ...SMALL, zone: 'west' }, { name: 'n2', ...SMALL, zone: 'east' });
  const both = [await spot(1), await spot(1)];
  const [west, east] = ['west', 'east'].map((zone) => both.find((l) => l.zone === zone)) as [LeaseView, LeaseView];
  await site.db.query(dear, [east.id]);
  const policies = policiesOf(site);
  await policies.set('east', { zones: ['east'] });
  await policies.assign('east', 'bob');
  expect((await normal()).leases[0]?.zone).toBe('east');
  expect([await stateOf(west), await stateOf(east)]).toEqual(['Running', 'Terminated']);
  // In the east nobody is left to end for it.
  expect(await codeOf(normal())).toBe('NoCapacity');
  expect(await stateOf(west)).toBe('Running');
});
