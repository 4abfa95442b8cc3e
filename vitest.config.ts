import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Asked for by name: npm run test:xen, npm run test:more-clients, npm run test:every-moment.
    exclude: [...configDefaults.exclude, 'test/xen/**', 'test/more-clients/**'],
    globalSetup: ['test/support/run.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // None waits for so long where all is well: a machine may be busy, and a test says itself what does not come.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 60_000 } },
    teardownTimeout: 30_000,
  },
});
