// Bundles the simulator: the program of the nodes (agent and pilot) as one CommonJS text, of which each simulated process
// gets an instance with a file system and sockets of its own, and the simulator around it, which Node runs.
import { build } from 'esbuild';
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** Mistakes that can be planted, to see that the simulator finds them. */
export const MUTATIONS = JSON.parse(readFileSync(join(root, 'test/sim/mutations.json'), 'utf8'));

const common = {
  absWorkingDir: root, bundle: true, platform: 'node', target: 'node20', logLevel: 'warning', legalComments: 'none',
  define: { __NIMBUS_VERSION__: JSON.stringify(version) }, logOverride: { 'empty-import-meta': 'silent' },
};

/** @param {string} outfile @param {string | undefined} mutation name of one of MUTATIONS */
export async function bundleSim(outfile, mutation) {
  const planted = mutation === undefined ? undefined : MUTATIONS.find((m) => m.name === mutation);
  if (mutation !== undefined && planted === undefined) throw new Error(`no mutation is named ${mutation}; there are ${MUTATIONS.map((m) => m.name).join(', ')}`);
  const { plugin: plant, done } = planting(planted);
  const { outputFiles: [program] } = await build({
    ...common, entryPoints: ['test/sim/node/program.ts'], format: 'cjs', write: false, plugins: [plant, overTheSimulatedNetwork],
  });
  await build({ ...common, entryPoints: ['test/sim/main.ts'], outfile, format: 'esm', packages: 'external', sourcemap: 'inline', plugins: [plant, textOf('sim:node-program', program.text)] });
  if (planted !== undefined && !done()) throw new Error(`${planted.file} was not bundled, so ${planted.name} was not planted`);
}

/** The pilot's HTTP, which is Node's own, goes over the simulated network. */
const overTheSimulatedNetwork = {
  name: 'http',
  setup(b) {
    b.onResolve({ filter: /^\.\/http\.ts$/ }, ({ importer }) => (relative(root, importer).startsWith('src/pilot/program/') ? { path: join(root, 'test/sim/node/http.ts') } : undefined));
  },
};

function textOf(name, text) {
  return {
    name: 'text',
    setup(b) {
      b.onResolve({ filter: new RegExp(`^${name}$`) }, () => ({ path: name, namespace: 'text' }));
      b.onLoad({ filter: /.*/, namespace: 'text' }, () => ({ contents: text, loader: 'text' }));
    },
  };
}

function planting(mutation) {
  let planted = false;
  const plugin = {
    name: 'mutation',
    setup(b) {
      if (mutation === undefined) return;
      b.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (relative(root, path) !== mutation.file) return undefined;
        const text = readFileSync(path, 'utf8');
        if (text.split(mutation.find).length !== 2) throw new Error(`${mutation.file} has not exactly one ${JSON.stringify(mutation.find)}`);
        planted = true;
        return { contents: text.replace(mutation.find, () => mutation.replace), loader: 'ts' };
      });
    },
  };
  return { plugin, done: () => planted };
}
