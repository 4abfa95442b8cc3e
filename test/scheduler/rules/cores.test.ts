import { expect, test } from 'vitest';
import { cores } from '../../../src/scheduler/rules/cores.ts';
import { demand, node } from '../nodes.ts';

test('the last core may be used, not one more', () => {
  const used = node(1, { cores: 4, coresUsed: 3 });
  expect(cores.allows(used, demand({ cores: 1 }))).toBe(true);
  expect(cores.allows(used, demand({ cores: 2 }))).toBe(false);
  expect(cores.reason(used, demand({ cores: 2 }))).toBe('2 cores asked, 1 of 4 free');
});

test('what the empty node would hold is possible later', () => {
  const full = node(1, { cores: 4, coresUsed: 4 });
  expect(cores.allowsEver(full, demand({ cores: 4 }))).toBe(true);
  expect(cores.allowsEver(full, demand({ cores: 5 }))).toBe(false);
});
