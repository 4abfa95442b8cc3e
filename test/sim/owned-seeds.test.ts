/** Sites with nodes of their own: 350 of the 500 seeds, in two processes. */
import { expect, it } from 'vitest';
import { brokenOnes, seeds } from './run-sim.ts';

it.each([[1, 175], [176, 350]])('every rule holds in the seeds %i to %i', { timeout: 2_400_000 }, async (from, to) => {
  const lines = await seeds('--seeds', `${from}-${to}`);
  expect(brokenOnes(lines)).toEqual([]);
  expect(lines).toHaveLength(175);
  expect(lines.filter((l) => l.ran > 0).length).toBeGreaterThan(175 / 2);
});
