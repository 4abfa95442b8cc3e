import { expect, test } from 'vitest';
import { bridgeNic, userNic } from '../../src/network/nics.ts';

const random = { bytes: (n: number) => Buffer.alloc(n, 7) };
const user = { name: 'public', kind: 'user', bridge: null, prefix: 24, gateway: '10.0.2.2', dns: [] } as const;

test('a user-mode NIC has the addresses that the VMM gives, and the lease as its host name', () => {
  expect(userNic(random, 'A2:AA:BB', { ...user, dns: [] }, 'i-0123', 0)).toEqual({
    network: 'public', kind: 'user', bridge: null, mac: 'a2:aa:bb:07:07:07', ip: '10.0.2.15', prefix: 24, gateway: '10.0.2.2',
    dns: ['10.0.2.3'], hostname: 'i-0123',
  });
});

test('a second user-mode NIC has a subnet of its own', () => {
  expect(userNic(random, 'A2:AA:BB', { ...user, dns: ['192.0.2.53'] }, 'i-0123', 1)).toMatchObject({ ip: '10.0.3.15', gateway: '10.0.3.2', dns: ['192.0.2.53'] });
});

test('a bridge NIC is an entry of the pool', () => {
  const network = { name: 'private', kind: 'bridge', bridge: 'br1', prefix: 28, gateway: null, dns: ['192.0.2.53'] } as const;
  expect(bridgeNic({ ...network, dns: ['192.0.2.53'] }, { id: 1, ip: '192.0.2.5', hostname: 'vm5', mac: '52:54:00:00:00:05' })).toEqual({
    network: 'private', kind: 'bridge', bridge: 'br1', mac: '52:54:00:00:00:05', ip: '192.0.2.5', prefix: 28, gateway: null,
    dns: ['192.0.2.53'], hostname: 'vm5',
  });
});
