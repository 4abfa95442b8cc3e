/** The self-contained executable: built from the pinned Node, run where no Node is on the PATH. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from './program.ts';
import { makeImage, scratch } from './rig.ts';

const run = promisify(execFile);
const TOOL = fileURLToPath(new URL('../../../tools/build-sea.mjs', import.meta.url));
const BUILD_MS = 240_000;
/** npm's codes for a registry that cannot be reached. */
const UNREACHABLE = /E(?:AI_AGAIN|NOTFOUND|CONNREFUSED|CONNRESET|TIMEDOUT|HOSTUNREACH)|network|ETARGET|E404/;

describe.skipIf(process.platform !== 'linux' || process.arch !== 'x64')('the self-contained executable', () => {
  const tmp = scratch();
  const program = join(tmp.dir, 'workspace-control');
  let said = '';
  let unreachable: string | undefined;

  beforeAll(async () => {
    try {
      said = (await run(process.execPath, [TOOL, '--bundle', await bundle(tmp.dir, '3.2.1'), '--out', program], { timeout: BUILD_MS })).stdout;
    } catch (e) {
      const why = String((e as { stderr?: string }).stderr ?? e);
      if (!UNREACHABLE.test(why)) throw e;
      unreachable = why.split('\n')[0] ?? '';
      console.warn(`SKIPPED: the self-contained executable was not built: the npm registry cannot be reached (${unreachable})`);
    }
  }, BUILD_MS + 10_000);
  afterAll(() => tmp.remove());

  it('tells its version and size, and starts its own agent for commands by hand', async (context) => {
    context.skip(unreachable !== undefined, unreachable);
    expect(said).toMatch(/version 3\.2\.1, \d+ MB/);
    const options = { cwd: '/', env: { HOME: tmp.dir } };
    expect((await run(program, ['version'], options)).stdout).toBe('3.2.1\n');
    const state = ['--state', join(tmp.dir, 'state'), '--driver', 'simulated', '--json'];
    const created = await run(program, ['create', 'web', '--memory', '1', '--image', makeImage(tmp.dir).path, ...state], options);
    expect(JSON.parse(created.stdout)).toMatchObject({ vm: { lease: 'web', state: 'running' } });
    expect(JSON.parse((await run(program, ['remove', 'web', ...state], options)).stdout)).toMatchObject({ vm: { state: 'removed' } });
  }, 60_000);
});
