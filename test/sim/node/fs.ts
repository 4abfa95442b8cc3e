/** `node:fs` and `node:fs/promises` of one process of a simulated machine, as far as agent and pilot use them. */
import { constants } from 'node:fs';
import { failure, UID, type Disk, type Inode, type Stats } from './disk.ts';

type Data = string | Uint8Array;
type Options = string | { encoding?: string; mode?: number; flag?: string; recursive?: boolean; force?: boolean; throwIfNoEntry?: boolean } | undefined;

interface Handle {
  readonly file: Inode;
  position: number;
  readonly append: boolean;
}

const bytes = (data: Data): Buffer => (typeof data === 'string' ? Buffer.from(data) : Buffer.from(data));
const encodingOf = (o: Options): string | undefined => (typeof o === 'string' ? o : o?.encoding);
const modeOf = (o: Options): number => (typeof o === 'object' ? o.mode : undefined) ?? 0o644;
const text = (data: Buffer, o: Options): string | Buffer => (encodingOf(o) === undefined ? Buffer.from(data) : data.toString(encodingOf(o) as BufferEncoding));

function numeric(flags: string | number): number {
  if (typeof flags === 'number') return flags;
  const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND, O_EXCL } = constants;
  const known: Readonly<Record<string, number>> = {
    r: O_RDONLY, 'r+': O_RDWR, w: O_WRONLY | O_CREAT | O_TRUNC, wx: O_WRONLY | O_CREAT | O_TRUNC | O_EXCL, a: O_WRONLY | O_CREAT | O_APPEND,
  };
  const found = known[flags];
  if (found === undefined) throw failure('EINVAL', flags);
  return found;
}

/** Open files belong to the process: another one has its own. */
export function fileSystem(disk: Disk): { fs: object; promises: object } {
  const open = new Map<number, Handle>();
  let last = 2;

  const of = (fd: number): Handle => {
    const handle = open.get(fd);
    if (handle === undefined) throw failure('EBADF', String(fd));
    return handle;
  };

  function openSync(path: string, flags: string | number = 'r', mode = 0o644): number {
    const f = numeric(flags);
    const file = (f & constants.O_CREAT) !== 0 ? disk.create(path, mode, (f & constants.O_EXCL) !== 0) : disk.get(path);
    if ((f & constants.O_TRUNC) !== 0) disk.write(file, Buffer.alloc(0));
    last += 1;
    open.set(last, { file, position: 0, append: (f & constants.O_APPEND) !== 0 });
    return last;
  }

  function writeSync(fd: number, data: Data, offset = 0, length?: number, position?: number | null): number {
    const handle = of(fd);
    const all = bytes(data);
    const piece = all.subarray(offset, length === undefined ? undefined : offset + length);
    const at = handle.append ? handle.file.data.length : position ?? handle.position;
    const grown = Buffer.alloc(Math.max(handle.file.data.length, at + piece.length));
    handle.file.data.copy(grown);
    piece.copy(grown, at);
    disk.write(handle.file, grown);
    handle.position = at + piece.length;
    return piece.length;
  }

  function readSync(fd: number, into: Uint8Array, offset = 0, length = into.length, position: number | null = null): number {
    const handle = of(fd);
    const at = position ?? handle.position;
    const piece = handle.file.data.subarray(at, at + length);
    into.set(piece, offset);
    if (position === null) handle.position += piece.length;
    return piece.length;
  }

  function writeFileSync(path: string, data: Data, options?: Options): void {
    if (disk.writeSpecial(path, bytes(data).toString())) return;
    const file = disk.create(path, modeOf(options), typeof options === 'object' && options.flag === 'wx');
    disk.write(file, bytes(data));
  }

  function appendFileSync(path: string, data: Data, options?: Options): void {
    const file = disk.create(path, modeOf(options));
    disk.write(file, Buffer.concat([file.data, bytes(data)]));
  }

  const readFileSync = (path: string | number, options?: Options): string | Buffer => text(typeof path === 'number' ? of(path).file.data : disk.read(path), options);
  const mkdirSync = (path: string, options?: Options): void => disk.mkdir(path, (typeof options === 'object' ? options.mode : undefined) ?? 0o755, typeof options === 'object' && options.recursive === true);
  const rmSync = (path: string, options?: Options): void => disk.remove(path, typeof options === 'object' ? options : {});
  const closeSync = (fd: number): void => {
    of(fd);
    open.delete(fd);
  };

  function statSync(path: string, options?: Options): Stats | undefined {
    const file = disk.find(path);
    if (file !== undefined) return disk.stats(file);
    if (typeof options === 'object' && options.throwIfNoEntry === false) return undefined;
    throw failure('ENOENT', path);
  }

  function utimesSync(path: string, atime: number): void {
    disk.get(path).atimeMs = atime * 1000;
  }

  const sync = {
    constants, openSync, closeSync, writeSync, readSync, writeFileSync, appendFileSync, readFileSync, mkdirSync, rmSync, statSync, lstatSync: statSync, utimesSync,
    existsSync: (path: string) => disk.find(path) !== undefined,
    readdirSync: (path: string) => disk.list(path),
    renameSync: (from: string, to: string) => disk.rename(from, to),
    linkSync: (from: string, to: string) => disk.link(from, to),
    fstatSync: (fd: number) => disk.stats(of(fd).file),
    fsyncSync: (fd: number) => void of(fd),
    chmodSync: (path: string, mode: number) => { if (disk.find(path) !== undefined) disk.get(path).mode = mode; },
    realpathSync: (path: string) => path,
    accessSync: (path: string) => void disk.read(path),
  };

  const asked = <A extends unknown[], R>(fn: (...args: A) => R) => async (...args: A): Promise<R> => fn(...args);
  const promises = {
    constants,
    readFile: asked(readFileSync), writeFile: asked(writeFileSync), appendFile: asked(appendFileSync), mkdir: asked(mkdirSync), rm: asked(rmSync),
    stat: asked(statSync), lstat: asked(statSync), readdir: asked(sync.readdirSync), rename: asked(sync.renameSync), chmod: asked(sync.chmodSync),
    access: asked(sync.accessSync), link: asked(sync.linkSync),
    readlink: asked((path: string): string => { throw failure('EINVAL', path); }),
    copyFile: asked((from: string, to: string) => writeFileSync(to, disk.read(from))),
    statfs: asked(() => ({ bavail: disk.full ? 0 : 2 ** 20, bsize: 4096 })),
    open: asked((path: string, flags?: string | number, mode?: number) => {
      const fd = openSync(path, flags, mode);
      return {
        fd,
        read: asked((into: Uint8Array, offset: number, length: number, position: number | null) => ({ bytesRead: readSync(fd, into, offset, length, position), buffer: into })),
        write: asked((data: Uint8Array, offset: number, length: number, position: number | null) => ({ bytesWritten: writeSync(fd, data, offset, length, position), buffer: data })),
        datasync: asked(() => void of(fd)), sync: asked(() => void of(fd)), close: asked(() => closeSync(fd)), stat: asked(() => disk.stats(of(fd).file)),
      };
    }),
  };
  return { fs: { ...sync, promises }, promises };
}

export { UID };
