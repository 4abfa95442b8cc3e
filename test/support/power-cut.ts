/**
 * What a power cut would take of what was just written, by the rule of fsync(2): of a file, what it was when it was synced last;
 * of a directory, the names that it had then. Seen by the calls of this process alone.
 */
import fs from 'node:fs';
import { open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';

/** Paths below `root`: names that would be missing, `… (bytes)` for files that would not have theirs. What was there before `work` is on disk. */
export async function lostByPowerCut(root: string, work: () => unknown): Promise<string[]> {
  const disk = new Disk();
  disk.all(root);
  const undo = await watchSyncs((fd) => disk.synced(fd));
  try {
    await work();
  } finally {
    undo();
  }
  return disk.lost(root).map((path) => path.slice(root.length + 1)).sort();
}

const bytesOf = (s: fs.BigIntStats): string => `${s.mtimeNs} ${s.size}`;
const namesIn = (dir: string): Map<string, bigint> => new Map(fs.readdirSync(dir).map((name) => [name, fs.lstatSync(join(dir, name), { bigint: true }).ino]));

class Disk {
  /** Directory → its names, and what they are of. */
  readonly #names = new Map<bigint, Map<string, bigint>>();
  readonly #bytes = new Map<bigint, string>();

  all(path: string): void {
    const stat = fs.lstatSync(path, { bigint: true });
    if (stat.isFile()) this.#bytes.set(stat.ino, bytesOf(stat));
    if (!stat.isDirectory()) return;
    this.#names.set(stat.ino, namesIn(path));
    for (const name of fs.readdirSync(path)) this.all(join(path, name));
  }

  synced(fd: number): void {
    const stat = fs.fstatSync(fd, { bigint: true });
    if (stat.isDirectory()) this.#names.set(stat.ino, namesIn(`/proc/self/fd/${fd}`));
    else this.#bytes.set(stat.ino, bytesOf(stat));
  }

  lost(dir: string): string[] {
    const kept = this.#names.get(fs.statSync(dir, { bigint: true }).ino);
    return fs.readdirSync(dir).flatMap((name) => {
      const path = join(dir, name);
      const stat = fs.lstatSync(path, { bigint: true });
      return [
        ...(kept?.get(name) === stat.ino ? [] : [path]),
        ...(stat.isFile() && this.#bytes.get(stat.ino) !== bytesOf(stat) ? [`${path} (bytes)`] : []),
        ...(stat.isDirectory() ? this.lost(path) : []),
      ];
    });
  }
}

/** @returns how to end it */
async function watchSyncs(synced: (fd: number) => void): Promise<() => void> {
  const handle = await open('/', 'r');
  const handles = Object.getPrototypeOf(handle) as { sync: () => Promise<void>; datasync: () => Promise<void> };
  await handle.close();
  const [{ fsyncSync, fdatasyncSync, writeFileSync }, { sync, datasync }] = [fs, handles];
  const after = (real: (fd: number) => void) => (fd: number): void => {
    real(fd);
    synced(fd);
  };
  const afterHandle = (real: () => Promise<void>) => async function watched(this: { fd: number }): Promise<void> {
    await real.call(this);
    synced(this.fd);
  };
  Object.assign(fs, {
    fsyncSync: after(fsyncSync), fdatasyncSync: after(fdatasyncSync),
    writeFileSync(file: fs.PathOrFileDescriptor, data: string, options?: { flush?: boolean }): void {
      writeFileSync(file, data, options as fs.WriteFileOptions);
      if (options?.flush !== true || typeof file !== 'string') return;
      const fd = fs.openSync(file, 'r');
      synced(fd);
      fs.closeSync(fd);
    },
  });
  Object.assign(handles, { sync: afterHandle(sync), datasync: afterHandle(datasync) });
  syncBuiltinESMExports();
  return () => {
    Object.assign(fs, { fsyncSync, fdatasyncSync, writeFileSync });
    Object.assign(handles, { sync, datasync });
    syncBuiltinESMExports();
  };
}
