/** What must outlast a power cut is synced, with its name, before anybody relies on it. */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { realClock } from '../../src/control/agent/clock.ts';
import { ImageCache } from '../../src/control/agent/cache.ts';
import { keepMemory } from '../../src/control/agent/drivers/qemu/memory.ts';
import { Journal } from '../../src/control/agent/journal.ts';
import { silentLog } from '../../src/control/agent/log.ts';
import { Records } from '../../src/control/agent/records.ts';
import { nextKey, operatingKey, switchKeys } from '../../src/control/ssh/keys.ts';
import { addUser, initCa } from '../../src/grid/ca/directory.ts';
import { makeSlotDir, writeNodeState } from '../../src/pilot/program/state.ts';
import { openDataDir } from '../../src/platform/datadir.ts';
import { replaceFile, replaceFileAsync, syncDirectory, syncDirectoryAsync, writeNewFile } from '../../src/platform/durable.ts';
import { makeDirectory, makeDirectoryAsync } from '../../src/platform/make-directory.ts';
import { makeImage } from '../control/agent/rig.ts';
import { testContext } from '../support/context.ts';
import { lostByPowerCut } from '../support/power-cut.ts';

let root: string;
beforeEach(() => { root = mkdtempSync(join(tmpdir(), 'durable-')); });
afterEach(() => rmSync(root, { recursive: true, force: true }));
const lost = (work: () => unknown): Promise<string[]> => lostByPowerCut(root, work);

it('a power cut takes what nobody has synced', async () => {
  writeFileSync(join(root, 'old'), 'here before');
  expect(await lost(() => {
    mkdirSync(join(root, 'a'));
    writeFileSync(join(root, 'a/b'), 'bytes');
    writeFileSync(join(root, 'old'), 'new bytes');
  })).toEqual(['a', 'a/b', 'a/b (bytes)', 'old (bytes)']);
});

describe('the helpers', () => {
  it('directories, with what is missing above them', async () => {
    expect(await lost(() => makeDirectory(join(root, 'a/b/c'), 0o700))).toEqual([]);
    expect(await lost(() => makeDirectoryAsync(join(root, 'd/e/f'), 0o750))).toEqual([]);
    expect(statSync(join(root, 'd/e/f')).mode & 0o777).toBe(0o750);
    await makeDirectoryAsync(join(root, 'd/e/f'), 0o700);
    writeFileSync(join(root, 'file'), '');
    await expect(makeDirectoryAsync(join(root, 'file'), 0o700)).rejects.toThrow('EEXIST');
    // Node's own way to make directories would never come to an end there.
    await expect(makeDirectoryAsync('/proc/nope/a', 0o700)).rejects.toThrow(/ENOENT|EACCES|EPERM/);
  });

  it('files, new and replaced, of which no draft is left', async () => {
    expect(await lost(() => writeNewFile(join(root, 'new'), 'a', 0o600))).toEqual([]);
    expect(() => writeNewFile(join(root, 'new'), 'b', 0o600)).toThrow('EEXIST');
    writeFileSync(join(root, `new.${process.pid}`), 'left by a process of the same number');
    expect(await lost(() => replaceFile(join(root, 'new'), 'c', 0o640))).toEqual([]);
    expect(await lost(() => replaceFileAsync(join(root, 'other'), 'd', 0o640))).toEqual([]);
    expect(readdirSync(root).map((name) => [name, readFileSync(join(root, name), 'utf8'), statSync(join(root, name)).mode & 0o777])).toEqual([['new', 'c', 0o640], ['other', 'd', 0o640]]);
  });

  it('a file system that syncs no directories is no reason to give up; one that is not there is', async () => {
    syncDirectory('/proc');
    await syncDirectoryAsync('/proc');
    expect(() => syncDirectory(join(root, 'nowhere'))).toThrow('ENOENT');
    await expect(syncDirectoryAsync(join(root, 'nowhere'))).rejects.toThrow('ENOENT');
  });
});

describe('of the service', () => {
  it('a data directory', async () => {
    expect(await lost(() => openDataDir(join(root, 'srv/nimbus')))).toEqual([]);
  });

  it('its operating key, and the one that follows', async () => {
    expect(await lost(() => operatingKey(join(root, 'keys')))).toEqual([]);
    expect(await lost(() => { nextKey(join(root, 'keys')); switchKeys(join(root, 'keys')); })).toEqual([]);
  });

  it('an authority, and whom it has certified', async () => {
    const ca = { ...testContext(), directory: join(root, 'ca') };
    expect(await lost(() => {
      initCa(ca, '/O=Grid/CN=Test CA', { days: 1, sha1: false });
      addUser(ca, 'ann', 'Ann', { days: 1, sha1: false });
    })).toEqual([]);
  });
});

describe('of a node', () => {
  const SERIALIZED = { lease: 'i-1', state: 'serialized' } as const;

  it('the record of a VM whose memory is kept, in a journal that is new, written on, and written anew', async () => {
    const file = join(root, 'leases.journal');
    const open = (): Records => new Records(file, realClock, silentLog);
    const first = await (async () => {
      let records: Records | undefined;
      expect(await lost(() => {
        records = open();
        records.save({ ...records.of('i-1'), ...SERIALIZED });
      })).toEqual([]);
      return records;
    })();
    expect(await lost(() => first?.save({ ...first.of('i-2'), lease: 'i-2', state: 'serialized' }))).toEqual([]);
    first?.close();
    expect(await lost(open)).toEqual([]);
    expect(await lost(() => {
      const journal = new Journal(join(root, 'another'));
      journal.append({});
      journal.sync();
    })).toEqual([]);
  });

  it('that memory, whose directory was made for a VM that would not have lasted', async () => {
    const dir = join(root, 'i-1');
    expect(await lost(async () => {
      mkdirSync(dir);
      writeFileSync(join(dir, 'memory.new'), 'memory', { flush: true });
      await keepMemory(dir, {});
    })).toEqual([]);
    expect(readdirSync(dir)).toHaveLength(2);
  });

  it('an image, which is known by its name', async () => {
    const image = makeImage(root, 70_000);
    expect(await lost(async () => {
      const cache = new ImageCache({ dir: join(root, 'state/cache'), limitBytes: 100_000, clock: realClock, log: silentLog, inUse: () => new Set() });
      await cache.ensure(image);
    })).toEqual([]);
  });

  it('what a pilot has to give back', async () => {
    expect(await lost(() => {
      writeNodeState(makeSlotDir(join(root, 'run/pilot'), 's-1', 'n1'), { v: 1 } as never);
    })).toEqual([]);
  });
});
