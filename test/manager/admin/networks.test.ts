import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { NewNetwork } from '../../../src/manager/admin-types.ts';
import { giveOut } from '../../../src/network/addresses.ts';
import { realRandom } from '../../../src/platform/real.ts';
import { warnOfPools } from '../../../src/manager/first-start.ts';
import { statement } from '../../../src/store/db.ts';
import { networksByName } from '../../../src/store/networks.ts';
import { testContext } from '../../support/context.ts';
import { addAccount, addImage, addLease } from '../../support/rows.ts';
import { openSite, type Site } from './site.ts';

let site: Site;
let accountId: number;
let imageId: string;
/** What the context's random gives next, before real random. */
const scripted: Buffer[] = [];
beforeAll(async () => {
  site = await openSite({ context: { random: { bytes: (n) => (n === 3 ? scripted.shift() : undefined) ?? realRandom.bytes(n) } } });
  accountId = await addAccount(site.t.db, 'alice');
  imageId = await addImage(site.t.db, null, 'guest');
});
afterAll(() => site.close());

const bridge = (name: string, facts: Partial<NewNetwork> = {}): NewNetwork => ({ name, kind: 'bridge', bridge: 'br0', netmask: '255.255.255.0', ...facts });
const networks = () => site.admin.networks;

describe('add', () => {
  test('a bridge network', async () => {
    expect(await networks().add(bridge('pub', { gateway: '192.0.2.1', dns: ['192.0.2.53'] }))).toEqual({
      name: 'pub', kind: 'bridge', bridge: 'br0', prefix: 24, gateway: '192.0.2.1', dns: ['192.0.2.53'], addresses: 0, inUse: 0,
    });
    await expect(networks().add(bridge('pub'))).rejects.toMatchObject({ code: 'NetworkExists' });
  });

  test.each<[string, Partial<NewNetwork>]>([
    ['no bridge', { bridge: undefined }], ['a bridge that is no interface', { bridge: 'br0; reboot' }], ['a long one', { bridge: 'x'.repeat(16) }],
    ['a user network with a bridge', { kind: 'user' }], ['a netmask with holes', { netmask: '255.0.255.0' }], ['prefix 33', { netmask: '33' }],
    ['a gateway that is the network', { gateway: '192.0.2.0' }], ['a gateway that is none', { gateway: 'gw' }], ['dns by name', { dns: ['dns.example.org'] }],
    ['a path as name', { name: '../x' }],
  ])('%s is refused', async (_, facts) => {
    await expect(networks().add(bridge('bad', facts))).rejects.toMatchObject({ code: 'ParameterInvalid' });
  });
});

describe('addresses', () => {
  test('get a hostname and a MAC when none is given, and are leased in the order in which they were added', async () => {
    await networks().add(bridge('pool_a', { gateway: '192.0.2.1' }));
    const added = await networks().addAddresses('pool_a', [
      { ip: '192.0.2.20' }, { ip: '192.0.2.11', hostname: 'WWW.example.org', mac: '52-54-00-12-34-56' }, { ip: '192.0.2.12' },
    ]);
    expect(added).toEqual([
      { network: 'pool_a', ip: '192.0.2.20', hostname: 'pool-a-192-0-2-20', mac: expect.stringMatching(/^a2:aa:bb(:[0-9a-f]{2}){3}$/), lease: null },
      { network: 'pool_a', ip: '192.0.2.11', hostname: 'www.example.org', mac: '52:54:00:12:34:56', lease: null },
      expect.objectContaining({ ip: '192.0.2.12' }),
    ]);
    expect(await networks().addresses('pool_a')).toEqual(added);
    expect((await networks().list()).find((n) => n.name === 'pool_a')).toMatchObject({ addresses: 3, inUse: 0 });
  });

  test('a generated MAC that is taken is generated anew', async () => {
    await networks().add(bridge('macs'));
    scripted.push(Buffer.of(1, 2, 3));
    await networks().addAddresses('macs', [{ ip: '198.51.100.1' }]);
    scripted.push(Buffer.of(1, 2, 3), Buffer.of(1, 2, 4), Buffer.of(1, 2, 5));
    const added = await networks().addAddresses('macs', [{ ip: '198.51.100.2' }, { ip: '198.51.100.3' }]);
    expect(added.map((a) => a.mac)).toEqual(['a2:aa:bb:01:02:05', 'a2:aa:bb:01:02:04']);
    expect(scripted).toEqual([]);
  });

  test.each([
    ['the gateway', '203.0.113.1', {}], ['outside the gateway’s network', '192.0.2.9', {}], ['the broadcast address', '203.0.113.255', {}],
    ['no address', '203.0.113', {}], ['no host name', '203.0.113.9', { hostname: 'a_b' }], ['an empty label', '203.0.113.9', { hostname: 'a..b' }],
    ['a multicast MAC', '203.0.113.9', { mac: '01:00:5e:00:00:01' }], ['ANY', '203.0.113.9', { mac: 'ANY' }],
  ])('%s is refused', async (_, ip, facts) => {
    await networks().add(bridge('strict', { gateway: '203.0.113.1' })).catch(() => undefined);
    await expect(networks().addAddresses('strict', [{ ip, ...facts }])).rejects.toMatchObject({ code: 'ParameterInvalid' });
  });

  test('one that is taken refuses all, and says which', async () => {
    await networks().add(bridge('whole'));
    await networks().addAddresses('whole', [{ ip: '192.0.2.5', hostname: 'five', mac: '52:54:00:00:00:05' }]);
    for (const clash of [{ ip: '192.0.2.5' }, { ip: '192.0.2.6', hostname: 'five' }, { ip: '192.0.2.6', mac: '52:54:00:00:00:05' }]) {
      await expect(networks().addAddresses('whole', [{ ip: '192.0.2.7' }, clash])).rejects.toMatchObject({
        code: 'AddressExists', reasons: ['192.0.2.5 five 52:54:00:00:00:05 in network whole'],
      });
    }
    await expect(networks().addAddresses('whole', [{ ip: '192.0.2.8' }, { ip: '192.0.2.8' }])).rejects.toMatchObject({ code: 'AddressExists', reasons: ['ip 192.0.2.8'] });
    expect(await networks().addresses('whole')).toHaveLength(1);
  });

  test('routers and name servers of the bridge are refused, whichever of its networks names them', async () => {
    await networks().add(bridge('routed', { bridge: 'br7', gateway: '198.18.0.1', dns: ['198.18.0.2'] }));
    await networks().add(bridge('beside', { bridge: 'br7' }));
    await networks().add(bridge('elsewhere', { bridge: 'br8' }));
    const server = '198.18.0.2 is the name server of network routed';
    await expect(networks().addAddresses('routed', [{ ip: '198.18.0.3' }, { ip: '198.18.0.2' }])).rejects.toMatchObject({ code: 'ParameterInvalid', reasons: [server] });
    await expect(networks().addAddresses('beside', [{ ip: '198.18.0.2' }, { ip: '198.18.0.1' }])).rejects.toMatchObject({ reasons: ['198.18.0.1 is the gateway of network routed', server] });
    expect([await networks().addresses('routed'), await networks().addresses('beside')]).toEqual([[], []]);
    await expect(networks().addAddresses('elsewhere', [{ ip: '198.18.0.2' }])).resolves.toHaveLength(1);
  });

  test('a gateway or name server that a pool of the bridge holds is refused, with the pool and what to do; elsewhere it is nobody’s matter', async () => {
    await networks().add(bridge('early', { bridge: 'br9' }));
    await networks().addAddresses('early', [{ ip: '198.18.9.1' }, { ip: '198.18.9.2' }, { ip: '198.18.9.3' }]);
    const [early] = await site.t.db.query(networksByName, [['early']]);
    const lease = await addLease(site.t.db, { accountId, imageId, networks: ['early'] });
    await giveOut(site.t.db, early!, [lease]);
    const asked = { bridge: 'br9', gateway: '198.18.9.1', dns: ['198.18.9.9', '198.18.9.3'] };
    await expect(networks().add(bridge('late', asked))).rejects.toMatchObject({
      code: 'ParameterInvalid',
      message: 'Guests on the bridge br9 may get an address that is to be the gateway or a name server of late: take it out of its pool, or name another',
      reasons: [
        `the gateway 198.18.9.1 is in the pool of early: nimbus network address remove early 198.18.9.1; lease ${lease} has it and must end before`,
        'the name server 198.18.9.3 is in the pool of early: nimbus network address remove early 198.18.9.3',
      ],
    });
    expect((await networks().list()).map((n) => n.name)).not.toContain('late');
    await expect(networks().add(bridge('other', { ...asked, bridge: 'br10' }))).resolves.toMatchObject({ name: 'other' });
    await networks().removeAddress('early', '198.18.9.3');
    await expect(networks().add(bridge('late', { ...asked, gateway: '198.18.9.254' }))).resolves.toMatchObject({ dns: asked.dns });
  });

  test('of a pool and a gateway with one address that are made at one moment only one is', async () => {
    for (let i = 1; i <= 20; i += 1) {
      const [pool, routed, ip] = [`pool-${i}`, `routed-${i}`, `198.18.20.${i}`];
      await networks().add(bridge(pool, { bridge: 'br20' }));
      const made = await Promise.allSettled([networks().addAddresses(pool, [{ ip }]), networks().add(bridge(routed, { bridge: 'br20', gateway: ip }))]);
      expect(made.map((m) => m.status).sort(), ip).toEqual(['fulfilled', 'rejected']);
    }
  });

  test('a pool that holds a gateway since before that was refused keeps no site from starting: the log names it', async () => {
    await networks().add(bridge('old-router', { bridge: 'br11', gateway: '198.18.11.1' }));
    await networks().add(bridge('old-pool', { bridge: 'br11' }));
    await site.t.db.query(statement('test-old-pool', "INSERT INTO network_address (network_id, ip, hostname, mac) SELECT id, '198.18.11.1', 'old', '52:54:00:00:11:01' FROM network WHERE name = 'old-pool'"));
    const ctx = testContext();
    await warnOfPools({ ctx, db: site.t.db });
    expect(ctx.lines.filter((l) => l.level === 'warn')).toMatchObject([{ fields: { network: 'old-pool', address: '198.18.11.1', is: 'the gateway of old-router' } }]);
    await networks().remove('old-pool');
  });

  test('thousands at once', async () => {
    await networks().add(bridge('wide', { netmask: '16' }));
    const many = Array.from({ length: 5000 }, (_, i) => ({ ip: `10.1.${(i >> 8) + 1}.${i & 255}` }));
    expect(await networks().addAddresses('wide', many)).toHaveLength(5000);
  });

  test('a user network needs none', async () => {
    await networks().add({ name: 'users', kind: 'user', netmask: '24' });
    await expect(networks().addAddresses('users', [{ ip: '10.0.2.15' }])).rejects.toMatchObject({ code: 'ParameterInvalid' });
  });
});

describe('remove', () => {
  test('an address in use stays; a free one goes', async () => {
    await networks().add(bridge('busy'));
    await networks().addAddresses('busy', [{ ip: '192.0.2.30' }, { ip: '192.0.2.31' }]);
    const lease = await addLease(site.t.db, { accountId, imageId, networks: ['busy'] });
    const [network] = await site.t.db.query(networksByName, [['busy']]);
    await giveOut(site.t.db, network!, [lease]);
    await expect(networks().removeAddress('busy', '192.0.2.30')).rejects.toMatchObject({ code: 'NetworkInUse', reasons: [`lease ${lease} holds it`] });
    await networks().removeAddress('busy', '192.0.2.31');
    await expect(networks().removeAddress('busy', '192.0.2.31')).rejects.toMatchObject({ code: 'ParameterInvalid' });
    await expect(networks().removeAddress('busy', 'x\0')).rejects.toMatchObject({ code: 'ParameterInvalid' });
    expect((await networks().addresses('busy')).map((a) => a.lease)).toEqual([lease]);
    await expect(networks().remove('busy')).rejects.toMatchObject({ code: 'NetworkInUse', reasons: [`lease ${lease} is on it`] });
  });

  test('a user network with live leases stays; an unused one goes with its addresses', async () => {
    await networks().add({ name: 'lively', kind: 'user', netmask: '24' });
    await addLease(site.t.db, { accountId, imageId, networks: ['lively'] });
    await expect(networks().remove('lively')).rejects.toMatchObject({ code: 'NetworkInUse' });
    await networks().add(bridge('idle'));
    await networks().addAddresses('idle', [{ ip: '192.0.2.40' }]);
    await networks().remove('idle');
    for (const call of [() => networks().remove('idle'), () => networks().addresses('idle'), () => networks().addAddresses('x\0', [])]) {
      await expect(call()).rejects.toMatchObject({ code: 'NetworkNotFound' });
    }
  });
});
