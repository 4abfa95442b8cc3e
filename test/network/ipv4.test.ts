import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatIPv4, isHostAddress, maskOf, parseIPv4, parseNetmask, sameNetwork } from '../../src/network/ipv4.ts';

const ip = (text: string): number => {
  const n = parseIPv4(text);
  if (n === undefined) throw new Error(text);
  return n;
};

describe('addresses', () => {
  test('what is written is read again', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 0xffffffff }), (n) => {
      expect(parseIPv4(formatIPv4(n))).toBe(n);
    }));
  });

  test.each(['', '1.2.3', '1.2.3.4.5', '256.0.0.1', '01.2.3.4', ' 1.2.3.4', '1.2.3.4\n', '::1', '1.2.3.4/24'])('%j is none', (text) => {
    expect(parseIPv4(text)).toBeUndefined();
  });
});

describe('netmasks', () => {
  test('prefix lengths and dotted masks say the same', () => {
    for (let prefix = 0; prefix <= 32; prefix++) {
      expect(parseNetmask(String(prefix))).toBe(prefix);
      expect(parseNetmask(`/${prefix}`)).toBe(prefix);
      expect(parseNetmask(formatIPv4(maskOf(prefix)))).toBe(prefix);
    }
  });

  test.each(['33', '-1', '255.0.255.0', '0.0.0.255', '255.255.255.1', 'x', '', '24 '])('%j is none', (text) => {
    expect(parseNetmask(text)).toBeUndefined();
  });
});

test('same network', () => {
  expect(sameNetwork(ip('192.0.2.1'), ip('192.0.2.254'), 24)).toBe(true);
  expect(sameNetwork(ip('192.0.2.1'), ip('192.0.3.1'), 24)).toBe(false);
  expect(sameNetwork(ip('10.0.0.1'), ip('200.0.0.1'), 0)).toBe(true);
});

test.each([
  ['192.0.2.1', 24, true], ['192.0.2.0', 24, false], ['192.0.2.255', 24, false], ['192.0.2.255', 16, true], ['192.0.2.0', 31, true],
  ['192.0.2.7', 32, true], ['127.0.0.1', 8, false], ['0.0.0.1', 8, false], ['224.0.0.1', 4, false], ['255.255.255.255', 32, false],
] as const)('%s/%i as a host: %s', (address, prefix, expected) => {
  expect(isHostAddress(ip(address), prefix)).toBe(expected);
});
