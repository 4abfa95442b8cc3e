// `npm run test:xen`: the pilot on real Xen, booted in QEMU. Arguments go to vitest. Nothing is skipped: whoever asks for
// this suite wants to know about Xen, so a missing part is a failure.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { xenImage } from './image.mjs';
import { missing } from './parts.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

function step(argv, env = process.env) {
  const { status } = spawnSync(process.execPath, argv, { cwd: root, stdio: 'inherit', env });
  return status === 0;
}

function image() {
  try {
    return xenImage((what) => console.log(`making the Xen machine: ${what}`));
  } catch (e) {
    console.error(`The Xen machine cannot be made: ${e.message}`);
    return undefined;
  }
}

const sentence = missing();
if (sentence !== undefined) console.error(sentence);
const directory = sentence === undefined ? image() : undefined;
const passed = directory !== undefined
  && step(['tools/build.mjs', '--quiet'])
  && step(['node_modules/vitest/vitest.mjs', 'run', '--config', 'tools/xen/vitest.config.ts', ...process.argv.slice(2)],
    { ...process.env, NIMBUS_XEN_IMAGE: directory });
process.exitCode = passed ? 0 : 1;
