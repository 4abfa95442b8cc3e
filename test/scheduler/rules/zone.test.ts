import { expect, test } from 'vitest';
import { zone } from '../../../src/scheduler/rules/zone.ts';
import { demand, node } from '../nodes.ts';

test('every node is allowed when no zone is asked', () => {
  expect(zone.allows(node(1, { zone: 'east' }), demand())).toBe(true);
});

test('a node of another zone is refused for ever', () => {
  const asked = demand({ zone: 'east' });
  expect(zone.allows(node(1, { zone: 'east' }), asked)).toBe(true);
  expect(zone.allows(node(1, { zone: 'west' }), asked)).toBe(false);
  expect(zone.allowsEver(node(1, { zone: 'west' }), asked)).toBe(false);
  expect(zone.reason(node(1, { zone: 'west' }), asked)).toBe('in zone west, east asked');
});

test('whatever is asked, a node must be in a zone that is allowed', () => {
  const bounded = demand({ zones: ['east'] });
  expect(zone.allows(node(1, { zone: 'east' }), bounded)).toBe(true);
  expect(zone.allows(node(1, { zone: 'west' }), bounded)).toBe(false);
  expect(zone.reason(node(1, { zone: 'west' }), bounded)).toBe('in zone west, which is not allowed');
});
