import { expect, test } from 'vitest';
import { images } from '../../../src/authorization/rules/images.ts';
import { applied, create, extend } from '../asks.ts';

const id = 'ami-0123456789abcdef0';
const common = create({ image: { id, name: 'debian-12', owner: null } });
const own = create({ image: { id, name: 'mine', owner: 'alice' } });
const ok = (pattern: string, ask = common): boolean | undefined => images.check(applied({ images: [pattern] }), ask)?.ok;

test.each([
  ['debian-12', true], ['debian-*', true], ['*', true], ['*-12', true], ['ubuntu-*', false], ['debian', false],
  ['common/*', true], ['common/debian-*', true], ['*/debian-*', true], ['alice/*', false], ['~/*', false], [id, true], ['ami-0123456789abcdef1', false],
])('everyone’s debian-12 against %s: %s', (pattern, expected) => {
  expect(ok(pattern)).toBe(expected);
});

test.each([['~/*', true], ['alice/*', true], ['common/*', false], ['mine', true], ['bob/*', false], ['*/mine', true]])('the user’s own against %s: %s', (pattern, expected) => {
  expect(ok(pattern, own)).toBe(expected);
});

test('names the images that are refused, with their owners', () => {
  const ask = create({}, { image: { id: 'ami-0123456789abcdef1', name: 'mine', owner: 'alice' } });
  expect(images.check(applied({ images: ['common/*'] }), ask)).toEqual({ limit: ['common/*'], used: null, asked: ['alice/mine'], ok: false });
});

test('an empty list allows none; no list allows all; a later end has no image', () => {
  expect(images.check(applied({ images: [] }), common)?.ok).toBe(false);
  expect(images.check(applied({}), common)).toBeUndefined();
  expect(images.check(applied({ images: [] }), extend())).toBeUndefined();
});
