import { expect, test } from 'vitest';
import { active } from '../../../src/scheduler/rules/active.ts';
import { demand, node } from '../nodes.ts';

test('an active node is allowed', () => {
  expect(active.allows(node(1), demand())).toBe(true);
});

test('a drained node is refused now, not for ever', () => {
  const drained = node(1, { active: false });
  expect(active.allows(drained, demand())).toBe(false);
  expect(active.reason(drained, demand())).toBe('drained by an administrator');
  expect(active.allowsEver(drained, demand())).toBe(true);
});
