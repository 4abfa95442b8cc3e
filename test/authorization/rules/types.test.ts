import { expect, test } from 'vitest';
import { types } from '../../../src/authorization/rules/types.ts';
import { applied, create, extend } from '../asks.ts';

test('every one that is named must be allowed, and those that are not are named', () => {
  expect(types.check(applied({ types: ['m1.small'] }), create({ type: 'm1.small' }))).toEqual({ limit: ['m1.small'], used: null, asked: ['m1.small'], ok: true });
  expect(types.check(applied({ types: ['m1.small'] }), create({ type: 'm1.small' }, { type: 'm1.large' }))).toEqual({ limit: ['m1.small'], used: null, asked: ['m1.large'], ok: false });
  expect(types.check(applied({ types: ['m1.small', 'm1.l*'] }), create({ type: 'm1.small' }, { type: 'm1.large' }))).toMatchObject({ ok: true });
});

test('has nothing to say of a later end, nor without a bound', () => {
  expect(types.check(applied({ types: [] }), extend())).toBeUndefined();
  expect(types.check(applied({}), create())).toBeUndefined();
});
