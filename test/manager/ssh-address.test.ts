import fc from 'fast-check';
import { expect, it } from 'vitest';
import { sshAddress } from '../../src/manager/slots/ssh-address.ts';

it.each([
  ['{host}', 'n17', 'n17'],
  ['{host}.cluster.example.org', 'n17', 'n17.cluster.example.org'],
  ['10.1.0.{number}', 'n17', '10.1.0.17'],
  ['10.1.0.{number}', 'rack3-n017', '10.1.0.17'],
  ['10.1.0.{number}', 'n000.rack2', '10.1.0.0'],
  ['10.1.0.{number}', 'login', undefined],
  ['10.1.0.{number}', 'n17a.rack2', undefined],
])('%s of %s is %s', (template, host, address) => {
  expect(sshAddress(template, host)).toBe(address);
});

it('nodes of different numbers have different addresses', () => {
  fc.assert(fc.property(fc.nat(1e9), fc.nat(1e9), (a, b) => {
    const of = (n: number): string | undefined => sshAddress('10.{number}', `node${n}`);
    expect(of(a) === of(b)).toBe(a === b);
  }));
});
