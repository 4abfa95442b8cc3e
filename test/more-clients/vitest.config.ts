import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** `npm run test:more-clients`: clients that are too large to be installed for each run of the tests. */
export default defineConfig({
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['test/more-clients/**/*.test.ts'],
    globalSetup: ['test/support/run.ts'],
    pool: 'forks',
    maxWorkers: 1,
    reporters: ['verbose'],
    testTimeout: 600_000,
    hookTimeout: 180_000,
    teardownTimeout: 30_000,
  },
});
