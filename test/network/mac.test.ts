import { expect, test } from 'vitest';
import { generateMac, parseMac } from '../../src/network/mac.ts';
import { realRandom } from '../../src/platform/real.ts';

test.each([['A2:AA:BB:01:02:0F', 'a2:aa:bb:01:02:0f'], ['52-54-00-12-34-56', '52:54:00:12:34:56']])('%s is read as %s', (text, mac) => {
  expect(parseMac(text)).toBe(mac);
});

test.each(['', '52:54:00:12:34', '52:54:00:12:34:5g', '52:54-00:12-34:56', '01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00', 'ANY', '525400123456'])(
  '%j is refused', (text) => {
    expect(parseMac(text)).toBeUndefined();
  });

test('generated ones have the prefix and are locally administered unicast', () => {
  const mac = generateMac(realRandom, 'A2:AA:BB');
  expect(mac).toMatch(/^a2:aa:bb(:[0-9a-f]{2}){3}$/);
  expect(parseMac(mac)).toBe(mac);
  expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2);
});
