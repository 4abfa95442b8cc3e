/** Sites with nodes of their own. Seeds that are known to break a rule stand in docs/simulation.md and are not among these. */
import { expect, it } from 'vitest';
import { brokenOnes, seeds } from './run-sim.ts';

it('every rule holds in each of 34 seeds', { timeout: 2_400_000 }, async () => {
  const lines = await seeds('--seeds', '17-50');
  expect(brokenOnes(lines)).toEqual([]);
  expect(lines).toHaveLength(34);
});
