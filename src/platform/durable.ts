/**
 * What has to be there after a power cut. A synced file is on disk, its name is when the directory that holds it is synced too
 * (fsync(2)). For programs that run alone on nodes too; the asynchronous ones are for a process that has others to serve meanwhile.
 */
import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A directory that may be written to and not listed cannot be opened; some file systems sync none. PostgreSQL goes on then too (fd.c, fsync_fname_ext). */
const NOT_OPENED = new Set(['EACCES']);
const NOT_SYNCED = new Set(['EBADF', 'EINVAL']);
const pass = (codes: ReadonlySet<string>, e: unknown): void => {
  if (!codes.has((e as NodeJS.ErrnoException).code ?? '')) throw e;
};

/** The names in it are on disk when this returns. */
export function syncDirectory(path: string): void {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (e) {
    return pass(NOT_OPENED, e);
  }
  try {
    fsyncSync(fd);
  } catch (e) {
    pass(NOT_SYNCED, e);
  } finally {
    closeSync(fd);
  }
}

export async function syncDirectoryAsync(path: string): Promise<void> {
  let directory: FileHandle;
  try {
    directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (e) {
    return pass(NOT_OPENED, e);
  }
  try {
    await directory.sync();
  } catch (e) {
    pass(NOT_SYNCED, e);
  } finally {
    await directory.close();
  }
}

/** A file that must not be there yet. */
export function writeNewFile(path: string, text: string, mode: number): void {
  writeBytes(path, text, mode);
  syncDirectory(dirname(path));
}

function writeBytes(path: string, text: string, mode: number): void {
  const fd = openSync(path, 'wx', mode);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

const draftOf = (path: string): string => `${path}.${process.pid}`;

/** Whole or not at all: what was there before is replaced by a rename. */
export function replaceFile(path: string, text: string, mode: number): void {
  const draft = draftOf(path);
  rmSync(draft, { force: true });
  writeBytes(draft, text, mode);
  renameSync(draft, path);
  syncDirectory(dirname(path));
}

export async function replaceFileAsync(path: string, text: string, mode: number): Promise<void> {
  const draft = draftOf(path);
  await rm(draft, { force: true });
  const file = await open(draft, 'wx', mode);
  await file.writeFile(text).then(() => file.datasync()).finally(() => file.close());
  await rename(draft, path);
  await syncDirectoryAsync(dirname(path));
}

/** The bytes of a file that somebody else has written. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  await file.datasync().finally(() => file.close());
}
