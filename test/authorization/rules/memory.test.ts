import { expect, test } from 'vitest';
import { memory } from '../../../src/authorization/rules/memory.ts';
import { applied, create, extend } from '../asks.ts';

const ask = create({ minCount: 2, memoryMb: 512 });

test('what is used and asked may come to the limit, not to more', () => {
  expect(memory.check(applied({ memory_mb: 1029 }, { memoryMb: 5 }), ask)).toEqual({ limit: 1029, used: 5, asked: 1024, ok: true });
  expect(memory.check(applied({ memory_mb: 1028 }, { memoryMb: 5 }), ask)).toEqual({ limit: 1028, used: 5, asked: 1024, ok: false });
});

test('all groups of an ensemble count together', () => {
  expect(memory.check(applied({ memory_mb: 2048 }), create({ minCount: 2, memoryMb: 512 }, { minCount: 2, memoryMb: 512 }))).toMatchObject({ asked: 2048, ok: true });
});

test('a policy that does not bound it has nothing to say, nor has a later end', () => {
  expect(memory.check(applied({}), ask)).toBeUndefined();
  expect(memory.check(applied({ memory_mb: 0 }), extend())).toBeUndefined();
});
