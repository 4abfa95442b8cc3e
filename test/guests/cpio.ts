/** Writes an initramfs: a cpio archive of the "newc" format (Linux, Documentation/driver-api/early-userspace/buffer-format.rst). */
export interface Entry {
  readonly path: string;
  /** File type and permissions, as in stat(2). */
  readonly mode: number;
  readonly data: Buffer;
}

export const directory = (path: string): Entry => ({ path, mode: 0o040755, data: Buffer.alloc(0) });
export const file = (path: string, data: Buffer | string, mode = 0o644): Entry => ({ path, mode: 0o100000 | mode, data: Buffer.from(data) });
export const symlink = (path: string, target: string): Entry => ({ path, mode: 0o120777, data: Buffer.from(target) });

export function cpio(entries: readonly Entry[]): Buffer {
  return Buffer.concat([...entries, { path: 'TRAILER!!!', mode: 0, data: Buffer.alloc(0) }].flatMap(({ path, mode, data }, inode) => {
    // inode, mode, uid, gid, links, mtime, size, device (2), device of a node (2), length of the name, checksum
    const fields = [inode + 1, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0];
    const head = Buffer.from(`070701${fields.map((n) => n.toString(16).padStart(8, '0')).join('')}${path}\0`, 'latin1');
    return [padded(head), padded(data)];
  }));
}

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
