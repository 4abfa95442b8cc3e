/** Disks that are fetched from nodes while something breaks: the node's line, the repository's disk, the database. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AgentRequest } from '../../src/control/protocol.ts';
import { imageAdministration } from '../../src/manager/admin/images.ts';
import { realClock } from '../../src/platform/real.ts';
import { statement } from '../../src/store/db.ts';
import { imageById } from '../../src/store/images.ts';
import { createDispatcher } from '../../src/workers/dispatcher.ts';
import { hasPart } from '../parts.ts';
import { failingDb, type FailingDb } from '../support/failing-db.ts';
import { SAVED_DISK } from '../support/fake-control.ts';
import { expectInvariants } from '../support/invariants.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { onSmallDisk } from '../support/small-disk.ts';

const DEADLINE_MS = 60_000;

let site: TestSite;
let db: FailingDb;
/** ms that the service's clock is ahead. */
let ahead = 0;
/** Where it stands still, if it does. */
let still: number | undefined;
let images = 0;
beforeAll(async () => {
  site = await openTestSite({
    config: { control: { start_deadline_ms: DEADLINE_MS } }, nodes: [{ name: 'n1', memoryMb: 4096, cores: 16 }],
    clock: { ...realClock, now: () => still ?? realClock.now() + ahead }, seenDb: (real) => (db = failingDb(real)),
  });
});
afterAll(() => site.close());
let lease = '';
beforeEach(async () => {
  [lease = ''] = (await site.manager.leases.create(site.alice, { minCount: 1, maxCount: 1, image: 'guest' })).leases.map((l) => l.id);
  await site.settled();
});
afterEach(async () => {
  Object.assign(site.control, { answer: () => undefined });
  still = undefined;
  Object.assign(db, { fails: () => false, losesCommit: () => false });
  await site.settled();
  await site.manager.leases.end(site.alice, [lease], '');
  await site.settled();
  await expectInvariants(site);
});

const open = statement<{ error: string | null }>('test-open-of', "SELECT error FROM intent WHERE lease_id = $1 AND state = 'open'");
const makeDue = statement<never>('test-due-of', "UPDATE intent SET next_at = created_at WHERE lease_id = $1 AND state = 'open'");
const pause = statement<{ s: number }>('test-pause-of', "SELECT extract(epoch FROM next_at - $2::timestamptz)::float8 AS s FROM intent WHERE lease_id = $1 AND state = 'open'");
/** Seconds that what is open waits yet, while the clock stands still. */
const pauseOf = async (): Promise<number> => (await site.db.query(pause, [lease, new Date(still ?? 0)]))[0]?.s ?? -1;
const order = (live: boolean): Promise<string> => site.manager.images.make(site.alice, lease, { name: `image-${images += 1}`, description: '', tags: {}, live });
const imageOf = async (id: string) => (await site.manager.images.list(site.alice, { ids: [id] }))[0];
const stateOf = async () => (await site.manager.leases.describe(site.alice, { ids: [lease] }))[0]?.state;
const sent = (op: AgentRequest['op']) => site.control.node(1).seen.filter((r) => r.op === op && 'lease' in r && r.lease === lease);
/** Nothing is under way, and what is open says why. */
const putOff = async (why: string): Promise<void> => {
  await expect.poll(async () => [site.dispatcher.underWay, ...await site.db.query(open, [lease])], { interval: 10, timeout: 60_000 }).toEqual([0, { error: expect.stringContaining(why) as string }]);
};
const again = async (): Promise<void> => {
  await site.db.query(makeDue, [lease]);
  await site.dispatcher.poll();
};
/** The image is there with its bytes, also when nothing is under way any more, and the VM runs. */
async function expectMade(id: string): Promise<void> {
  await expect.poll(async () => [(await imageOf(id))?.state, await stateOf()], { interval: 10, timeout: 60_000 }).toEqual(['available', 'Running']);
  await site.settled();
  const [row] = await site.db.query(imageById, [id]);
  expect(readFileSync(site.saving.repository.path(row?.file ?? '')).equals(SAVED_DISK)).toBe(true);
}
/** The image has failed for this reason, and the VM runs. */
async function expectFailed(id: string, why: RegExp): Promise<void> {
  await expect.poll(async () => [(await imageOf(id))?.state, await stateOf()], { interval: 10, timeout: 60_000 }).toEqual(['failed', 'Running']);
  expect((await imageOf(id))?.reason).toMatch(why);
}
const breaksInTheMiddle = (_: number, r: AgentRequest) => (r.op === 'read-saved' && r.offset > 0 ? 'silent' as const : undefined);

describe.each([['copied while it runs', true], ['shut down for it', false]])('the disk of a VM that is %s', (_, live) => {
  it('is fetched again when its node was not reached in the middle, however long the transfer took till then', async () => {
    let late = 0;
    site.control.answer = (node, r) => {
      // The first break comes long after all time for an operation.
      if (breaksInTheMiddle(node, r) !== undefined && late === 0) ahead += (late = 10 * DEADLINE_MS);
      return breaksInTheMiddle(node, r);
    };
    const id = await order(live);
    await putOff('no answer');
    // The line is down for a while.
    site.control.answer = (__, r) => (r.op === 'save' || r.op === 'copy' ? 'silent' : undefined);
    await again();
    await putOff('no answer');
    site.control.answer = () => undefined;
    await again();
    await expectMade(id);
    expect(new Set(sent(live ? 'copy' : 'save').map((r) => r.id)).size).toBe(1);
  });

  it('is given up when its node does not come back within the time of an operation', async () => {
    site.control.answer = breaksInTheMiddle;
    const id = await order(live);
    await putOff('no answer');
    site.control.answer = (__, r) => (r.op === 'save' || r.op === 'copy' ? 'silent' : undefined);
    ahead += DEADLINE_MS;
    await again();
    await expectFailed(id, /no answer/);
  });

  it('is fetched by the next service when one has ended in a long transfer, though its node is not there at once', async () => {
    site.control.answer = breaksInTheMiddle;
    const id = await order(live);
    await putOff('no answer');
    ahead += 10 * DEADLINE_MS;
    site.control.answer = (__, r) => (r.op === 'save' || r.op === 'copy' ? 'silent' : undefined);
    const next = createDispatcher({ ...site, recorder: site.manager.work.recorder, imagePath: (file) => file, save: site.saving.save });
    await site.db.query(makeDue, [lease]);
    await next.poll();
    await expect.poll(() => next.underWay).toBe(0);
    await putOff('no answer');
    site.control.answer = () => undefined;
    await site.db.query(makeDue, [lease]);
    await next.poll();
    await expectMade(id);
    await next.stop();
  });

  it('is not asked for for ever, however often the service has ended meanwhile', async () => {
    site.control.answer = breaksInTheMiddle;
    const id = await order(live);
    await putOff('no answer');
    const fetched = sent('read-saved').length;
    await site.db.query(statement<never>('test-worn-out', "UPDATE intent SET attempts = 1000 WHERE lease_id = $1 AND state = 'open'"), [lease]);
    await again();
    await expectFailed(id, /asked for 1000 times, and never came/);
    expect(sent('read-saved')).toHaveLength(fetched);
  });

  it('is given up when its transfer breaks off again and again', async () => {
    site.control.answer = breaksInTheMiddle;
    const id = await order(live);
    for (let i = 1; i < 8; i += 1) {
      await putOff('no answer');
      ahead += DEADLINE_MS / 2;
      await again();
    }
    await expectFailed(id, /no answer/);
    expect(sent(live ? 'copy' : 'save')).toHaveLength(8);
  });

  it.skipIf(!hasPart('mounts'))('is not fetched for ever into a repository without room: the image has failed', async () => {
    const folder = site.saving.repository.path('alice');
    await onSmallDisk(folder, '64k', async () => {
      const id = await order(live);
      await expectFailed(id, /The image repository has no space left/);
      // The room is given back.
      writeFileSync(join(folder, 'another'), Buffer.alloc(32_768));
    });
    await expectMade(await order(live));
  });

  it('keeps its file when the answer to the commit of its image is lost', async () => {
    site.control.answer = (__, r) => {
      // The next commit is that of the image.
      let first = true;
      if (r.op === 'read-saved' && r.offset > 0) db.losesCommit = () => first && !(first = false);
      return undefined;
    };
    const id = await order(live);
    await expect.poll(async () => (await imageOf(id))?.state, { interval: 10, timeout: 60_000 }).toBe('available');
    // That it was to be started again was not heard of either: the poll finds it.
    await again();
    await expectMade(id);
  });

  it('is given up when its image can never be written down, after pauses that grow, and a new request begins anew', async () => {
    db.fails = (name) => name === 'insert-image';
    still = realClock.now() + ahead;
    const id = await order(live);
    const pauses: number[] = [];
    for (let i = 1; i < 8; i += 1) {
      await putOff('The database does not answer');
      pauses.push(await pauseOf());
      await again();
    }
    await expectFailed(id, /its transfer broke off 8 times; the last time: The database does not answer/);
    expect((await imageAdministration({ db: site.db, repository: site.saving.repository }).list()).find((i) => i.id === id)).toMatchObject({ state: 'failed', owner: 'alice', reason: expect.stringContaining('broke off 8 times') as string });
    expect(pauses).toEqual([30, 60, 120, 240, 480, 900, 900]);
    expect(sent(live ? 'copy' : 'save')).toHaveLength(8);
    db.fails = () => false;
    await expectMade(await order(live));
  });

  it('is not fetched once more when not even its failure could be written down', async () => {
    db.fails = (name) => name === 'insert-image' || name === 'fail-image-orders';
    const id = await order(live);
    for (let i = 1; i < 8; i += 1) {
      await putOff('The database does not answer');
      await again();
    }
    await expect.poll(() => site.dispatcher.underWay).toBe(0);
    await again();
    db.fails = (name) => name === 'insert-image';
    await again();
    await expectFailed(id, /broke off 8 times/);
    expect(sent(live ? 'copy' : 'save')).toHaveLength(8);
  });

  it('keeps its file when nobody can be asked whether it has an image', async () => {
    db.fails = (name) => name === 'images-of-file';
    await expectMade(await order(live));
  });
});
