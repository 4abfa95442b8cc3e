/** Sites as real ones are on an ordinary day, made by the real manager: leases of every kind, work under way, what is over. */
import { openPilotSite } from '../manager/slots/site.ts';
import { statement } from '../../src/store/db.ts';
import type { Db } from '../../src/store/db.ts';
import { addNetwork } from '../support/rows.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { dayOfOthers, rules } from './others.ts';

/** A site, and a day more on it. */
export interface DaySite {
  readonly site: TestSite;
  goOn(): Promise<void>;
}

type Create = (caller: TestSite['alice'], count: number, over?: object) => Promise<string[]>;
const creating = (site: TestSite): Create => async (caller, count, over = {}) =>
  (await site.manager.leases.create(caller, { minCount: count, maxCount: count, image: 'guest', ...over })).leases.map((l) => l.id);

export async function greedySite(seenDb: (db: Db) => Db): Promise<DaySite> {
  const site = await openTestSite({ seenDb, nodes: Array.from({ length: 8 }, (_, i) => ({ name: `n${i + 1}`, memoryMb: 16_384, cores: 64, zone: i < 4 ? 'rack1' : 'rack2' })) });
  const { db, manager, alice, bob, control } = site;
  const create = creating(site);
  await addNetwork(db, 'lab', 200);
  await rules(site);
  await db.query(statement('test-keys', "INSERT INTO access_key (access_key, account_id, secret, created_at) SELECT 'NIMBTEST' || id, id, 'secret-' || id, now() FROM account"));
  await manager.keys.create(alice, 'mykey', 'ed25519');
  for (let i = 0; i < 20; i++) await create(i % 2 === 0 ? alice : bob, 1 + i % 4, { networks: i % 3 === 0 ? ['lab'] : undefined, clientToken: `token-${i}`, tags: { number: String(i) }, userData: Buffer.from([i, 0, 255]), ...(i % 2 === 0 ? { keyName: 'mykey' } : {}) });
  const [rebooted = '', extended = '', ...ended] = await create(alice, 12);
  await site.settled();
  await manager.leases.reboot(alice, [rebooted]);
  await manager.leases.setEnd(alice, [extended], { durationS: 7200 });
  await manager.leases.end(alice, ended, 'enough');
  await site.settled();
  await dayOfOthers(site, 'one');
  // Failed, under way, and about to end while their nodes are silent.
  control.answer = (_node, r) => (r.op === 'start' ? { code: 'DriverFailed', message: 'no' } : undefined);
  await create(bob, 2);
  await site.settled();
  control.answer = () => 'silent';
  const ending = await create(bob, 3);
  await site.manager.work.recorder.idle();
  await manager.leases.end(bob, ending.slice(0, 1), 'too slow');
  await create(alice, 2);
  await manager.images.make(alice, extended, { name: 'under-way', description: '', tags: {}, live: true });
  while (site.dispatcher.underWay > 0) await new Promise((resolve) => setImmediate(resolve));
  await site.manager.work.recorder.idle();
  return {
    site,
    async goOn() {
      control.answer = () => undefined;
      const [one = '', ...others] = await create(alice, 3, { networks: ['lab'], clientToken: 'later', tags: { a: 'b' }, keyName: 'mykey' });
      await site.settled();
      await manager.leases.reboot(alice, [one]);
      await manager.leases.setEnd(alice, [one], { durationS: 3600 });
      await site.settled();
      control.exit(Number((await db.query(statement<{ node_id: number }>('test-where', 'SELECT node_id FROM lease WHERE id = $1'), [one]))[0]?.node_id), one, 'powered off');
      await manager.leases.end(alice, others, 'enough');
      await site.settled();
      await dayOfOthers(site, 'two');
    },
  };
}

export async function pilotSite(seenDb: (db: Db) => Db): Promise<DaySite> {
  const p = await openPilotSite({}, undefined, { seenDb });
  const { site } = p;
  const create = creating(site);
  const run = async (caller: TestSite['alice'], hosts: string[]): Promise<string[]> => {
    const leases = await create(caller, hosts.length, { clientToken: hosts.join('-') });
    const slot = await p.run(...hosts);
    for (const host of hosts) await p.reserved(slot, host);
    // Stored is not applied yet.
    await p.until(() => p.slot(), (s) => s.node_states.every((n) => n === 'Reserved'));
    await site.settled();
    await p.until(() => p.states(), (states) => leases.length <= states.filter((s) => s === 'Running').length);
    return leases;
  };
  for (let i = 0; i < 4; i++) {
    const hosts = [`n${10 + 2 * i}`, `n${11 + 2 * i}`];
    const leases = await run(i % 2 === 0 ? site.alice : site.bob, hosts);
    const { id } = await p.slot();
    await site.manager.leases.end(site.admin, leases, 'enough');
    await site.settled();
    for (const host of hosts) await p.say(id, host, { state: 'restored' });
    p.lrm.jobs.clear();
    await p.until(() => site.slots.poll().then(() => p.slot()), (s) => s.state === 'Ended');
  }
  const running = await run(site.alice, ['n30', 'n31', 'n32']);
  const { id: slot } = await p.slot();
  return {
    site,
    async goOn() {
      await site.manager.leases.end(site.alice, running, 'enough');
      await site.settled();
      for (const host of ['n30', 'n31', 'n32']) await p.say(slot, host, { state: 'restored' });
      p.lrm.jobs.clear();
      await p.until(() => site.slots.poll().then(() => p.slot()), (s) => s.state === 'Ended');
      await run(site.bob, ['n40', 'n41']);
    },
  };
}
