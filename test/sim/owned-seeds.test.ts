/** Sites with nodes of their own: 400 of the 500 seeds. */
import { expect, it } from 'vitest';
import { brokenOnes, seeds } from './run-sim.ts';

it('every rule holds in each of 400 seeds', { timeout: 2_400_000 }, async () => {
  const lines = await seeds('--seeds', '1-400');
  expect(brokenOnes(lines)).toEqual([]);
  expect(lines).toHaveLength(400);
});
