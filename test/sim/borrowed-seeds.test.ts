/** Sites that borrow their nodes from a batch system: 149 of the 499 seeds. The one that is left out stands in docs/simulation.md. */
import { expect, it } from 'vitest';
import { brokenOnes, seeds } from './run-sim.ts';

it.each([[1, 113], [115, 150]])('every rule holds in the seeds %i to %i', { timeout: 2_400_000 }, async (from, to) => {
  const lines = await seeds('--seeds', `${from}-${to}`, '--pilot');
  expect(brokenOnes(lines)).toEqual([]);
  expect(lines).toHaveLength(to - from + 1);
});
