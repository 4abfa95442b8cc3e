#!/usr/bin/env node
import { existsSync } from 'node:fs';

const program = new URL('../dist/nimbus.mjs', import.meta.url);
if (!existsSync(program)) {
  console.error('nimbus: not built yet; run "npm run build" first');
  process.exit(2);
}
await import(program.href);
