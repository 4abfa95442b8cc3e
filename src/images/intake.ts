/** Bringing bytes into the repository: unpacked, inspected, digested, and in place whole or not at all. */
import { createHash } from 'node:crypto';
import { constants, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough, type Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { Fault } from '../lease/faults.ts';
import { syncDirectoryAsync } from '../platform/durable.ts';
import { errorCode, reasonText } from '../platform/errors.ts';
import { makeDirectoryAsync } from '../platform/make-directory.ts';
import { HEAD_BYTES, inspect, isGzip, qcow2DiskBytes } from './format.ts';

/** Bytes of one image, unpacked: what a gzip of a few megabytes may swell to. */
export const MOST_BYTES = 256 * 2 ** 30;
const READ_BYTES = 256 * 1024;
/** Of disks on QEMU's `pc` machine; a raw image has nothing else by which a mistyped file name could be noticed. */
const SECTOR_BYTES = 512;
/** Begins the names of files that are not finished: additions, and what a restored backup brings. */
export const INCOMING = '.incoming-';
export const RESTORED = '.restored-';
export const isDraft = (file: string): boolean => file.startsWith(INCOMING) || file.startsWith(RESTORED);

export interface Taken {
  readonly format: 'raw' | 'qcow2';
  readonly sizeBytes: number;
  /** Of the bytes as stored. */
  readonly sha256: string;
  /** Of the disk that it describes. */
  readonly diskBytes: number;
}

export interface Place {
  /** Name beside the final one, to write to. */
  readonly draft: string;
  readonly mode: number;
  readonly dirMode: number;
}

/** Unpacks and inspects the file into `place.draft`, which is on disk when this resolves and gone when it rejects. */
export async function takeFile(file: string, place: Place, most = MOST_BYTES): Promise<Taken> {
  const source = await openSource(file);
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const { bytesRead } = await source.read(head, 0, HEAD_BYTES, 0);
    return await take(chunksOf(source), isGzip(head.subarray(0, bytesRead)) ? createGunzip() : new PassThrough(), place, most);
  } finally {
    await source.close();
  }
}

export function takeBytes(bytes: Buffer, place: Place): Promise<Taken> {
  return take([bytes], new PassThrough(), place, MOST_BYTES);
}

/** Bytes that come from elsewhere, as they are. */
export function takeStream(bytes: AsyncIterable<Buffer>, place: Place): Promise<Taken> {
  return take(bytes, new PassThrough(), place, MOST_BYTES);
}

/** The draft becomes the file; both lie in one directory. */
export async function settle(draft: string, final: string): Promise<void> {
  await rename(draft, final);
  await syncDirectoryAsync(dirname(final));
}

export const draftFor = (directory: string, id: string): string => join(directory, `${INCOMING}${id}`);

async function openSource(file: string): Promise<FileHandle> {
  try {
    // Without O_NONBLOCK a named pipe would be waited for.
    const source = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    if ((await source.stat()).isFile()) return source;
    await source.close();
  } catch (e) {
    throw refused(`${file} cannot be read by the service: ${reasonText(e)}`);
  }
  throw refused(`${file} is no regular file`);
}

async function* chunksOf(source: FileHandle): AsyncGenerator<Buffer> {
  for (let position = 0; ;) {
    const { bytesRead, buffer } = await source.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function take(source: Iterable<Buffer> | AsyncIterable<Buffer>, unpack: Duplex, place: Place, most: number): Promise<Taken> {
  await makeDirectoryAsync(dirname(place.draft), place.dirMode);
  const target = await open(place.draft, 'wx', place.mode);
  try {
    const meter = new Meter(most);
    await pipeline(source, unpack, async (bytes: AsyncIterable<Buffer>) => {
      for await (const chunk of bytes) {
        meter.pass(chunk);
        await target.writeFile(chunk);
      }
      meter.end();
    });
    await target.sync();
    return meter.taken();
  } catch (e) {
    await rm(place.draft, { force: true });
    throw explain(e);
  } finally {
    await target.close();
  }
}

/** Counts, digests and inspects what passes. */
class Meter {
  readonly #hash = createHash('sha256');
  #head = Buffer.alloc(0);
  #size = 0;
  #format: 'raw' | 'qcow2' | undefined;

  constructor(readonly most: number) {}

  pass(chunk: Buffer): void {
    this.#size += chunk.length;
    if (this.#size > this.most) throw refused(`it has more than ${this.most} bytes when unpacked`);
    this.#hash.update(chunk);
    if (this.#format !== undefined) return;
    this.#head = Buffer.concat([this.#head, chunk.subarray(0, HEAD_BYTES)]);
    if (this.#head.length >= HEAD_BYTES) this.#inspect();
  }

  end(): void {
    if (this.#format === undefined) this.#inspect();
    if (this.#format === 'raw' && this.#size % SECTOR_BYTES !== 0) throw refused(`it is no disk image: ${this.#size} bytes are no whole number of sectors of ${SECTOR_BYTES}`);
  }

  taken(): Taken {
    const diskBytes = this.#format === 'qcow2' ? qcow2DiskBytes(this.#head) : this.#size;
    return { format: this.#format ?? 'raw', sizeBytes: this.#size, sha256: this.#hash.digest('hex'), diskBytes };
  }

  #inspect(): void {
    const verdict = inspect(this.#head.subarray(0, HEAD_BYTES));
    if ('refused' in verdict) throw refused(verdict.refused);
    this.#format = verdict.format;
  }
}

function explain(e: unknown): unknown {
  const code = errorCode(e);
  if (code === 'ENOSPC' || code === 'EDQUOT') return new Fault('RepositoryFull', 'The image repository has no space left', [code], { cause: e });
  if (code?.startsWith('Z_') === true) return refused('its gzip packing is damaged or cut');
  return e;
}

const refused = (why: string): Fault => new Fault('ParameterInvalid', 'The image cannot be taken', [why]);
