import { expect, test } from 'vitest';
// @ts-expect-error a tool without types
import { unseen as untyped } from '../../tools/ec2-seen.mjs';

const unseen = untyped as (operations: Iterable<{ name: string; errors: readonly string[] }>, seen: Iterable<string>) => string[];

test('an action whose success or one of whose faults no test has seen is named', () => {
  const table = [{ name: 'RunThings', errors: ['NoRoom', 'TooMany'] }, { name: 'ListThings', errors: [] }];
  expect(unseen(table, [])).toEqual(['RunThings.success', 'RunThings.NoRoom', 'RunThings.TooMany', 'ListThings.success']);
  expect(unseen(table, ['RunThings.success', 'RunThings.TooMany', 'ListThings.success', 'RunThings.Other'])).toEqual(['RunThings.NoRoom']);
});
