/** What is on a node, by its agent's own word and by its files. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'vitest';

const CONTROL = fileURLToPath(new URL('../../bin/workspace-control.mjs', import.meta.url));
const run = promisify(execFile);

/** Leases whose VM runs, as the agents say. */
export async function runningVms(stateDirs: readonly string[]): Promise<string[]> {
  const lists = await Promise.all(stateDirs.map(async (dir) =>
    JSON.parse((await run(process.execPath, [CONTROL, 'list', '--state', dir, '--json'], { maxBuffer: 2 ** 28 })).stdout) as { vms: Array<{ lease: string; state: string }> }));
  return lists.flatMap((l) => l.vms).filter((v) => v.state === 'running').map((v) => v.lease).sort();
}

/** Whatever has the name of a digest has its content. How many there are. */
export function expectTrueCache(stateDir: string, what = ''): number {
  const cache = join(stateDir, 'cache');
  const images = (existsSync(cache) ? readdirSync(cache, { recursive: true, encoding: 'utf8' }) : []).filter((file) => /[0-9a-f]{64}$/.test(file));
  for (const file of images) expect(createHash('sha256').update(readFileSync(join(cache, file))).digest('hex'), `${file} ${what}`).toBe(file.slice(-64));
  return images.length;
}
