/** Sites as real ones are on an ordinary day, made by the real manager: leases of every kind, work under way, what is over. */
import { openPilotSite } from '../manager/slots/site.ts';
import { statement } from '../../src/store/db.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

type Create = (caller: TestSite['alice'], count: number, over?: object) => Promise<string[]>;
const creating = (site: TestSite): Create => async (caller, count, over = {}) =>
  (await site.manager.leases.create(caller, { minCount: count, maxCount: count, image: 'guest', ...over })).leases.map((l) => l.id);

export async function greedySite(): Promise<TestSite> {
  const site = await openTestSite({ nodes: Array.from({ length: 8 }, (_, i) => ({ name: `n${i + 1}`, memoryMb: 16_384, cores: 64, zone: i < 4 ? 'rack1' : 'rack2' })) });
  const { db, manager, alice, bob, control } = site;
  const create = creating(site);
  const [lab] = await db.query(statement<{ id: number }>('test-lab', "INSERT INTO network (name, kind, bridge, prefix, gateway, dns, created_at) VALUES ('lab', 'bridge', 'br0', 24, '192.0.2.1', '{192.0.2.2}', now()) RETURNING id"));
  await db.query(statement('test-pool', `INSERT INTO network_address (network_id, ip, hostname, mac)
    SELECT $1, ('192.0.2.' || n)::inet, 'lab-' || n, 'a2:aa:bb:00:00:' || lpad(to_hex(n), 2, '0') FROM generate_series(10, 209) AS n`), [lab?.id]);
  await db.query(statement('test-keys', "INSERT INTO access_key (access_key, account_id, secret, created_at) SELECT 'NIMBTEST' || id, id, 'secret-' || id, now() FROM account"));
  await manager.keys.create(alice, 'mykey', 'ed25519');
  for (let i = 0; i < 20; i++) await create(i % 2 === 0 ? alice : bob, 1 + i % 4, { networks: i % 3 === 0 ? ['lab'] : undefined, clientToken: `token-${i}`, tags: { number: String(i) }, userData: Buffer.from([i, 0, 255]), ...(i % 2 === 0 ? { keyName: 'mykey' } : {}) });
  const [rebooted = '', extended = '', ...ended] = await create(alice, 12);
  await site.settled();
  await manager.leases.reboot(alice, [rebooted]);
  await manager.leases.setEnd(alice, [extended], { durationS: 7200 });
  await manager.leases.end(alice, ended, 'enough');
  await site.settled();
  // Failed, under way, and about to end while their nodes are silent.
  control.answer = (_node, r) => (r.op === 'start' ? { code: 'DriverFailed', message: 'no' } : undefined);
  await create(bob, 2);
  await site.settled();
  control.answer = () => 'silent';
  const ending = await create(bob, 3);
  await site.manager.work.recorder.idle();
  await manager.leases.end(bob, ending.slice(0, 1), 'too slow');
  await create(alice, 2);
  while (site.dispatcher.underWay > 0) await new Promise((resolve) => setImmediate(resolve));
  await site.manager.work.recorder.idle();
  return site;
}

export async function pilotSite(): Promise<TestSite> {
  const p = await openPilotSite();
  const { site } = p;
  const create = creating(site);
  const run = async (caller: TestSite['alice'], hosts: string[]): Promise<string[]> => {
    const leases = await create(caller, hosts.length, { clientToken: hosts.join('-') });
    const slot = await p.run(...hosts);
    for (const host of hosts) await p.reserved(slot, host);
    await site.settled();
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
  await run(site.alice, ['n30', 'n31', 'n32']);
  await create(site.bob, 2);
  return site;
}
