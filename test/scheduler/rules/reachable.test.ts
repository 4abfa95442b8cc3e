import { expect, test } from 'vitest';
import { reachable } from '../../../src/scheduler/rules/reachable.ts';
import { demand, node } from '../nodes.ts';

test('a node whose agent answers is allowed', () => {
  expect(reachable.allows(node(1), demand())).toBe(true);
});

test('a silent node is refused now, not for ever', () => {
  const silent = node(1, { reachable: false });
  expect(reachable.allows(silent, demand())).toBe(false);
  expect(reachable.reason(silent, demand())).toBe('its agent does not answer');
  expect(reachable.allowsEver(silent, demand())).toBe(true);
});
