import { expect, test } from 'vitest';
import { cores } from '../../../src/authorization/rules/cores.ts';
import { applied, create, extend } from '../asks.ts';

const ask = create({ minCount: 2, cores: 3 });

test('what is used and asked may come to the limit, not to more', () => {
  expect(cores.check(applied({ cores: 11 }, { cores: 5 }), ask)).toEqual({ limit: 11, used: 5, asked: 6, ok: true });
  expect(cores.check(applied({ cores: 10 }, { cores: 5 }), ask)).toEqual({ limit: 10, used: 5, asked: 6, ok: false });
});

test('all groups of an ensemble count together', () => {
  expect(cores.check(applied({ cores: 12 }), create({ minCount: 2, cores: 3 }, { minCount: 2, cores: 3 }))).toMatchObject({ asked: 12, ok: true });
});

test('a policy that does not bound it has nothing to say, nor has a later end', () => {
  expect(cores.check(applied({}), ask)).toBeUndefined();
  expect(cores.check(applied({ cores: 0 }), extend())).toBeUndefined();
});
