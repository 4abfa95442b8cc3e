import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** `npm run test:every-moment`: kills at each moment also where a run of the tests takes a part of them; an hour or so. */
export default defineConfig({
  test: {
    root: fileURLToPath(new URL('../..', import.meta.url)),
    include: ['test/integration/{service,agent}-crash.test.ts', 'test/manager/crash*.test.ts'],
    env: { NIMBUS_EVERY_MOMENT: '1' },
    globalSetup: ['test/support/run.ts'],
    pool: 'forks',
    maxWorkers: 2,
    reporters: ['verbose'],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 60_000 } },
    teardownTimeout: 30_000,
  },
});
