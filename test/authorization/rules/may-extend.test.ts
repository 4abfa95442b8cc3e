import { expect, test } from 'vitest';
import { mayExtend } from '../../../src/authorization/rules/may-extend.ts';
import { applied, create, extend } from '../asks.ts';

test('a later end is refused where it may not be, and only there', () => {
  expect(mayExtend.check(applied({ may_extend: false }), extend())).toEqual({ limit: false, used: null, asked: 'a later end', ok: false });
  expect(mayExtend.check(applied({ may_extend: true }), extend())).toMatchObject({ ok: true });
  expect(mayExtend.check(applied({}), extend())).toBeUndefined();
});

test('has nothing to say of a create', () => {
  expect(mayExtend.check(applied({ may_extend: false }), create())).toBeUndefined();
});
