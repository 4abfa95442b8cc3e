/** A file system that is soon full. Only root mounts one: tests that need it are skipped where `hasPart('root')` is not so. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import type { TestContext } from 'vitest';

/** @param size as mount(8) has it for tmpfs. Where root may not mount, as in some containers, the test is skipped and says so */
export async function onSmallDisk(test: TestContext, dir: string, size: string, fn: () => Promise<void>): Promise<void> {
  mkdirSync(dir, { recursive: true });
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', dir]);
  if (mounted.status !== 0) test.skip(`SKIPPED: no file system can be mounted here: ${mounted.stderr.toString()}`);
  try {
    await fn();
  } finally {
    spawnSync('umount', ['--lazy', dir]);
  }
}
