import { expect, test } from 'vitest';
import { networks } from '../../../src/authorization/rules/networks.ts';
import { applied, create, extend } from '../asks.ts';

test('every one that is named must be allowed, and those that are not are named', () => {
  expect(networks.check(applied({ networks: ['public'] }), create({ networks: ['public'] }))).toEqual({ limit: ['public'], used: null, asked: ['public'], ok: true });
  expect(networks.check(applied({ networks: ['public'] }), create({ networks: ['public'] }, { networks: ['public', 'lab-2'] }))).toEqual({ limit: ['public'], used: null, asked: ['lab-2'], ok: false });
  expect(networks.check(applied({ networks: ['public', 'lab-*'] }), create({ networks: ['public'] }, { networks: ['public', 'lab-2'] }))).toMatchObject({ ok: true });
});

test('has nothing to say of a later end, nor without a bound', () => {
  expect(networks.check(applied({ networks: [] }), extend())).toBeUndefined();
  expect(networks.check(applied({}), create())).toBeUndefined();
});
