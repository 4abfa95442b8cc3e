import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openDataDir } from '../../src/platform/datadir.ts';
import { lockDataDir, type DataLock } from '../../src/platform/lock.ts';
import { testContext } from '../support/context.ts';

let root: string;
const held: DataLock[] = [];
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'dd-')); });
afterEach(async () => {
  await Promise.all(held.splice(0).map((l) => l.release()));
  rmSync(root, { recursive: true, force: true });
});

async function lock(path: string): Promise<DataLock> {
  const taken = await lockDataDir(testContext(), openDataDir(path));
  held.push(taken);
  return taken;
}

describe('the data directory', () => {
  test('is made 0700 with all its parts, also in an empty directory', () => {
    mkdirSync(join(root, 'data'), { mode: 0o755 });
    const dir = openDataDir(join(root, 'data'));
    for (const sub of [dir.root, dir.run, dir.keys, dir.images, dir.nodes, dir.log]) expect(statSync(sub).mode & 0o777).toBe(0o700);
    expect(openDataDir(dir.root)).toEqual(dir);
  });

  test('is not made of a directory that holds other things', () => {
    writeFileSync(join(root, 'thesis.tex'), '');
    expect(() => openDataDir(root)).toThrow(/is not empty and no data directory of nimbus; name another one with --data/);
    expect(readdirSync(root)).toEqual(['thesis.tex']);
  });

  test('may have the test authority in it before the first start', () => {
    mkdirSync(join(root, 'ca'), { mode: 0o700 });
    openDataDir(root);
    writeFileSync(join(root, 'ca', 'cacert.pem'), '');
    expect(openDataDir(root).keys).toBe(join(root, 'keys'));
  });

  test('that cannot be made is named with the reason', () => {
    writeFileSync(join(root, 'file'), '');
    expect(() => openDataDir(join(root, 'file', 'data'))).toThrow(/file\/data cannot be used: a part of the path is no directory/);
  });
});

describe('its lock', () => {
  test('refuses a second service and names the first', async () => {
    await lock(join(root, 'data'));
    await expect(lock(join(root, 'data'))).rejects.toThrow(new RegExp(`is in use by another nimbus service \\(pid ${process.pid} on .*\\); stop it or name another`));
  });

  test('is given to one of many that ask at once, also at the first start', async () => {
    const asked = await Promise.allSettled(Array.from({ length: 8 }, () => lock(join(root, 'data'))));
    expect(asked.filter((a) => a.status === 'fulfilled')).toHaveLength(1);
  });

  test('is free again after its release, and leaves no note', async () => {
    await (await lock(join(root, 'data'))).release();
    expect(existsSync(join(root, 'data', 'run', 'lock.json'))).toBe(false);
    await lock(join(root, 'data'));
  });

  test('of one directory does not touch another', async () => {
    await lock(join(root, 'a'));
    await lock(join(root, 'b'));
  });
});
