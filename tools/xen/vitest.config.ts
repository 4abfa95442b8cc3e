import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** One machine, one test at a time: QEMU without hardware virtualization takes a core. */
export default defineConfig({
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['test/xen/**/*.test.ts'],
    globalSetup: ['test/support/run.ts'],
    pool: 'forks',
    maxWorkers: 1,
    // The table of times is to be read as it is printed.
    disableConsoleIntercept: true,
    reporters: ['verbose'],
    testTimeout: 180_000,
    hookTimeout: 300_000,
    teardownTimeout: 30_000,
  },
});
