/** Sites that borrow their nodes from a batch system: 150 seeds. */
import { expect, it } from 'vitest';
import { brokenOnes, seeds } from './run-sim.ts';

it('every rule holds in the seeds 1 to 150', { timeout: 2_400_000 }, async () => {
  const lines = await seeds('--seeds', '1-150', '--pilot');
  expect(brokenOnes(lines)).toEqual([]);
  expect(lines).toHaveLength(150);
  expect(lines.filter((l) => l.ran > 0).length).toBeGreaterThan(150 / 2);
});
