// Bundles the programs into dist/: the service and its CLI, the agent and the pilot (one file each, no dependency but Node), the demo.
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const quiet = process.argv.includes('--quiet');
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  sourcemap: 'linked',
  legalComments: 'none',
  logLevel: 'warning',
  define: { __NIMBUS_VERSION__: JSON.stringify(version) },
};

const programs = [
  {
    entryPoints: ['src/control/agent/main.ts'], outfile: 'dist/workspace-control.cjs', format: 'cjs', sourcemap: false, minifySyntax: true,
    // version.ts reads package.json by import.meta only when it was not bundled.
    logOverride: { 'empty-import-meta': 'silent' },
  },
  {
    entryPoints: ['src/pilot/program/main.ts'], outfile: 'dist/workspace-pilot.cjs', format: 'cjs', sourcemap: false, minifySyntax: true,
    logOverride: { 'empty-import-meta': 'silent' },
  },
  { entryPoints: ['src/main.ts'], outfile: 'dist/nimbus.mjs', format: 'esm', packages: 'external' },
  { entryPoints: ['src/demo.ts'], outfile: 'dist/demo.mjs', format: 'esm', packages: 'external' },
].filter((p) => existsSync(p.entryPoints[0]));

// Renamed into place, so that a program that starts meanwhile finds a whole file.
mkdirSync('dist', { recursive: true });
const draft = mkdtempSync('dist/.build-');
try {
  await Promise.all(programs.map((p) => build({ ...common, ...p, outfile: join(draft, p.outfile.slice('dist/'.length)) })));
  for (const file of readdirSync(draft)) renameSync(join(draft, file), join('dist', file));
} finally {
  rmSync(draft, { recursive: true, force: true });
}
if (!quiet) for (const p of programs) console.log(`built ${p.outfile}`);
