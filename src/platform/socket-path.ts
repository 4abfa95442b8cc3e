/**
 * Paths of Unix sockets. `sockaddr_un.sun_path` holds 107 bytes and a NUL (unix(7)); a socket in a deeper directory is
 * named through an open descriptor of that directory instead.
 */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';

const LONGEST = 107;

export interface SocketDir {
  /** The directory, by a name short enough for this process to bind or connect in it. */
  readonly dir: string;
  close(): void;
}

/** `dir` must exist. The result is good in this process, until closed, for sockets called `name`. */
export function socketDir(dir: string, name: string): SocketDir {
  if (Buffer.byteLength(join(dir, name)) <= LONGEST) return { dir, close: () => undefined };
  const fd = openSync(dir, 'r');
  let open = true;
  return {
    dir: `/proc/self/fd/${fd}`,
    close() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}
