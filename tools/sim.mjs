// `npm run sim`: bundles the simulator and runs it; `--mutate NAME` plants a mistake first. `npm run sim -- --help` says the rest.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleSim } from './sim/bundle.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const args = process.argv.slice(2);
const at = args.indexOf('--mutate');
const [mutation] = at === -1 ? [] : args.splice(at, 2).slice(1);

// Inside the project, so that Node finds its modules.
const out = mkdtempSync(join(root, '.sim-'));
try {
  const program = join(out, 'sim.mjs');
  await bundleSim(program, mutation);
  const { status } = spawnSync(process.execPath, ['--enable-source-maps', program, ...args], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
