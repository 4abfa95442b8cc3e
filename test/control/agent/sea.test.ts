/** The self-contained executable: built from the pinned Node, run where no Node is on the PATH. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasPart } from '../../parts.ts';
import { bundle } from './program.ts';
import { makeImage, scratch } from './rig.ts';

const run = promisify(execFile);
const TOOL = fileURLToPath(new URL('../../../tools/build-sea.mjs', import.meta.url));
const BUILD_MS = 240_000;

describe.skipIf(!hasPart('sea-parts'))('the self-contained executable', () => {
  const tmp = scratch();
  const program = join(tmp.dir, 'workspace-control');
  let said = '';

  beforeAll(async () => {
    said = (await run(process.execPath, [TOOL, '--bundle', await bundle(tmp.dir, '3.2.1'), '--out', program], { timeout: BUILD_MS })).stdout;
  }, BUILD_MS + 10_000);
  afterAll(() => tmp.remove());

  it('tells its version and size, and starts its own agent for commands by hand', async () => {
    expect(said).toMatch(/version 3\.2\.1, \d+ MB/);
    const options = { cwd: '/', env: { HOME: tmp.dir } };
    expect((await run(program, ['version'], options)).stdout).toBe('3.2.1\n');
    const state = ['--state', join(tmp.dir, 'state'), '--driver', 'simulated', '--json'];
    const created = await run(program, ['create', 'web', '--memory', '1', '--image', makeImage(tmp.dir).path, ...state], options);
    expect(JSON.parse(created.stdout)).toMatchObject({ vm: { lease: 'web', state: 'running' } });
    expect(JSON.parse((await run(program, ['remove', 'web', ...state], options)).stdout)).toMatchObject({ vm: { state: 'removed' } });
  });
});
