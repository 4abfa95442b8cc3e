import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Asked for by name: npm run test:xen, npm run test:more-clients.
    exclude: [...configDefaults.exclude, 'test/xen/**', 'test/more-clients/**'],
    globalSetup: ['test/support/run.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
  },
});
