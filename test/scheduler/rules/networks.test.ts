import { expect, test } from 'vitest';
import { networks } from '../../../src/scheduler/rules/networks.ts';
import { demand, node } from '../nodes.ts';

test('* offers every network', () => {
  expect(networks.allows(node(1, { networks: ['*'] }), demand({ networks: ['public', 'private'] }))).toBe(true);
});

test('every network asked must be offered', () => {
  const asked = demand({ networks: ['public', 'private'] });
  expect(networks.allows(node(1, { networks: ['private', 'public', 'other'] }), asked)).toBe(true);
  const lacking = node(1, { networks: ['public'] });
  expect(networks.allows(lacking, asked)).toBe(false);
  expect(networks.allowsEver(lacking, asked)).toBe(false);
  expect(networks.reason(lacking, asked)).toBe('not on network private');
});

test('no network asked: every node is allowed', () => {
  expect(networks.allows(node(1, { networks: [] }), demand({ networks: [] }))).toBe(true);
});
