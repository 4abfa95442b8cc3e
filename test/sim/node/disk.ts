/**
 * The file system of a simulated machine, in memory: what agent and pilot use of `node:fs`. It outlives their processes and
 * knows what is a full disk. Files under /proc and /sys are the machine's own affair.
 */
import { posix } from 'node:path';

export interface Inode {
  readonly kind: 'file' | 'dir';
  readonly children: Map<string, Inode>;
  /** The name that it was given last. */
  path: string;
  data: Buffer;
  mode: number;
  links: number;
  atimeMs: number;
}

/** A file whose content is made when it is read, and whose writing does something. */
export interface SpecialFile {
  read(): string;
  write?(text: string): void;
}

export interface Stats {
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly atimeMs: number;
  isFile(): boolean;
  isDirectory(): boolean;
}

const inode = (kind: 'file' | 'dir', path: string, mode: number): Inode => ({ kind, path, children: new Map(), data: Buffer.alloc(0), mode, links: 1, atimeMs: 0 });

export function failure(code: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}

export class Disk {
  readonly #root = inode('dir', '/', 0o755);
  /** Nothing more can be written. */
  full = false;
  /** Told of each file that was changed. */
  onChange: (file: Inode) => void = () => undefined;
  /** Told of each name that is gone, with everything below it. */
  onRemove: (path: string) => void = () => undefined;

  constructor(private readonly special: (path: string) => SpecialFile | undefined) {
    this.mkdir('/proc', 0o755, true);
    this.mkdir('/tmp', 0o755, true);
  }

  find(path: string): Inode | undefined {
    let at: Inode | undefined = this.#root;
    for (const name of posix.resolve('/', path).split('/')) if (name !== '') at = at?.children.get(name);
    return at;
  }

  /** @throws ENOENT */
  get(path: string): Inode {
    const found = this.find(path);
    if (found === undefined) throw failure('ENOENT', path);
    return found;
  }

  #place(path: string): { parent: Inode; name: string } {
    const whole = posix.resolve('/', path);
    const parent = this.get(posix.dirname(whole));
    if (parent.kind !== 'dir') throw failure('ENOTDIR', path);
    return { parent, name: posix.basename(whole) };
  }

  mkdir(path: string, mode: number, recursive: boolean): void {
    const found = this.find(path);
    if (found !== undefined) {
      if (recursive && found.kind === 'dir') return;
      throw failure('EEXIST', path);
    }
    if (this.full) throw failure('ENOSPC', path);
    const above = posix.dirname(posix.resolve('/', path));
    if (recursive && this.find(above) === undefined) this.mkdir(above, mode, true);
    const { parent, name } = this.#place(path);
    parent.children.set(name, inode('dir', path, mode));
  }

  /** The file, made when it is not there. */
  create(path: string, mode: number, exclusive = false): Inode {
    const found = this.find(path);
    if (found !== undefined && exclusive) throw failure('EEXIST', path);
    if (found?.kind === 'dir') throw failure('EISDIR', path);
    if (found !== undefined) return found;
    if (this.full) throw failure('ENOSPC', path);
    const { parent, name } = this.#place(path);
    const made = inode('file', path, mode);
    parent.children.set(name, made);
    return made;
  }

  write(file: Inode, data: Buffer): void {
    if (this.full && data.length > file.data.length) throw failure('ENOSPC', file.path);
    file.data = data;
    this.onChange(file);
  }

  link(from: string, to: string): void {
    const file = this.get(from);
    if (this.find(to) !== undefined) throw failure('EEXIST', to);
    if (this.full) throw failure('ENOSPC', to);
    const { parent, name } = this.#place(to);
    parent.children.set(name, file);
    file.links += 1;
  }

  rename(from: string, to: string): void {
    const moved = this.get(from);
    const source = this.#place(from);
    const target = this.#place(to);
    const there = target.parent.children.get(target.name);
    if (there !== undefined) there.links -= 1;
    source.parent.children.delete(source.name);
    target.parent.children.set(target.name, moved);
    moved.path = to;
    this.onChange(moved);
  }

  remove(path: string, options: { recursive?: boolean; force?: boolean } = {}): void {
    const found = this.find(path);
    if (found === undefined) {
      if (options.force === true) return;
      throw failure('ENOENT', path);
    }
    if (found.kind === 'dir' && options.recursive !== true) throw failure('EISDIR', path);
    const { parent, name } = this.#place(path);
    parent.children.delete(name);
    drop(found);
    this.onRemove(posix.resolve('/', path));
  }

  list(path: string): string[] {
    const dir = this.get(path);
    if (dir.kind !== 'dir') throw failure('ENOTDIR', path);
    return [...dir.children.keys()].sort();
  }

  /** @throws ENOENT, EISDIR */
  read(path: string): Buffer {
    const made = this.special(posix.resolve('/', path));
    if (made !== undefined) return Buffer.from(made.read());
    const file = this.get(path);
    if (file.kind === 'dir') throw failure('EISDIR', path);
    return file.data;
  }

  /** True when the path was the machine's own and took what was written. */
  writeSpecial(path: string, text: string): boolean {
    const made = this.special(posix.resolve('/', path));
    if (made === undefined) return false;
    if (made.write === undefined) throw failure('EACCES', path);
    made.write(text);
    return true;
  }

  stats(file: Inode): Stats {
    return {
      size: file.data.length, mode: (file.kind === 'dir' ? 0o040_000 : 0o100_000) | file.mode, uid: UID, gid: UID, nlink: file.links, atimeMs: file.atimeMs,
      isFile: () => file.kind === 'file', isDirectory: () => file.kind === 'dir',
    };
  }
}

/** Whose everything is. */
export const UID = 1000;

function drop(node: Inode): void {
  node.links -= 1;
  for (const child of node.children.values()) drop(child);
}
