/**
 * Images that the agents of one account share on a node: files named by their digest in one directory, kept when an agent goes.
 *
 * Hard links are the references, so that the kernel counts them and a crash leaves none behind: an agent that uses an image has
 * a link to it in its own directory, which goes with that directory. What has one link only is in nobody's use and may be
 * evicted; if somebody takes it in that very moment, the new link keeps the bytes. Where no hard link can be made (another file
 * system), agents keep images for themselves.
 */
import { linkSync, lstatSync, readdirSync, renameSync, rmSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { join } from 'node:path';
import { makeDirectory } from '../../platform/make-directory.ts';
import type { Log } from './log.ts';

const DIGEST = /^[0-9a-f]{64}$/;
/** Small images count too: they are looked at one by one. */
const MAX_IMAGES = 4096;

export interface SharedImagesParts {
  readonly dir: string;
  /** Of everything in the directory. Images that come in the same moment may exceed it until the next one comes. */
  readonly limitBytes: number;
  readonly log: Log;
}

interface Found {
  readonly sha256: string;
  readonly bytes: number;
  readonly usedAt: number;
  readonly idle: boolean;
}

/** The directory, made when it is missing; undefined, and a line in the log, where it cannot be trusted. */
export function openSharedDir(dir: string, log: Log): string | undefined {
  try {
    makeDirectory(dir, 0o700);
    const stat = lstatSync(dir);
    if (!stat.isDirectory()) throw new Error('it is not a directory');
    if (stat.uid !== process.getuid?.()) throw new Error(`it belongs to user ${stat.uid}`);
    if ((stat.mode & 0o077) !== 0) throw new Error(`it is open to other users; run: chmod 700 ${dir}`);
    return dir;
  } catch (e) {
    log.warn('nothing is shared with other agents of this node', { dir, why: (e as Error).message });
    return undefined;
  }
}

export class SharedImages {
  readonly #parts: SharedImagesParts;
  #complained = '';

  constructor(parts: SharedImagesParts) {
    this.#parts = parts;
  }

  /** Makes `own` a link to the image; false when it is not here. What has not `bytes` bytes was damaged and is thrown away. */
  take(sha256: string, bytes: number, own: string): boolean {
    try {
      linkSync(this.#file(sha256), own);
    } catch (e) {
      const { code } = e as NodeJS.ErrnoException;
      if (code !== 'ENOENT') this.#complain(e as Error);
      return false;
    }
    const stat = lstatSync(own);
    if (stat.isFile() && stat.size === bytes && stat.uid === process.getuid?.()) return true;
    this.#parts.log.warn('a damaged image was thrown away', { sha256, bytes: stat.size, expected: bytes });
    rmSync(own, { force: true });
    rmSync(this.#file(sha256), { force: true });
    return false;
  }

  /** Shares the verified image `own`, whose bytes are on disk. Of two agents that brought the same, the second takes over what the first has given. */
  give(sha256: string, bytes: number, own: string): void {
    try {
      linkSync(own, this.#file(sha256));
    } catch (e) {
      const { code } = e as NodeJS.ErrnoException;
      if (code !== 'EEXIST') return this.#complain(e as Error);
      const same = `${own}.same`;
      rmSync(same, { force: true });
      if (this.take(sha256, bytes, same)) renameSync(same, own);
    }
    this.makeRoom(0);
  }

  /** Evicts what nobody uses, the least recently used first, until `bytes` more have room or nothing is left to evict. */
  makeRoom(bytes: number): void {
    const { limitBytes, log } = this.#parts;
    const found = this.#list();
    let excess = found.reduce((sum, f) => sum + f.bytes, 0) + bytes - limitBytes;
    let tooMany = found.length - MAX_IMAGES;
    for (const f of found.filter(({ idle }) => idle).sort((a, b) => a.usedAt - b.usedAt)) {
      if (excess <= 0 && tooMany <= 0) return;
      rmSync(this.#file(f.sha256), { force: true });
      log.info('image evicted', { sha256: f.sha256, bytes: f.bytes });
      excess -= f.bytes;
      tooMany -= 1;
    }
  }

  /** Bytes of images that agents use, the asking one's too. */
  get busyBytes(): number {
    return this.#list().reduce((sum, f) => sum + (f.idle ? 0 : f.bytes), 0);
  }

  #list(): readonly Found[] {
    return readdirSync(this.#parts.dir).flatMap((sha256) => {
      const stat = DIGEST.test(sha256) ? this.#look(sha256) : undefined;
      return stat === undefined ? [] : [{ sha256, bytes: stat.size, usedAt: stat.atimeMs, idle: stat.nlink === 1 }];
    });
  }

  /** undefined when another agent has evicted it meanwhile. */
  #look(sha256: string): Stats | undefined {
    return lstatSync(this.#file(sha256), { throwIfNoEntry: false });
  }

  #complain(e: Error): void {
    if (this.#complained !== e.message) this.#parts.log.warn('an image could not be shared with other agents', { why: e.message });
    this.#complained = e.message;
  }

  #file(sha256: string): string {
    return join(this.#parts.dir, sha256);
  }
}
