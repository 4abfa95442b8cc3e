/** Huge pages: on this machine's own kernel where it lets root reserve some, and with a directory that stands for /sys. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createHugepages } from '../../../src/pilot/program/memory/hugepages.ts';
import { readMemInfo } from '../../../src/pilot/program/memory/none.ts';
import type { NodeSettings } from '../../../src/pilot/program/types.ts';
import type { NodeLock } from '../../../src/pilot/program/lock.ts';
import { hasPart } from '../../parts.ts';
import { holdHugePages, HUGE_PAGES as POOL } from '../../support/huge-pages.ts';
import { settingsIn, testContext, within } from './fake-xl.ts';

function standIn(pages: number): { file: string; settings: NodeSettings } {
  const sysDir = mkdtempSync(join(tmpdir(), 'huge-'));
  mkdirSync(join(sysDir, 'hugepages-2048kB'));
  for (const name of ['nr_hugepages', 'free_hugepages']) writeFileSync(join(sysDir, 'hugepages-2048kB', name), `${pages}\n`);
  return { file: join(sysDir, 'hugepages-2048kB', 'nr_hugepages'), settings: { ...settingsIn('/nowhere'), hugepages: { sizeKb: 2048, sysDir } } };
}

const pagesIn = (file: string): number => Number(readFileSync(file, 'utf8'));

describe.skipIf(!hasPart('hugepages'))('the kernel of this machine', () => {
  let pool: NodeLock;
  let before = 0;
  beforeAll(async () => {
    pool = await holdHugePages();
    before = pagesIn(POOL);
  });
  afterEach(() => writeFileSync(POOL, `${before}`));
  afterAll(() => pool.release());

  it('reserves huge pages and takes them back', async () => {
    const mechanism = createHugepages({ ...settingsIn('/nowhere'), become: [] }, testContext);
    const { hostMb } = await mechanism.read(within(20_000));
    const target = { mb: 65, beforeMb: hostMb, afterMb: hostMb - 65 };
    expect(await mechanism.reduce(target, within(20_000))).toBe(hostMb - 66);
    expect(pagesIn(POOL)).toBe(before + 33);
    expect((await mechanism.read(within(20_000))).freeMb).toBeGreaterThanOrEqual(66);
    expect(await mechanism.restore(target, within(20_000))).toBe(hostMb);
    expect(pagesIn(POOL)).toBe(before);
  });

  it('is not believed when it gives less than was asked for', async () => {
    const mechanism = createHugepages({ ...settingsIn('/nowhere'), minMb: 0, become: [] }, testContext);
    const { hostMb } = await mechanism.read(within(20_000));
    const target = { mb: hostMb, beforeMb: hostMb, afterMb: 0 };
    await expect(mechanism.reduce(target, within(20_000))).rejects.toMatchObject({ exit: 4 });
    expect(await mechanism.restore(target, within(20_000))).toBe(hostMb);
    expect(pagesIn(POOL)).toBe(before);
  });
});

describe('a pool of huge pages', () => {
  it('keeps pages that were there before, and rounds up to whole ones', async () => {
    const { file, settings } = standIn(10);
    const mechanism = createHugepages({ ...settings, become: [] }, testContext);
    const hostMb = await mechanism.hostMb(within(20_000));
    expect(hostMb).toBe((await readMemInfo()).totalMb - 20);
    const target = { mb: 3, beforeMb: hostMb, afterMb: hostMb - 3 };
    await mechanism.reduce(target, within(20_000));
    expect(pagesIn(file)).toBe(12);
    await mechanism.restore(target, within(20_000));
    expect(pagesIn(file)).toBe(10);
  });

  it('does not take what the programs of the host need', async () => {
    const { file, settings } = standIn(0);
    const { totalMb } = await readMemInfo();
    const mechanism = createHugepages({ ...settings, minMb: totalMb, become: [] }, testContext);
    await expect(mechanism.reduce({ mb: 64, beforeMb: totalMb, afterMb: totalMb - 64 }, within(20_000))).rejects.toThrow(`minmem is ${totalMb}`);
    expect(pagesIn(file)).toBe(0);
  });

  it('is written through sudo and tee where the account is not root', async () => {
    const { file, settings } = standIn(0);
    const { totalMb } = await readMemInfo();
    const mechanism = createHugepages({ ...settings, become: ['/usr/bin/env', '-i'] }, testContext);
    await mechanism.reduce({ mb: 4, beforeMb: totalMb, afterMb: totalMb - 4 }, within(20_000));
    expect(pagesIn(file)).toBe(2);
  });

  it('says which page sizes the kernel does not have, and what is no number', async () => {
    const { file, settings } = standIn(0);
    const absent = createHugepages({ ...settings, hugepages: { ...settings.hugepages, sizeKb: 4 }, become: [] }, testContext);
    expect((await absent.check()).map((f) => [f.ok, f.mend])).toEqual([[false, expect.stringContaining('sizekb')]]);
    writeFileSync(file, 'many\n');
    await expect(createHugepages({ ...settings, become: [] }, testContext).hostMb(within(20_000))).rejects.toThrow('holds no number');
  });
});
