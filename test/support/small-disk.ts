/** A file system that is soon full, for tests that `hasPart('mounts')` lets run. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { expect } from 'vitest';

/** @param size as mount(8) has it for tmpfs */
export async function onSmallDisk(dir: string, size: string, fn: () => Promise<void>): Promise<void> {
  mkdirSync(dir, { recursive: true });
  expect(spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', dir]).status).toBe(0);
  try {
    await fn();
  } finally {
    spawnSync('umount', ['--lazy', dir]);
  }
}
