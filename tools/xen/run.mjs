// `npm run test:xen`: the pilot on real Xen, booted in QEMU. Arguments go to vitest. Nothing is skipped: whoever asks for
// this suite wants to know about Xen, so a missing part is a failure.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { imageDirectory, makeImage } from './image.mjs';
import { missing } from './parts.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

function step(argv, env = process.env) {
  const { status } = spawnSync(process.execPath, argv, { cwd: root, stdio: 'inherit', env });
  return status === 0;
}

/** The image's directory, or undefined when it cannot be had; why not has been said then. */
function image() {
  const directory = imageDirectory();
  const made = existsSync(directory);
  const sentence = missing(made);
  if (sentence !== undefined) {
    console.error(sentence);
    return undefined;
  }
  try {
    if (!made) makeImage(directory, (what) => console.log(`making the Xen machine: ${what}`));
    return directory;
  } catch (e) {
    console.error(`The Xen machine cannot be made: ${e.message}`);
    return undefined;
  }
}

const directory = image();
const passed = directory !== undefined
  && step(['tools/build.mjs', '--quiet'])
  && step(['node_modules/vitest/vitest.mjs', 'run', '--config', 'tools/xen/vitest.config.ts', ...process.argv.slice(2)],
    { ...process.env, NIMBUS_XEN_IMAGE: directory });
process.exitCode = passed ? 0 : 1;
