import { expect, test } from 'vitest';
import { duration } from '../../../src/authorization/rules/duration.ts';
import { applied, create, extend } from '../asks.ts';

test('the longest of what is asked counts', () => {
  expect(duration.check(applied({ duration: 7200 }), create({ durationS: 60 }, { durationS: 7200 }))).toEqual({ limit: 7200, used: null, asked: 7200, ok: true });
  expect(duration.check(applied({ duration: 7200 }), create({ durationS: 60 }, { durationS: 7201 }))).toMatchObject({ ok: false });
});

test('an extended lease counts from its beginning', () => {
  expect(duration.check(applied({ duration: 7200 }), extend({ durationS: 7201 }))).toMatchObject({ asked: 7201, ok: false });
});

test('a policy without it has nothing to say', () => {
  expect(duration.check(applied({}), create())).toBeUndefined();
});
