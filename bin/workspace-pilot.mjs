#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../dist/workspace-pilot.cjs', import.meta.url));
if (!existsSync(program)) {
  console.error('workspace-pilot: not built yet; run "npm run build" first');
  process.exit(2);
}
createRequire(import.meta.url)(program);
