// Runs benches: `npm run bench` all of them, `npm run bench -- creates group` some. Each is bundled and run by Node.
import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);
const all = readdirSync('bench').filter((f) => f.endsWith('.ts')).map((f) => f.slice(0, -3)).sort();
const [names, args] = split(process.argv.slice(2));
for (const name of names) if (!all.includes(name)) throw new Error(`no bench is named ${name}; there are ${all.join(', ')}`);

// Inside the project, so that Node finds its modules.
const out = mkdtempSync(join(root, '.bench-'));
try {
  for (const name of names.length > 0 ? names : all) {
    console.log(`\n== ${name}`);
    const outfile = join(out, `${name}.mjs`);
    await build({ entryPoints: [`bench/${name}.ts`], outfile, bundle: true, platform: 'node', format: 'esm', packages: 'external', target: 'node20', logLevel: 'warning', define: { 'import.meta.url': JSON.stringify(new URL('test/support/bench.ts', `file://${root}`).href) } });
    const { status } = spawnSync(process.execPath, [outfile, ...args], { stdio: 'inherit' });
    if (status !== 0) process.exitCode = 1;
  }
} finally {
  rmSync(out, { recursive: true, force: true });
}

/** Names of benches before `--`, their arguments behind it. */
function split(words) {
  const at = words.indexOf('--');
  return at === -1 ? [words, []] : [words.slice(0, at), words.slice(at + 1)];
}
