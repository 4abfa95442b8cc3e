import { expect, test } from 'vitest';
import { groupSize } from '../../../src/authorization/rules/group-size.ts';
import { applied, create, extend } from '../asks.ts';

test('bounds each group of an ensemble by itself', () => {
  expect(groupSize.check(applied({ group_size: 3 }), create({ minCount: 3 }, { minCount: 2 }))).toEqual({ limit: 3, used: null, asked: 3, ok: true });
  expect(groupSize.check(applied({ group_size: 3 }), create({ minCount: 1 }, { minCount: 4 }))).toMatchObject({ asked: 4, ok: false });
});

test('up to so many is no refusal', () => {
  expect(groupSize.check(applied({ group_size: 3 }), create({ minCount: 1, maxCount: 50 }))).toMatchObject({ asked: 1, ok: true });
});

test('has nothing to say of a later end, nor without a bound', () => {
  expect(groupSize.check(applied({ group_size: 0 }), extend())).toBeUndefined();
  expect(groupSize.check(applied({}), create())).toBeUndefined();
});
