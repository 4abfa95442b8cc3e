import { defineConfig } from 'vitest/config';

/** `npm run upgrade:fixtures`: writes what the next version is tried against. */
export default defineConfig({ test: { root: new URL('../..', import.meta.url).pathname, include: ['test/upgrade/make.ts'], globalSetup: ['test/support/run.ts'], pool: 'forks' } });
