/**
 * Base images of the node, by digest, with a size limit.
 *
 * A file has its final name only after its bytes were verified: the rename is the mark. It is read-only from then on. What
 * a crash leaves in `tmp/` is removed when the agent starts. The least recently used go when room is needed, never one
 * that a recorded VM stands on. Where agents share images (shared-images.ts), those in here are links to the shared ones.
 */
import { constants, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs';
import { chmod, copyFile, open, rm, stat } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { syncDirectoryAsync, syncFile } from '../../platform/durable.ts';
import { makeDirectory } from '../../platform/make-directory.ts';
import type { ImageRef } from '../protocol.ts';
import type { Clock } from './clock.ts';
import { AgentFault } from './fault.ts';
import type { Log } from './log.ts';
import type { SharedImages } from './shared-images.ts';

/** Uses closer together than this are one use: a busy image costs no system call per start. */
const TOUCH_MS = 60_000;
const READ_BYTES = 1024 * 1024;

export interface CacheParts {
  readonly dir: string;
  readonly limitBytes: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Digests that recorded VMs stand on. */
  readonly inUse: () => ReadonlySet<string>;
  /** Absent: nothing is shared. */
  readonly shared?: SharedImages;
}

interface Entry {
  readonly bytes: number;
  usedAt: number;
}

export class ImageCache {
  readonly #parts: CacheParts;
  readonly #entries = new Map<string, Entry>();
  /** Bytes promised to images that are on their way in. */
  #promised = 0;
  readonly #copies = new Map<string, Promise<string>>();
  #nextTmp = 0;

  constructor(parts: CacheParts) {
    this.#parts = parts;
    rmSync(this.#tmpDir, { recursive: true, force: true });
    makeDirectory(this.#tmpDir, 0o700);
    for (const name of readdirSync(parts.dir)) {
      if (!/^[0-9a-f]{64}$/.test(name)) continue;
      const { size, atimeMs } = statSync(this.#file(name));
      this.#entries.set(name, { bytes: size, usedAt: atimeMs });
    }
  }

  get usedBytes(): number {
    return [...this.#entries.values()].reduce((sum, e) => sum + e.bytes, 0);
  }

  /** @param bytes of the image; one that another agent has shared becomes this one's too */
  has(sha256: string, bytes: number): boolean {
    return this.#entries.has(sha256) || this.#takeShared(sha256, bytes);
  }

  #takeShared(sha256: string, bytes: number): boolean {
    const { shared, clock, log } = this.#parts;
    if (shared?.take(sha256, bytes, this.#file(sha256)) !== true) return false;
    const entry = { bytes, usedAt: 0 };
    this.#entries.set(sha256, entry);
    this.#touch(sha256, entry);
    log.info('image taken from the node\'s', { sha256, bytes, at: clock.now() });
    return true;
  }

  /** Path of the verified bytes; fetched from `image.path` when they are not here yet. */
  async ensure(image: ImageRef): Promise<string> {
    if (this.has(image.sha256, image.sizeBytes)) {
      const entry = this.#entries.get(image.sha256);
      if (entry !== undefined) this.#touch(image.sha256, entry);
      return this.#file(image.sha256);
    }
    if (image.path === undefined) throw new AgentFault('ImageMissing', `image ${image.id} (${image.sha256}) is not on this node`);
    const under = this.#copies.get(image.sha256) ?? this.#copy(image, image.path).finally(() => this.#copies.delete(image.sha256));
    this.#copies.set(image.sha256, under);
    return under;
  }

  /** Promises room for an image until `release` is called, evicting what is not used. @throws AgentFault CacheFull */
  reserve(bytes: number): { release(): void } {
    const { limitBytes, inUse, shared } = this.#parts;
    // What other agents use is in the way too.
    const used = Math.max(this.usedBytes, shared?.busyBytes ?? 0);
    let excess = used + this.#promised + bytes - limitBytes;
    if (excess > 0) {
      const busy = inUse();
      const idle = [...this.#entries].filter(([digest]) => !busy.has(digest)).sort(([, a], [, b]) => a.usedAt - b.usedAt);
      const room = idle.reduce((sum, [, e]) => sum + e.bytes, 0);
      if (room < excess) {
        throw new AgentFault('CacheFull', `the image needs ${mb(bytes)} MB; the cache of ${mb(limitBytes)} MB holds ${mb(used - room)} MB in use and ${mb(this.#promised)} MB on their way`);
      }
      for (const [digest, e] of idle) {
        if (excess <= 0) break;
        this.#evict(digest);
        excess -= e.bytes;
      }
    }
    shared?.makeRoom(this.#promised + bytes);
    this.#promised += bytes;
    return { release: () => { this.#promised -= bytes; bytes = 0; } };
  }

  tmpFile(): string {
    this.#nextTmp += 1;
    return join(this.#tmpDir, String(this.#nextTmp));
  }

  /** Gives verified bytes their name. */
  async adopt(tmp: string, sha256: string, bytes: number): Promise<string> {
    await chmod(tmp, 0o444);
    const usedAt = this.#parts.clock.now();
    utimesSync(tmp, usedAt / 1000, usedAt / 1000);
    // After a power cut a name is believed, here and where agents share it, and a VM whose memory is kept needs its image.
    await syncFile(tmp);
    renameSync(tmp, this.#file(sha256));
    await syncDirectoryAsync(this.#parts.dir);
    this.#entries.set(sha256, { bytes, usedAt });
    this.#parts.log.info('image cached', { sha256, bytes });
    this.#parts.shared?.give(sha256, bytes, this.#file(sha256));
    return this.#file(sha256);
  }

  async #copy(image: ImageRef, source: string): Promise<string> {
    const found = await stat(source).catch((e: NodeJS.ErrnoException) => {
      throw new AgentFault('ImageMissing', `image ${image.id} cannot be read on this node (${e.code ?? e.message})`);
    });
    if (found.size !== image.sizeBytes) throw new AgentFault('ImageCorrupt', `image ${image.id} has ${found.size} bytes instead of ${image.sizeBytes}`);
    const room = this.reserve(image.sizeBytes);
    const tmp = this.tmpFile();
    try {
      // The copy is verified, not the source: what a VM will read is what the digest was taken of.
      await copyFile(source, tmp, constants.COPYFILE_FICLONE);
      if (await digestOf(tmp) !== image.sha256) throw new AgentFault('ImageCorrupt', `image ${image.id} does not have the digest ${image.sha256}`);
      return await this.adopt(tmp, image.sha256, image.sizeBytes);
    } catch (e) {
      await rm(tmp, { force: true });
      throw e;
    } finally {
      room.release();
    }
  }

  #evict(sha256: string): void {
    rmSync(this.#file(sha256), { force: true });
    this.#entries.delete(sha256);
    this.#parts.log.info('image evicted', { sha256 });
  }

  /** The access time is kept by hand: file systems are mounted `noatime` or `relatime`. */
  #touch(sha256: string, entry: Entry): void {
    const now = this.#parts.clock.now();
    if (now - entry.usedAt < TOUCH_MS) return;
    entry.usedAt = now;
    try {
      utimesSync(this.#file(sha256), now / 1000, now / 1000);
    } catch (e) {
      this.#parts.log.warn('image cannot be touched', { sha256, why: String(e) });
    }
  }

  get #tmpDir(): string {
    return join(this.#parts.dir, 'tmp');
  }

  #file(sha256: string): string {
    return join(this.#parts.dir, sha256);
  }
}

const mb = (bytes: number): number => Math.ceil(bytes / 1024 / 1024);

export async function digestOf(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, READ_BYTES, null);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
