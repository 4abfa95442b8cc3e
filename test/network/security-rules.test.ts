import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isFault } from '../../src/lease/faults.ts';
import { checkRule, sameRule, type RuleAsked } from '../../src/network/security-rules.ts';

const group = (name: string): string => `sg-${name}`;
const check = (r: Partial<RuleAsked>) => checkRule({ protocol: 'tcp', fromPort: 1, toPort: 2, peer: { cidr: '10.0.0.0/8' }, ...r }, group);

test.each([
  [{ protocol: 'TCP' }, { protocol: 'tcp', fromPort: 1, toPort: 2 }], [{ protocol: '6' }, { protocol: 'tcp' }], [{ protocol: '17' }, { protocol: 'udp' }],
  [{ protocol: 'all' }, { protocol: '-1', fromPort: -1, toPort: -1 }], [{ protocol: '47' }, { protocol: '47', fromPort: -1 }],
  [{ protocol: '58', fromPort: undefined, toPort: undefined }, { protocol: 'icmpv6', fromPort: -1, toPort: -1 }], [{ protocol: 'icmp', fromPort: 3, toPort: 4 }, { fromPort: 3, toPort: 4 }],
  [{ peer: { cidr: '10.255.1.2/12' } }, { peer: '10.240.0.0/12' }], [{ peer: { cidr: '1.2.3.4/0' } }, { peer: '0.0.0.0/0' }], [{ peer: { cidr6: '0:0::1/128' } }, { peer: '::1/128' }],
  [{ peer: { group: 'web' } }, { peer: 'sg-web' }],
] as Array<[Partial<RuleAsked>, object]>)('%j is kept as %j', (asked, kept) => {
  expect(check(asked)).toMatchObject(kept);
});

test('whatever is asked is refused with a code, or kept in a form that is kept as it is', () => {
  const text = fc.oneof(fc.string(), fc.constantFrom('tcp', 'udp', 'icmp', '-1', '6', '255', '10.0.0.0/8', '::/0', '::ffff:1.2.3.4/96', '1.2.3.4/33', '010.0.0.1/8'), fc.ipV4().map((a) => `${a}/9`), fc.ipV6().map((a) => `${a}/64`));
  const port = fc.option(fc.integer({ min: -5, max: 70_000 }), { nil: undefined });
  const peer = fc.oneof(text.map((cidr) => ({ cidr })), text.map((cidr6) => ({ cidr6 })));
  fc.assert(fc.property(fc.record({ protocol: text, fromPort: port, toPort: port, peer, description: fc.option(fc.string(), { nil: undefined }) }), (asked) => {
    let kept;
    try {
      kept = checkRule(asked, group);
    } catch (e) {
      expect(isFault(e)).toBe(true);
      return;
    }
    const address = kept.peer.slice(0, kept.peer.indexOf('/'));
    expect(isIPv4(address) || isIPv6(address)).toBe(true);
    const again = checkRule({ ...kept, description: kept.description ?? undefined, peer: isIPv4(address) ? { cidr: kept.peer } : { cidr6: kept.peer } }, group);
    expect(sameRule(again, kept)).toBe(true);
  }), { numRuns: 1000 });
});
