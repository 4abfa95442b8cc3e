import { expect, test } from 'vitest';
import { leases } from '../../../src/authorization/rules/leases.ts';
import { applied, create, extend } from '../asks.ts';

const ask = create({ minCount: 2, maxCount: 9 });

test('what is used and asked may come to the limit, not to more', () => {
  expect(leases.check(applied({ leases: 7 }, { leases: 5 }), ask)).toEqual({ limit: 7, used: 5, asked: 2, ok: true });
  expect(leases.check(applied({ leases: 6 }, { leases: 5 }), ask)).toEqual({ limit: 6, used: 5, asked: 2, ok: false });
});

test('all groups of an ensemble count together', () => {
  expect(leases.check(applied({ leases: 4 }), create({ minCount: 2, maxCount: 9 }, { minCount: 2, maxCount: 9 }))).toMatchObject({ asked: 4, ok: true });
});

test('a policy that does not bound it has nothing to say, nor has a later end', () => {
  expect(leases.check(applied({}), ask)).toBeUndefined();
  expect(leases.check(applied({ leases: 0 }), extend())).toBeUndefined();
});
