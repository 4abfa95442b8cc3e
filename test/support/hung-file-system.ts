/**
 * A file system that never answers, as one whose server is away: each call on it waits until the process is killed. It is one of FUSE's
 * of which nobody serves the kernel's questions. For tests that `hasPart('fuse')` lets run.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { expect } from 'vitest';

export async function onHungFileSystem(dir: string, fn: () => Promise<void>): Promise<void> {
  mkdirSync(dir, { recursive: true });
  const kernel = openSync('/dev/fuse', 'r+');
  try {
    expect(spawnSync('mount', ['-i', '-t', 'fuse', '-o', 'fd=3,rootmode=40000,user_id=0,group_id=0', 'hung', dir], { stdio: ['ignore', 'ignore', 'ignore', kernel] }).status).toBe(0);
    await fn();
  } finally {
    spawnSync('umount', ['--lazy', dir]);
    // Whoever still waits is let go.
    closeSync(kernel);
  }
}
