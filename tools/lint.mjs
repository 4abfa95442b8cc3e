// The checks that read the source: floors, then eslint. `--fix` mends what eslint can mend.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { breaches } from './floors.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const found = breaches(root);
for (const sentence of found) console.error(sentence);
const eslint = spawnSync(process.execPath, ['node_modules/eslint/bin/eslint.js', '--cache', '--cache-location', 'node_modules/.cache/eslint/', '.', ...process.argv.slice(2)], { cwd: root, stdio: 'inherit' });
process.exitCode = found.length > 0 || eslint.status !== 0 ? 1 : 0;
