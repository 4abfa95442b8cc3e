/** The self-contained executable: a compute node needs no Node for it. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasPart } from '../../parts.ts';
import { VERSION, bundlePilot } from './pilot.ts';

const run = promisify(execFile);
const TOOL = fileURLToPath(new URL('../../../tools/build-sea.mjs', import.meta.url));
const BUILD_MS = 240_000;

describe.skipIf(!hasPart('sea-parts'))('the self-contained executable', () => {
  const dir = mkdtempSync(join(tmpdir(), 'pilot-sea-'));
  const program = join(dir, 'workspace-pilot');

  beforeAll(async () => {
    await run(process.execPath, [TOOL, '--program', 'workspace-pilot', '--bundle', await bundlePilot(dir), '--out', program], { timeout: BUILD_MS });
  }, BUILD_MS + 10_000);
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('reserves, and gives back, where nothing else is', async () => {
    const options = { cwd: '/', env: {} };
    expect((await run(program, ['--version'], options)).stdout).toBe(`${VERSION}\n`);
    const config = join(dir, 'pilot.conf');
    writeFileSync(config, `[memory]\nmechanism: none\n[other]\nearlywaitratio: 0\nlockfile: ${dir}/lock\nstatedir: ${dir}/state\ndriver: simulated\n`);
    const { stdout } = await run(program, ['-r', '-m', '16', '-d', '5', '-g', '5', '-i', 'sl-0123456789ab', '-p', config, '-s'], options);
    expect(stdout).toContain('room is made');
    expect(stdout).toContain('left=0');
    expect(existsSync(join(dir, 'state')) ? readdirSync(join(dir, 'state')).filter((f) => f.startsWith('sl-')) : []).toEqual([]);
  });
});
