/** Sites that borrow their nodes from a batch system: 100 seeds. */
import { expect, it } from 'vitest';
import { brokenOnes, seeds } from './run-sim.ts';

it('every rule holds in each of 100 seeds', { timeout: 2_400_000 }, async () => {
  const lines = await seeds('--seeds', '1-100', '--pilot');
  expect(brokenOnes(lines)).toEqual([]);
  expect(lines).toHaveLength(100);
});
