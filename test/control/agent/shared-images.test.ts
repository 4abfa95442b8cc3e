/** Several agents of a node over one directory of images: each brings what it lacks, nobody loses what he uses. */
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ImageCache } from '../../../src/control/agent/cache.ts';
import { realClock } from '../../../src/control/agent/clock.ts';
import { asAgentError } from '../../../src/control/agent/fault.ts';
import { silentLog } from '../../../src/control/agent/log.ts';
import { SharedImages, openSharedDir } from '../../../src/control/agent/shared-images.ts';
import { Uploads } from '../../../src/control/agent/uploads.ts';
import type { ImageRef } from '../../../src/control/protocol.ts';
import { makeImage, scratch } from './rig.ts';

let tmp: ReturnType<typeof scratch>;
beforeEach(() => { tmp = scratch(); });
afterEach(() => tmp.remove());

const KIB = 1024;
const LIMIT = 100 * KIB;
let time = 1_700_000_000_000;
/** Time that moves by a minute at each look, so that uses are apart. */
const clock = { ...realClock, now: () => (time += 61_000) };
const sharedDir = (): string => join(tmp.dir, 'shared');
const shared = (): string[] => readdirSync(sharedDir()).sort();
const code = async (work: Promise<unknown>): Promise<string> => work.then(() => 'ok', (e: unknown) => asAgentError(e).code);
const elsewhere = ({ id, sha256, format, sizeBytes }: ImageRef): ImageRef => ({ id, sha256, format, sizeBytes });

interface TestAgent {
  readonly dir: string;
  readonly cache: ImageCache;
  readonly used: Set<string>;
}
function agent(name: string, limitBytes = LIMIT): TestAgent {
  const dir = join(tmp.dir, name);
  const used = new Set<string>();
  const found = openSharedDir(sharedDir(), silentLog);
  if (found === undefined) throw new Error('the shared directory is not usable');
  const cache = new ImageCache({ dir, limitBytes, clock, log: silentLog, inUse: () => used, shared: new SharedImages({ dir: found, limitBytes, log: silentLog }) });
  return { dir, cache, used };
}
/** As the end of a slot and `--recover` do. */
const goes = (a: TestAgent): void => rmSync(a.dir, { recursive: true, force: true });

describe('an image that one agent has brought', () => {
  it('is there for the next, which has no way to its bytes, and stays when the first has gone', async () => {
    const image = makeImage(tmp.dir, 10 * KIB);
    const first = agent('first');
    await first.cache.ensure(image);
    expect(shared()).toEqual([image.sha256]);
    const second = agent('second');
    const path = await second.cache.ensure(elsewhere(image));
    goes(first);
    expect(readFileSync(path).equals(image.data)).toBe(true);
    goes(second);
    expect(readFileSync(await agent('third').cache.ensure(elsewhere(image))).equals(image.data)).toBe(true);
  });

  it('is one file, also when two bring it in the same moment', async () => {
    const image = makeImage(tmp.dir, 30 * KIB);
    const two = [agent('first'), agent('second')];
    const paths = await Promise.all(two.map((a) => a.cache.ensure(image)));
    expect(new Set([...paths, join(sharedDir(), image.sha256)].map((p) => statSync(p).ino)).size).toBe(1);
    for (const { dir } of two) expect(readdirSync(dir).sort()).toEqual([image.sha256, 'tmp'].sort());
  });

  it('ends an upload that another agent has overtaken', async () => {
    const image = makeImage(tmp.dir, 3000);
    const second = agent('second');
    const uploads = new Uploads(second.cache, realClock);
    const chunk = (seq: number): Parameters<Uploads['take']>[0] => ({ sha256: image.sha256, seq, data: image.data.subarray(seq * 1000, (seq + 1) * 1000).toString('base64'), total: 3000, last: seq === 2 });
    expect(await uploads.take(chunk(0), {})).toBe(false);
    await agent('first').cache.ensure(image);
    expect(await uploads.take(chunk(1), {})).toBe(true);
    expect(readFileSync(await second.cache.ensure(elsewhere(image))).equals(image.data)).toBe(true);
  });

  it('that was damaged is thrown away and brought again', async () => {
    const image = makeImage(tmp.dir, 10 * KIB);
    const first = agent('first');
    await first.cache.ensure(image);
    goes(first);
    const file = join(sharedDir(), image.sha256);
    chmodSync(file, 0o644);
    truncateSync(file, 0);
    const { cache } = agent('second');
    expect(await code(cache.ensure(elsewhere(image)))).toBe('ImageMissing');
    expect(shared()).toEqual([]);
    expect(readFileSync(await cache.ensure(image)).equals(image.data)).toBe(true);
  });
});

describe('the limit', () => {
  it('counts what all agents have; what nobody uses goes first, what somebody uses never', async () => {
    const [a, b, c, d] = [1, 2, 3, 4].map(() => makeImage(tmp.dir, 40 * KIB)) as [ReturnType<typeof makeImage>, ReturnType<typeof makeImage>, ReturnType<typeof makeImage>, ReturnType<typeof makeImage>];
    const first = agent('first');
    const second = agent('second');
    const ofFirst = await first.cache.ensure(a);
    await second.cache.ensure(b);
    expect(await code(agent('third').cache.ensure(c))).toBe('CacheFull');
    goes(second);
    await agent('third').cache.ensure(c);
    expect(shared()).toEqual([a.sha256, c.sha256].sort());
    expect(readFileSync(ofFirst).equals(a.data)).toBe(true);
    // An agent lets go of its own idle images for another one.
    first.used.clear();
    await first.cache.ensure(d);
    expect(shared()).toEqual([c.sha256, d.sha256].sort());
  });

  it('whoever comes, uses, goes and is killed: bytes in use are whole, and no more is kept than allowed', async () => {
    const images = Array.from({ length: 6 }, (_, i) => makeImage(tmp.dir, (i + 1) * 10 * KIB));
    const step = fc.record({ who: fc.nat(2), what: fc.constantFrom('use', 'use', 'use', 'go', 'half'), image: fc.nat(images.length - 1) });
    let run = 0;
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      run += 1;
      rmSync(sharedDir(), { recursive: true, force: true });
      const agents = [0, 1, 2].map((i) => agent(`a${i} ${run}`));
      const held = agents.map(() => new Map<string, string>());
      for (const [at, { who, what, image }] of steps.entries()) {
        const own = agents[who] as TestAgent;
        const wanted = images[image] as (typeof images)[0];
        if (what === 'use') {
          own.used.add(wanted.sha256);
          const path = await own.cache.ensure(wanted).catch(() => null);
          if (path === null) own.used.delete(wanted.sha256);
          else held[who]?.set(wanted.sha256, path);
        } else {
          // Killed in the middle of a copy or between two: its directory is all that is left, and goes.
          if (what === 'half') writeFileSync(own.cache.tmpFile(), 'half');
          goes(own);
          held[who]?.clear();
          agents[who] = agent(`a${who} ${run} ${at}`);
        }
        for (const paths of held) {
          for (const [sha256, path] of paths) expect(createHash('sha256').update(readFileSync(path)).digest('hex')).toBe(sha256);
        }
        expect(shared().reduce((sum, f) => sum + statSync(join(sharedDir(), f)).size, 0)).toBeLessThanOrEqual(LIMIT);
      }
      agents.forEach(goes);
    }), { numRuns: 60 });
  });
});

describe('a place that cannot be shared', () => {
  it.each([
    ['open to others', (dir: string) => mkdirSync(dir, { mode: 0o755 })],
    ['a link', (dir: string) => symlinkSync(tmp.dir, dir)],
    ['a file', (dir: string) => writeFileSync(dir, '')],
  ])('%s: is not used, and that is said', (_, make) => {
    make(sharedDir());
    const said: string[] = [];
    expect(openSharedDir(sharedDir(), { ...silentLog, warn: (message) => said.push(message) })).toBeUndefined();
    expect(said).toEqual(['nothing is shared with other agents of this node']);
  });

  it('where images cannot be linked an agent keeps its own', async () => {
    const image = makeImage(tmp.dir, 10 * KIB);
    const images = new SharedImages({ dir: '/proc/self', limitBytes: LIMIT, log: silentLog });
    const alone = new ImageCache({ dir: join(tmp.dir, 'alone'), limitBytes: LIMIT, clock, log: silentLog, inUse: () => new Set(), shared: images });
    expect(readFileSync(await alone.ensure(image)).equals(image.data)).toBe(true);
  });
});
