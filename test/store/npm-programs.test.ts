import { chmodSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { npmNative, prepareNpmPrograms, removeCopy } from '../../src/store/embedded/npm-programs.ts';
import { run } from '../../src/store/embedded/run.ts';
import { startEmbedded } from '../../src/store/embedded/start.ts';
import { testContext } from '../support/context.ts';
import { hasPart } from '../parts.ts';

const native = npmNative();
const NOBODY = { uid: 65534, gid: 65534 };
let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'np-')); });
afterEach(() => { rmSync(root, { recursive: true, force: true }); });

describe.skipIf(native === undefined)('PostgreSQL from the npm package', () => {
  /** As npm unpacks it when no install script runs. */
  function unpacked(): string {
    const copy = join(root, 'package', 'native');
    cpSync(native ?? '', copy, { recursive: true, verbatimSymlinks: true, filter: (f) => !f.endsWith('.a') });
    for (const { target } of links(copy)) rmSync(join(copy, '..', target), { force: true });
    return copy;
  }
  const links = (dir: string): Array<{ target: string }> => JSON.parse(readFileSync(join(dir, 'pg-symlinks.json'), 'utf8')) as Array<{ target: string }>;

  test('gets its links at first use, in its own place', async () => {
    const place = unpacked();
    const programs = prepareNpmPrograms(place, null);
    expect(programs).toEqual({ bin: join(place, 'bin'), copy: null });
    for (const { target } of links(place)) expect(existsSync(join(place, '..', target))).toBe(true);
    expect(await run(join(programs.bin, 'postgres'), ['--version'], { identity: null, deadlineMs: 60_000 })).toMatch(/PostgreSQL\) 18/);
  });

  test.skipIf(!hasPart('root'))('where its user cannot reach it, works from a copy that can be removed', async () => {
    const place = unpacked();
    chmodSync(root, 0o700);
    const programs = prepareNpmPrograms(place, NOBODY);
    expect(programs.copy).not.toBeNull();
    expect(await run(join(programs.bin, 'postgres'), ['--version'], { identity: NOBODY, deadlineMs: 60_000 })).toMatch(/PostgreSQL\) 18/);
    removeCopy(programs.copy ?? '');
    expect(existsSync(programs.copy ?? '')).toBe(false);
  });

  test('opens a cluster of its version although another version is found first', async () => {
    const options = { dataDir: join(root, 'data') };
    const context = testContext();
    const programs = prepareNpmPrograms(native ?? '', hasPart('root') ? NOBODY : null);
    const first = await startEmbedded(context, { ...options, bin: programs.bin });
    await first.stop();
    if (programs.copy !== null) removeCopy(programs.copy);
    const second = await startEmbedded(context, options);
    try {
      expect(context.lines.filter((l) => l.message === 'PostgreSQL runs').map((l) => l.fields['version'])).toEqual([18, 18]);
    } finally {
      await second.stop();
    }
  });
});
