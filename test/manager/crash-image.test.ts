/**
 * The service is killed before and after each statement, commit and message of an image that is made of a VM which goes on: copied while it
 * runs, or shut down for it. Whenever it dies the lease runs afterwards, and the image is there, once, with its own disk.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { statement } from '../../src/store/db.ts';
import { SAVED_DISK } from '../support/fake-control.ts';
import { deadline } from '../support/moments.ts';
import { expectRest, killAtEach, lived } from './crash-walk.ts';
import { CrashWorld } from './crash-world.ts';

let w: CrashWorld;
let walks = 0;
beforeAll(async () => { w = await CrashWorld.open(); });
afterAll(() => w.close());
beforeEach(() => { w.dies = () => false; });

const images = statement<{ size_bytes: number; n: number }>('crash-made', 'SELECT size_bytes, count(*)::int AS n FROM image WHERE name = $1 AND removed_at IS NULL GROUP BY size_bytes');
const states = statement<{ state: string; image_order: string | null }>('crash-made-of', 'SELECT state, image_order FROM lease WHERE id = $1');

async function image(live: boolean): Promise<void> {
  const name = `image-${walks += 1}`;
  const made = await w.insist(() => w.life.manager.leases.create(w.site.alice, { minCount: 1, maxCount: 1, image: 'guest', clientToken: name }));
  const id = made?.leases[0]?.id ?? '';
  await w.rest();
  await w.insist(() => w.life.manager.images.make(w.site.alice, id, { name, description: '', tags: {}, live }), ['ImageExists', 'StateRefused']);
  await w.rest();
  expect(await w.site.db.query(states, [id])).toEqual([{ state: 'Running', image_order: null }]);
  expect(await w.site.db.query(images, [name])).toEqual([{ size_bytes: SAVED_DISK.length, n: 1 }]);
  expect((await w.insist(() => w.life.manager.images.list(w.site.alice, { names: [name] })))?.map((i) => i.state)).toEqual(['available']);
  await w.insist(() => w.life.manager.leases.end(w.site.alice, [id], 'enough'));
}

async function walk(live: boolean, what: string): Promise<void> {
  await lived(() => image(live), what);
  await expectRest(w, what);
}

describe.each([['copied while it runs', true], ['shut down for it', false]] as const)('an image of a VM that is %s', { timeout: deadline(480_000) }, (_, live) => {
  it('survives a kill of the service at each moment', async () => {
    const all = await w.moments(() => image(live));
    await walk(live, 'a life without a fault');
    await killAtEach(w, all, (what) => walk(live, what));
  });
});
