/** Sites with nodes of their own: 500 seeds, in two processes. */
import { expect, it } from 'vitest';
import { brokenOnes, seeds } from './run-sim.ts';

it.each([[1, 250], [251, 500]])('every rule holds in the seeds %i to %i', { timeout: 2_400_000 }, async (from, to) => {
  const lines = await seeds('--seeds', `${from}-${to}`);
  expect(brokenOnes(lines)).toEqual([]);
  expect(lines).toHaveLength(250);
  expect(lines.filter((l) => l.ran > 0).length).toBeGreaterThan(250 / 2);
});
