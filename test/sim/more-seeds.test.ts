/** Sites with policies, accounting, saved disks, preemptible leases: 60 seeds of each mode, in two processes. */
import { expect, it } from 'vitest';
import { brokenOnes, seeds } from './run-sim.ts';

it.concurrent.each([['nodes of their own', []], ['borrowed nodes', ['--pilot']]])('every rule holds with %s', { timeout: 1_200_000 }, async (_, mode) => {
  const lines = await seeds('--seeds', '1-60', '--more', ...mode);
  expect(brokenOnes(lines)).toEqual([]);
  expect(lines).toHaveLength(60);
  // What the rules speak of did happen.
  expect(lines.filter((l) => l.ran > 0).length).toBeGreaterThan(30);
  expect(lines.filter((l) => l.told > 0).length).toBeGreaterThan(30);
  expect(lines.filter((l) => l.saved > 0).length).toBeGreaterThan(10);
});
