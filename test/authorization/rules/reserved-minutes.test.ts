import { expect, test } from 'vitest';
import { reservedMinutes } from '../../../src/authorization/rules/reserved-minutes.ts';
import { applied, create, extend } from '../asks.ts';

const had = { closedMinutes: 100, reservedMinutes: 50, runningMinutes: 20 };

test('counts what was charged, what live leases reserve, and what is asked', () => {
  const ask = create({ minCount: 2, minutes: 60 });
  expect(reservedMinutes.check(applied({ reserved_minutes: 270 }, had), ask)).toEqual({ limit: 270, used: 150, asked: 120, ok: true });
  expect(reservedMinutes.check(applied({ reserved_minutes: 269 }, had), ask)).toMatchObject({ ok: false });
});

test('a later end asks for what it adds', () => {
  expect(reservedMinutes.check(applied({ reserved_minutes: 160 }, had), extend({ minutes: 10 }))).toMatchObject({ used: 150, asked: 10, ok: true });
  expect(reservedMinutes.check(applied({ reserved_minutes: 160 }, had), extend({ minutes: 11 }))).toMatchObject({ ok: false });
});

test('a policy without it has nothing to say', () => {
  expect(reservedMinutes.check(applied({}, had), create())).toBeUndefined();
});
