/** Where the service sends nothing to, however it is written, and whenever a name comes to lead there. */
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createAddressPolicy } from '../../../src/platform/outside/address-policy.ts';

const closed = createAddressPolicy([]);
const mine = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).filter((a) => a.family === 'IPv4').map((a) => a.address));
const octets = (address: string): number[] => address.split('.').map(Number);
const asNumber = (address: string): number => octets(address).reduce((n, o) => n * 256 + o, 0);
const hex = (address: string): string => {
  const [a = 0, b = 0, c = 0, d = 0] = octets(address);
  return `[::ffff:${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}]`;
};
/** Ways to write an IPv4 address in a URL. */
const FORMS: Array<(address: string) => string> = [
  (a) => a, (a) => `[::ffff:${a}]`, hex, (a) => `[0:0:0:0:0:FFFF:${a}]`, (a) => String(asNumber(a)), (a) => `0x${asNumber(a).toString(16)}`,
  (a) => octets(a).map((o) => `0${o.toString(8)}`).join('.'), (a) => { const [first, ...rest] = octets(a); return `${first}.${rest.reduce((n, o) => n * 256 + o, 0)}`; },
];
const hostOf = (host: string): string => new URL(`http://${host}/`).hostname.replace(/^\[|\]$/g, '');
const ipv4 = (...first: number[]): fc.Arbitrary<string> => fc.tuple(...Array.from({ length: 4 - first.length }, () => fc.nat(255))).map((rest) => [...first, ...rest].join('.'));

it('this machine, its link, and what is no machine are refused in every way of writing them', () => {
  fc.assert(fc.property(fc.oneof(ipv4(127), ipv4(0), ipv4(169, 254), fc.integer({ min: 224, max: 255 }).chain((first) => ipv4(first)), fc.constantFrom(...mine)), fc.constantFrom(...FORMS), (address, form) => {
    expect(closed.refusal(hostOf(form(address)))).toMatch(/^is /);
  }));
});

it('another machine is not, and what the site allows is not', () => {
  const open = createAddressPolicy(['127.0.0.0/8', ...mine]);
  fc.assert(fc.property(fc.constantFrom('192.0.2.1', '10.1.2.3', '203.0.113.77'), fc.constantFrom(...FORMS), (address, form) => {
    expect(closed.refusal(hostOf(form(address)))).toBeUndefined();
  }));
  fc.assert(fc.property(fc.oneof(ipv4(127), fc.constantFrom(...mine)), fc.constantFrom(...FORMS), (address, form) => {
    expect(open.refusal(hostOf(form(address)))).toBeUndefined();
  }));
});

/** Whoever answers for the name answers another way each time. */
it('a name is asked about for each connection, and refused when any of its addresses is', async () => {
  const answers = [['192.0.2.1'], ['127.0.0.1'], ['192.0.2.1', '::1'], [mine[0] ?? '127.0.0.1']];
  const policy = createAddressPolicy([], (_, __, callback) => callback(null, (answers.shift() ?? []).map((address) => ({ address, family: isIP(address) }))));
  const look = (): Promise<unknown> => new Promise((found, reject) => {
    policy.lookup('turning.example.org', { all: true }, (error, addresses) => (error === null ? found(addresses) : reject(error)));
  });
  expect(await look()).toEqual([{ address: '192.0.2.1', family: 4 }]);
  for (let i = 0; i < 3; i += 1) await expect(look()).rejects.toThrow(/^turning\.example\.org is .*, which is this machine itself$/);
});
