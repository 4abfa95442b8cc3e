import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isPattern, matches } from '../../src/authorization/patterns.ts';

test('a pattern matches as its regular expression does', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 12 });
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*'), maxLength: 8 });
  fc.assert(fc.property(pattern, text, (p, t) => {
    expect(matches(p, t)).toBe(new RegExp(`^${p.replaceAll('.', '\\.').replaceAll(/\*+/g, '[^]*')}$`).test(t));
  }), { numRuns: 2000 });
});

test('many stars do not make it slow: it looks at each pair of places once at most', () => {
  expect(matches(`${'*a'.repeat(30)}*b`, 'a'.repeat(64))).toBe(false);
});

test.each([['debian-*', true], ['common/debian-*', true], ['~/*', true], ['*', true], ['a/b/c', false], ['', false], ['a b', false], ['x/', false], ['/x', false], ['~', false]])('%s: %s', (text, expected) => {
  expect(isPattern(text)).toBe(expected);
});
