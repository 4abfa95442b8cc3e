import { expect, test } from 'vitest';
import { usedMinutes } from '../../../src/authorization/rules/used-minutes.ts';
import { applied, create, extend } from '../asks.ts';

const had = { closedMinutes: 100, runningMinutes: 20, reservedMinutes: 5000 };

test('refuses when the minutes are used up, not before', () => {
  expect(usedMinutes.check(applied({ used_minutes: 121 }, had), create({ minutes: 9999 }))).toEqual({ limit: 121, used: 120, asked: 'more', ok: true });
  expect(usedMinutes.check(applied({ used_minutes: 120 }, had), create())).toMatchObject({ ok: false });
  expect(usedMinutes.check(applied({ used_minutes: 120 }, had), extend())).toMatchObject({ ok: false });
});

test('what is not looked up counts as what is reserved: never too little', () => {
  expect(usedMinutes.check(applied({ used_minutes: 5101 }, { ...had, runningMinutes: null }), create())).toMatchObject({ used: 5100, ok: true });
  expect(usedMinutes.check(applied({ used_minutes: 5100 }, { ...had, runningMinutes: null }), create())).toMatchObject({ ok: false });
});

test('a policy without it has nothing to say', () => {
  expect(usedMinutes.check(applied({}, had), create())).toBeUndefined();
});
