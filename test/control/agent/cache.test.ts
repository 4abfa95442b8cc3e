import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ImageCache } from '../../../src/control/agent/cache.ts';
import { realClock } from '../../../src/control/agent/clock.ts';
import { asAgentError } from '../../../src/control/agent/fault.ts';
import { silentLog } from '../../../src/control/agent/log.ts';
import { Uploads } from '../../../src/control/agent/uploads.ts';
import type { PutChunk } from '../../../src/control/agent/requests.ts';
import { hasPart } from '../../parts.ts';
import { onSmallDisk } from '../../support/small-disk.ts';
import { makeImage, scratch } from './rig.ts';

let tmp: ReturnType<typeof scratch>;
let used: Set<string>;
beforeEach(() => { tmp = scratch(); used = new Set(); });
afterEach(() => { vi.restoreAllMocks(); tmp.remove(); });

const KIB = 1024;
/** Time that moves by a minute at each look, so that uses are apart. */
function walkingClock(): typeof realClock {
  let now = 1_700_000_000_000;
  return { ...realClock, now: () => (now += 61_000) };
}
const cacheIn = (dir: string, limitBytes = 100 * KIB): ImageCache =>
  new ImageCache({ dir, limitBytes, clock: walkingClock(), log: silentLog, inUse: () => used });
const cacheDir = (): string => join(tmp.dir, 'cache');
const files = (dir = cacheDir()): string[] => readdirSync(dir).filter((f) => f !== 'tmp').concat(readdirSync(join(dir, 'tmp')).map((f) => `tmp/${f}`)).sort();
const code = async (work: Promise<unknown>): Promise<string> => work.then(() => 'ok', (e: unknown) => asAgentError(e).code);

describe('images of the same machine', () => {
  it('are copied, verified, read-only, once for all who ask', async () => {
    const cache = cacheIn(cacheDir());
    const image = makeImage(tmp.dir, 70_000);
    const paths = await Promise.all([cache.ensure(image), cache.ensure(image), cache.ensure(image)]);
    expect(new Set(paths).size).toBe(1);
    expect(readFileSync(paths[0] ?? '').equals(image.data)).toBe(true);
    expect(statSync(paths[0] ?? '').mode & 0o777).toBe(0o444);
    expect(files()).toEqual([image.sha256]);
  });

  it('are refused when the bytes are others than promised, and nothing stays', async () => {
    const cache = cacheIn(cacheDir());
    const image = makeImage(tmp.dir);
    writeFileSync(image.path, randomBytes(image.sizeBytes));
    expect(await code(cache.ensure(image))).toBe('ImageCorrupt');
    truncateSync(image.path, 10);
    expect(await code(cache.ensure(image))).toBe('ImageCorrupt');
    expect(await code(cache.ensure({ ...image, path: '/nonexistent' }))).toBe('ImageMissing');
    const { path: _, ...elsewhere } = image;
    expect(await code(cache.ensure(elsewhere))).toBe('ImageMissing');
    expect(files()).toEqual([]);
    expect(cache.usedBytes).toBe(0);
  });

  it('are found by the next agent; leftovers and foreign files are not trusted', async () => {
    const image = makeImage(tmp.dir);
    await cacheIn(cacheDir()).ensure(image);
    writeFileSync(join(cacheDir(), 'tmp', '1'), 'half');
    writeFileSync(join(cacheDir(), 'notes'), 'foreign');
    const next = cacheIn(cacheDir());
    expect(next.has(image.sha256, image.sizeBytes)).toBe(true);
    expect(next.usedBytes).toBe(image.sizeBytes);
    expect(files()).toEqual([image.sha256, 'notes'].sort());
  });
});

describe('the size limit', () => {
  it('evicts the least recently used first, also across a restart', async () => {
    const images = [1, 2, 3].map(() => makeImage(tmp.dir, 40 * KIB));
    const [a, b, c] = images as [typeof images[0] & object, typeof images[0] & object, typeof images[0] & object];
    const first = cacheIn(cacheDir());
    await first.ensure(a);
    await first.ensure(b);
    await first.ensure(a);
    const next = cacheIn(cacheDir());
    await next.ensure(c);
    expect(files()).toEqual([a.sha256, c.sha256].sort());
    expect(next.usedBytes).toBeLessThanOrEqual(100 * KIB);
  });

  it('never evicts what is in use, and says CacheFull then', async () => {
    const [a, b, c] = [1, 2, 3].map(() => makeImage(tmp.dir, 40 * KIB));
    const cache = cacheIn(cacheDir());
    if (a === undefined || b === undefined || c === undefined) throw new Error('unreachable');
    await cache.ensure(a);
    await cache.ensure(b);
    used = new Set([a.sha256, b.sha256]);
    expect(await code(cache.ensure(c))).toBe('CacheFull');
    expect(files()).toEqual([a.sha256, b.sha256].sort());
    used = new Set([a.sha256]);
    expect(await code(cache.ensure(c))).toBe('ok');
    expect(files()).toEqual([a.sha256, c.sha256].sort());
    expect(await code(cache.ensure(makeImage(tmp.dir, 101 * KIB)))).toBe('CacheFull');
  });

  it('counts what is on its way', async () => {
    const cache = cacheIn(cacheDir());
    const [a, b, c] = [1, 2, 3].map(() => makeImage(tmp.dir, 40 * KIB));
    const codes = await Promise.all([a, b, c].map((image) => code(image === undefined ? Promise.reject(new Error()) : cache.ensure(image))));
    expect(codes.sort()).toEqual(['CacheFull', 'ok', 'ok']);
  });
});

describe('images that come in chunks', () => {
  const SIZE = 1000;
  function chunksOf(data: Buffer, sha256 = createHash('sha256').update(data).digest('hex')): PutChunk[] {
    const count = Math.ceil(data.length / SIZE);
    return Array.from({ length: count }, (_, seq) => ({
      sha256, seq, data: data.subarray(seq * SIZE, (seq + 1) * SIZE).toString('base64'), total: data.length, last: seq === count - 1,
    }));
  }
  const setUp = (limit?: number): { cache: ImageCache; uploads: Uploads } => {
    const cache = cacheIn(cacheDir(), limit);
    return { cache, uploads: new Uploads(cache, realClock) };
  };
  const me = {};

  it('are complete with the last', async () => {
    const { cache, uploads } = setUp();
    const data = randomBytes(6500);
    const chunks = chunksOf(data);
    const complete = await Promise.all(chunks.map((c) => uploads.take(c, me)));
    expect(complete).toEqual(chunks.map((c) => c.last));
    const sha256 = chunks[0]?.sha256 ?? '';
    expect(cache.has(sha256, data.length)).toBe(true);
    expect(readFileSync(join(cacheDir(), sha256)).equals(data)).toBe(true);
    expect(await uploads.take(chunks[0] as PutChunk, me)).toBe(true);
  });

  it('may overtake each other within the window', async () => {
    const { cache, uploads } = setUp();
    const chunks = chunksOf(randomBytes(6500));
    for (const c of [1, 0, 5, 2, 4, 3, 6].map((i) => chunks[i] as PutChunk)) await uploads.take(c, me);
    expect(cache.has(chunks[0]?.sha256 ?? '', 6500)).toBe(true);
  });

  it('are shared by connections that send the same', async () => {
    const { cache, uploads } = setUp();
    const other = {};
    const chunks = chunksOf(randomBytes(5000));
    for (const c of chunks.slice(0, 3)) await uploads.take(c, me);
    const theirs = chunks.map((c) => uploads.take(c, other));
    await theirs[0];
    uploads.leave(me);
    await Promise.all(theirs);
    expect(cache.has(chunks[0]?.sha256 ?? '', 5000)).toBe(true);
    expect(cache.usedBytes).toBe(5000);
    expect(files()).toHaveLength(1);
  });

  it('are thrown away when their sender goes', async () => {
    const { cache, uploads } = setUp();
    const chunks = chunksOf(randomBytes(5000));
    await uploads.take(chunks[0] as PutChunk, me);
    uploads.leave(me);
    await expect.poll(() => files()).toEqual([]);
    cache.reserve(100 * KIB).release();
  });

  it.each([
    ['with another digest', 'ImageCorrupt', (c: PutChunk[]) => c.map((x) => (x.seq === 2 ? { ...x, data: Buffer.alloc(SIZE).toString('base64') } : x))],
    ['longer than promised', 'ImageCorrupt', (c: PutChunk[]) => c.map((x) => ({ ...x, total: 4000 }))],
    ['shorter than promised', 'ImageCorrupt', (c: PutChunk[]) => c.map((x) => ({ ...x, total: 6000 }))],
    ['of changing size', 'BadRequest', (c: PutChunk[]) => c.map((x) => ({ ...x, total: 5000 + x.seq }))],
    ['too far ahead', 'BadRequest', (c: PutChunk[]) => c.map((x) => ({ ...x, seq: x.seq * 10 }))],
    ['beyond the cache', 'CacheFull', (c: PutChunk[]) => c.map((x) => ({ ...x, total: 1000 * KIB }))],
  ])('are refused %s, and nothing stays', async (_, expected, spoil) => {
    const { cache, uploads } = setUp();
    const chunks = spoil(chunksOf(randomBytes(5000)));
    const codes: string[] = [];
    for (const c of chunks) {
      codes.push(await code(uploads.take(c, me)));
      if (codes.at(-1) !== 'ok') break;
    }
    expect(codes.at(-1)).toBe(expected);
    expect(files()).toEqual([]);
    cache.reserve(100 * KIB).release();
  });

  it('leave nothing on a full disk', async () => {
    const { cache, uploads } = setUp();
    const probe = await open(join(tmp.dir, 'probe'), 'w');
    const prototype = Object.getPrototypeOf(probe) as typeof probe;
    await probe.close();
    vi.spyOn(prototype, 'write').mockRejectedValueOnce(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }));
    expect(await code(uploads.take(chunksOf(randomBytes(5000))[0] as PutChunk, me))).toBe('DiskFull');
    expect(files()).toEqual([]);
    cache.reserve(100 * KIB).release();
  });
});

describe.skipIf(!hasPart('mounts'))('a file system that is full', () => {
  it('takes no half image', async () => {
    const small = join(tmp.dir, 'small');
    await onSmallDisk(small, '64k', async () => {
      const cache = cacheIn(small, 1000 * KIB);
      expect(await code(cache.ensure(makeImage(tmp.dir, 200 * KIB)))).toBe('DiskFull');
      expect(files(small)).toEqual([]);
      expect(await code(cache.ensure(makeImage(tmp.dir, 20 * KIB)))).toBe('ok');
    });
  });
});
