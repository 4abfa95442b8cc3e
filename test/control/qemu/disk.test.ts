import { execFileSync } from 'node:child_process';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MAX_FILE, readConsole, trimConsole } from '../../../src/control/agent/drivers/qemu/console.ts';
import { prepareOverlay } from '../../../src/control/agent/drivers/qemu/disk.ts';
import { readQcow2, writeOverlay } from '../../../src/control/agent/drivers/qemu/qcow2.ts';
import { findProgram, hasPart } from '../../parts.ts';
import { temporaryDir } from './fixture.ts';

const qemuImg = findProgram('qemu-img') ?? '';
const MIB = 1024 * 1024;

async function vmDir(): Promise<{ state: string; dir: string }> {
  const state = await temporaryDir();
  const dir = join(state, 'vm');
  await mkdir(dir);
  return { state, dir };
}

describe.skipIf(!hasPart('qemu'))('overlay', () => {
  it('is as large as the base or as asked, whichever is more, and kept when asked for again', async () => {
    const { state, dir } = await vmDir();
    const base = join(state, 'base');
    await writeFile(base, Buffer.alloc(3 * MIB));
    await prepareOverlay({ dir, base, baseFormat: 'raw', diskMb: 1, foreignUid: false });
    const disk = join(dir, 'disk.qcow2');
    expect((await readQcow2(disk)).virtualSize).toBe(3 * MIB);
    expect((await stat(disk)).mode & 0o777).toBe(0o600);
    await prepareOverlay({ dir, base, baseFormat: 'raw', diskMb: 8, foreignUid: false });
    expect((await readQcow2(disk)).virtualSize).toBe(3 * MIB);
  });

  it.each([1, 512, 600_000, 2 ** 30])('is what qemu-img itself finds sound, at %i MiB', async (sizeMb) => {
    const { state } = await vmDir();
    await writeFile(join(state, 'base'), Buffer.alloc(MIB));
    const overlay = join(state, 'overlay');
    await writeOverlay(overlay, sizeMb * MIB, 'base', 'raw');
    expect(execFileSync(qemuImg, ['check', overlay], { encoding: 'utf8' })).toContain('No errors were found');
    const info = JSON.parse(execFileSync(qemuImg, ['info', '--output=json', overlay], { encoding: 'utf8' })) as object;
    expect(info).toMatchObject({ format: 'qcow2', 'virtual-size': sizeMb * MIB, 'backing-filename': 'base', 'backing-filename-format': 'raw' });
  });

  it('refuses bases that lead to other files of the node', async () => {
    const { state, dir } = await vmDir();
    const image = (name: string, ...args: string[]): string => {
      execFileSync(qemuImg, ['create', '-q', '-f', 'qcow2', ...args, join(state, name), '1M']);
      return join(state, name);
    };
    const prepare = (base: string): Promise<void> => prepareOverlay({ dir, base, baseFormat: 'qcow2', diskMb: 0, foreignUid: false });
    const plain = image('plain');
    await expect(prepare(image('backed', '-b', plain, '-F', 'qcow2'))).rejects.toThrow('has a backing file');
    await expect(prepare(image('split', '-o', `data_file=${join(state, 'data')}`))).rejects.toThrow('keeps its data in another file');
    await writeFile(join(state, 'text'), 'no image');
    await expect(prepare(join(state, 'text'))).rejects.toThrow('is no qcow2 file');
    await prepare(plain);
  });
});

describe('console file', () => {
  it('keeps its end when it grows over its bound', async () => {
    const { dir } = await vmDir();
    const file = join(dir, 'console.log');
    await writeFile(file, `${'x'.repeat(MAX_FILE)}last words`);
    expect(await trimConsole(dir)).toBe(true);
    expect(await readFile(file, 'utf8')).toBe('');
    await writeFile(file, ' and more', { flag: 'a' });
    expect((await readConsole(dir, 19)).bytes.toString()).toBe('last words and more');
    expect(await readConsole(dir, 4)).toEqual({ bytes: Buffer.from('more'), truncated: true });
    expect(await trimConsole(dir)).toBe(false);
  });

  it('is empty before the VM was started, and no link is followed', async () => {
    const { state, dir } = await vmDir();
    expect(await readConsole(dir, 10)).toEqual({ bytes: Buffer.alloc(0), truncated: false });
    await writeFile(join(state, 'secret'), 'secret');
    await symlink('../secret', join(dir, 'console.log'));
    await expect(readConsole(dir, 10)).rejects.toThrow('ELOOP');
  });
});
