// The table of EC2 actions and the registry of faults, for tools.
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const CONTENTS = "export { OPERATIONS } from './src/ec2/operations/index.ts'; export { FAULTS } from './src/lease/faults.ts';";

export async function tableOfActions() {
  const resolveDir = fileURLToPath(new URL('..', import.meta.url));
  const { outputFiles: [file] } = await build({ stdin: { contents: CONTENTS, resolveDir, loader: 'ts' }, bundle: true, format: 'esm', platform: 'node', write: false });
  const { OPERATIONS, FAULTS } = await import(`data:text/javascript;base64,${Buffer.from(file.contents).toString('base64')}`);
  return { operations: [...OPERATIONS.values()], faults: FAULTS };
}
