/** Directories, made without a way to hang, and so that a power cut does not take them; for programs that run alone on nodes too. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory, syncDirectoryAsync } from './durable.ts';

/**
 * Makes it with what is missing above it. Node's own `recursive` asks for ever where a file system answers ENOENT beneath a
 * directory that is there, as /proc does.
 */
export function makeDirectory(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode });
    syncDirectory(dirname(path));
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    const above = dirname(path);
    if (code !== 'ENOENT' || existsSync(above)) throw e;
    makeDirectory(above, mode);
    makeDirectory(path, mode);
  }
}

/** The same for a process that has others to serve meanwhile: a file system that does not answer keeps nobody else waiting. */
export async function makeDirectoryAsync(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
    await syncDirectoryAsync(dirname(path));
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return;
    const above = dirname(path);
    if (code !== 'ENOENT' || await stat(above).then(() => true, () => false)) throw e;
    await makeDirectoryAsync(above, mode);
    await makeDirectoryAsync(path, mode);
  }
}
