import fc from 'fast-check';
import { expect, test } from 'vitest';
import { attachmentId, coveringCidr, defaultGroupId, interfaceId, subnetId, vpcId } from '../../src/network/mirror.ts';
import { formatIPv4, maskOf, parseIPv4 } from '../../src/network/ipv4.ts';

const LONG = /^[a-z-]+-[0-9a-f]{17}$/;

test('ids follow from what is mirrored, and differ where that does', () => {
  expect(vpcId('nimbus')).toBe(vpcId('nimbus'));
  const ids = [vpcId('a'), vpcId('b'), subnetId('a', 'b'), subnetId('a b', ''), subnetId('b', 'a'), defaultGroupId('1'), defaultGroupId('2')];
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id).toMatch(LONG);
});

test('each NIC of a lease has an id of its own, as long as the lease\'s', () => {
  const lease = fc.stringMatching(/^i-(?:[0-9a-f]{8}|[0-9a-f]{17})$/);
  fc.assert(fc.property(lease, (id) => {
    const nics = Array.from({ length: 16 }, (_, i) => interfaceId(id, i));
    expect(new Set(nics).size).toBe(16);
    expect(nics[0]?.slice(4)).toBe(id.slice(2));
    for (const n of nics) expect(n).toHaveLength(id.length + 2);
    expect(attachmentId(id, 3).slice(11)).toBe(interfaceId(id, 3).slice(4));
  }));
});

test('the VPC is the smallest network that holds all subnets', () => {
  const cidr = fc.tuple(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 1, max: 32 })).map(([ip, prefix]) => ({ ip: (ip & maskOf(prefix)) >>> 0, prefix }));
  const holds = (outer: { ip: number; prefix: number }, inner: { ip: number; prefix: number }): boolean => outer.prefix <= inner.prefix && ((inner.ip & maskOf(outer.prefix)) >>> 0) === outer.ip;
  fc.assert(fc.property(fc.array(cidr, { minLength: 1, maxLength: 6 }), (all) => {
    const [address = '', length = ''] = coveringCidr(all.map((c) => `${formatIPv4(c.ip)}/${c.prefix}`)).split('/');
    const found = { ip: parseIPv4(address) ?? -1, prefix: Number(length) };
    expect(all.every((c) => holds(found, c))).toBe(true);
    const half = (ip: number) => ({ ip, prefix: found.prefix + 1 });
    const smaller = found.prefix === 32 ? [] : [half(found.ip), half((found.ip | (1 << (31 - found.prefix))) >>> 0)];
    expect(smaller.some((s) => all.every((c) => holds(s, c)))).toBe(false);
  }));
  expect(coveringCidr([])).toBe('10.0.2.0/24');
});
