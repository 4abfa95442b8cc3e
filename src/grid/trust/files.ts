/** Files of a directory that are read again only when they have changed. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, errorText, reasonText } from '../../platform/errors.ts';
import type { Unusable } from '../certificates/types.ts';

export interface KnownFile<T> {
  readonly name: string;
  readonly content: T | Unusable;
}

export interface FileSet<T> {
  /** @returns the files, and whether any is new, changed or gone. @throws when the directory cannot be read */
  look(): Promise<{ files: readonly KnownFile<T>[]; changed: boolean }>;
}

const MOST_FILES = 20_000;

export function fileSet<T>(directory: string, wanted: (name: string) => number | undefined, read: (name: string, bytes: Buffer) => T): FileSet<T> {
  let known = new Map<string, KnownFile<T> & { readonly mark: string }>();

  async function one(name: string, mostBytes: number): Promise<(KnownFile<T> & { mark: string }) | undefined> {
    const path = join(directory, name);
    try {
      const { ino, mtimeMs, size } = await stat(path);
      const mark = `${ino} ${mtimeMs} ${size}`;
      const before = known.get(name);
      if (before?.mark === mark) return before;
      if (size > mostBytes) return { name, mark, content: { unusable: `it is larger than ${mostBytes} bytes` } };
      return { name, mark, content: contentOf(name, await readFile(path)) };
    } catch (e) {
      // A link that leads nowhere, or a file that goes while it is looked at.
      if (errorCode(e) === 'ENOENT') return undefined;
      return { name, mark: String(e), content: { unusable: reasonText(e) } };
    }
  }

  function contentOf(name: string, bytes: Buffer): T | Unusable {
    try {
      return read(name, bytes);
    } catch (e) {
      return { unusable: errorText(e) };
    }
  }

  return {
    async look() {
      const now = new Map<string, KnownFile<T> & { mark: string }>();
      for (const name of (await readdir(directory)).slice(0, MOST_FILES)) {
        const mostBytes = wanted(name);
        const file = mostBytes === undefined ? undefined : await one(name, mostBytes);
        if (file !== undefined) now.set(name, file);
      }
      const changed = now.size !== known.size || [...now].some(([name, file]) => known.get(name)?.mark !== file.mark);
      known = now;
      return { files: [...now.values()], changed };
    },
  };
}
