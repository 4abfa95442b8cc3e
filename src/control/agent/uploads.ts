/**
 * Images that come as `put` chunks. Connections that send the same digest at the same time share one upload: a chunk
 * that another has brought already is acknowledged and dropped, one that is early waits for those before it.
 */
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { PUT_WINDOW } from '../protocol.ts';
import type { ImageCache } from './cache.ts';
import type { Clock, Timer } from './clock.ts';
import { AgentFault } from './fault.ts';
import type { PutChunk } from './requests.ts';

const MAX_UPLOADS = 16;
/** An upload whose sender has stopped gives its room back. */
const IDLE_MS = 300_000;

interface Upload {
  readonly sha256: string;
  readonly total: number;
  readonly room: { release(): void };
  readonly tmp: string;
  readonly file: Promise<FileHandle>;
  readonly hash: Hash;
  readonly senders: Set<object>;
  /** Chunks that came before their turn. */
  readonly early: Map<number, PutChunk>;
  written: number;
  next: number;
  /** Writes happen one after the other. */
  tail: Promise<void>;
  idle: Timer;
  ended: boolean;
}

export class Uploads {
  readonly #cache: ImageCache;
  readonly #clock: Clock;
  readonly #uploads = new Map<string, Upload>();

  constructor(cache: ImageCache, clock: Clock) {
    this.#cache = cache;
    this.#clock = clock;
  }

  /** True when the image is complete and verified. Rejects with the AgentFault that ended the upload. */
  async take(put: PutChunk, sender: object): Promise<boolean> {
    if (this.#cache.has(put.sha256, put.total)) return true;
    const upload = this.#uploads.get(put.sha256) ?? this.#open(put);
    upload.senders.add(sender);
    upload.idle.cancel();
    upload.idle = this.#idleTimer(upload);
    const turn = upload.tail.then(() => this.#accept(upload, put));
    upload.tail = turn.catch(() => undefined);
    await turn;
    return this.#cache.has(put.sha256, put.total);
  }

  /** A connection has gone; an upload that nobody sends any more is thrown away. */
  leave(sender: object): void {
    for (const upload of this.#uploads.values()) {
      if (upload.senders.delete(sender) && upload.senders.size === 0) this.#abort(upload);
    }
  }

  #open(put: PutChunk): Upload {
    if (this.#uploads.size >= MAX_UPLOADS) throw new AgentFault('CacheFull', `${MAX_UPLOADS} images are on their way already`);
    const room = this.#cache.reserve(put.total);
    const tmp = this.#cache.tmpFile();
    const file = open(tmp, 'wx', 0o600);
    file.catch(() => undefined);
    const upload: Upload = {
      sha256: put.sha256, total: put.total, room, tmp, file, hash: createHash('sha256'), senders: new Set(), early: new Map(),
      written: 0, next: 0, tail: Promise.resolve(), idle: { cancel: () => undefined }, ended: false,
    };
    this.#uploads.set(put.sha256, upload);
    return upload;
  }

  async #accept(upload: Upload, put: PutChunk): Promise<void> {
    if (this.#cache.has(put.sha256, put.total)) return;
    if (upload.ended) throw new AgentFault('ImageMissing', 'the upload was ended; send the image again from its beginning');
    try {
      if (put.total !== upload.total) throw new AgentFault('BadRequest', `put.total was ${upload.total} in the first chunk`);
      if (put.seq < upload.next) return;
      if (put.seq >= upload.next + PUT_WINDOW) throw new AgentFault('BadRequest', `put.seq ${put.seq} is too far ahead of ${upload.next}`);
      upload.early.set(put.seq, put);
      for (let chunk = upload.early.get(upload.next); chunk !== undefined; chunk = upload.early.get(upload.next)) {
        upload.early.delete(upload.next);
        upload.next += 1;
        await this.#write(upload, chunk);
      }
    } catch (e) {
      await this.#discard(upload);
      throw e;
    }
  }

  async #write(upload: Upload, chunk: PutChunk): Promise<void> {
    const data = Buffer.from(chunk.data, 'base64');
    if (upload.written + data.length > upload.total) throw new AgentFault('ImageCorrupt', `the image has more than ${upload.total} bytes`);
    upload.hash.update(data);
    await writeAll(await upload.file, data);
    upload.written += data.length;
    if (chunk.last) await this.#finish(upload);
  }

  async #finish(upload: Upload): Promise<void> {
    if (upload.written !== upload.total) throw new AgentFault('ImageCorrupt', `the image has ${upload.written} bytes instead of ${upload.total}`);
    if (upload.hash.digest('hex') !== upload.sha256) throw new AgentFault('ImageCorrupt', `the bytes do not have the digest ${upload.sha256}`);
    await (await upload.file).close();
    await this.#cache.adopt(upload.tmp, upload.sha256, upload.total);
    this.#forget(upload);
  }

  #abort(upload: Upload): void {
    upload.tail = upload.tail.then(() => (upload.ended ? undefined : this.#discard(upload)));
  }

  async #discard(upload: Upload): Promise<void> {
    this.#forget(upload);
    await upload.file.then((f) => f.close()).catch(() => undefined);
    await rm(upload.tmp, { force: true });
  }

  #forget(upload: Upload): void {
    upload.ended = true;
    upload.idle.cancel();
    upload.early.clear();
    this.#uploads.delete(upload.sha256);
    upload.room.release();
  }

  #idleTimer(upload: Upload): Timer {
    return this.#clock.after(IDLE_MS, () => this.#abort(upload), true);
  }
}

async function writeAll(file: FileHandle, data: Buffer): Promise<void> {
  for (let from = 0; from < data.length;) {
    const { bytesWritten } = await file.write(data, from, data.length - from, null);
    from += bytesWritten;
  }
}
