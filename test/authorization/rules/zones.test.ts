import { expect, test } from 'vitest';
import { zones } from '../../../src/authorization/rules/zones.ts';
import { applied, create, extend } from '../asks.ts';

test('a zone that is named must be allowed', () => {
  expect(zones.check(applied({ zones: ['e*'] }), create({ zone: 'east' }))).toEqual({ limit: ['e*'], used: null, asked: ['east'], ok: true });
  expect(zones.check(applied({ zones: ['e*'] }), create({ zone: 'east' }, { zone: 'west' }))).toEqual({ limit: ['e*'], used: null, asked: ['west'], ok: false });
});

test('who names none needs one of the site that is allowed', () => {
  expect(zones.check(applied({ zones: ['west'] }), create())).toMatchObject({ asked: 'any', ok: true });
  expect(zones.check(applied({ zones: ['north'] }), create())).toMatchObject({ asked: 'any', ok: false });
  expect(zones.check(applied({ zones: ['north'] }), { ...create(), zones: [] })).toMatchObject({ ok: true });
});

test('has nothing to say of a later end, nor without a bound', () => {
  expect(zones.check(applied({ zones: [] }), extend())).toBeUndefined();
  expect(zones.check(applied({}), create())).toBeUndefined();
});
