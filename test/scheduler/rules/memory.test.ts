import { expect, test } from 'vitest';
import { memory } from '../../../src/scheduler/rules/memory.ts';
import { demand, node } from '../nodes.ts';

test('the last MiB may be used, not one more', () => {
  const used = node(1, { memoryMb: 512, memoryUsed: 384 });
  expect(memory.allows(used, demand({ memoryMb: 128 }))).toBe(true);
  expect(memory.allows(used, demand({ memoryMb: 129 }))).toBe(false);
  expect(memory.reason(used, demand({ memoryMb: 129 }))).toBe('129 MiB of memory asked, 128 of 512 free');
});

test('what the empty node would hold is possible later', () => {
  const full = node(1, { memoryMb: 512, memoryUsed: 512 });
  expect(memory.allowsEver(full, demand({ memoryMb: 512 }))).toBe(true);
  expect(memory.allowsEver(full, demand({ memoryMb: 513 }))).toBe(false);
});
