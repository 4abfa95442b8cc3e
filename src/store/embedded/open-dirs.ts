/**
 * PostgreSQL gets its directories as open descriptors and names them `/proc/self/fd/N` (proc(5)). It needs no way there:
 * its user may be unable to enter the data directory, which is 0700, or the home above it, and no path is too long for
 * a socket's name. (PostgreSQL keeps descriptors that it inherits; tried with 15 and 18.)
 */
import { closeSync, openSync } from 'node:fs';

/** stdin, stdout and stderr come first. */
const FIRST = 3;

export interface OpenDirs {
  readonly descriptors: readonly number[];
  /** The child's name for the directory at `index`. */
  inChild(index: number): string;
  close(): void;
}

export function openDirs(paths: readonly string[]): OpenDirs {
  const descriptors = paths.map((path) => openSync(path, 'r'));
  return {
    descriptors,
    inChild: (index) => `/proc/self/fd/${FIRST + index}`,
    close: () => descriptors.forEach((fd) => closeSync(fd)),
  };
}
