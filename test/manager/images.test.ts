import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ManagerDeps } from '../../src/manager/deps.ts';
import { imageCases } from '../../src/manager/images.ts';
import type { Manager } from '../../src/manager/types.ts';
import { markImageRemoved } from '../../src/store/images.ts';
import { callerOf } from '../support/caller.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { addAccount, addImage } from '../support/rows.ts';

let t: TestDatabase;
let images: Manager['images'];
let now = 0;
beforeAll(async () => {
  t = await openTestDatabase();
  images = imageCases({ db: t.db, ctx: { clock: { now: () => now } } } as ManagerDeps);
});
afterAll(() => t.close());

test('own images first, then common ones, never another’s', async () => {
  const [alice, bob] = [callerOf(await addAccount(t.db, 'alice')), callerOf(await addAccount(t.db, 'bob'))];
  const [common, hers, his] = [await addImage(t.db, null, 'guest'), await addImage(t.db, alice.accountId, 'hers'), await addImage(t.db, bob.accountId, 'his')];
  expect((await images.list(alice)).map((i) => [i.id, i.owner])).toEqual([[hers, 'alice'], [common, null]]);
  expect((await images.list(alice, { ids: [common] })).map((i) => i.id)).toEqual([common]);
  expect((await images.list(alice, { ids: ['hers', common], names: ['hers', 'nothing'] })).map((i) => i.id)).toEqual([hers]);
  await expect(images.list(alice, { ids: [hers, his] })).rejects.toMatchObject({ ec2: 'InvalidAMIID.NotFound', message: `The image id '[${his}]' does not exist` });
  await expect(images.list(alice, { ids: ['ami-x'] })).rejects.toMatchObject({ ec2: 'InvalidAMIID.Malformed' });
});

test('an image of the caller’s that was removed within the hour is none, where that is asked for; afterwards it is unknown', async () => {
  const [carol, dan] = [callerOf(await addAccount(t.db, 'carol')), callerOf(await addAccount(t.db, 'dan'))];
  const id = await addImage(t.db, carol.accountId, 'hers');
  now = 10_000_000;
  await t.db.query(markImageRemoved, [id, new Date(now)]);
  now += 3_599_999;
  expect(await images.list(carol, { ids: [id], gone: 'none' })).toEqual([]);
  await expect(images.list(carol, { ids: [id] })).rejects.toMatchObject({ ec2: 'InvalidAMIID.NotFound' });
  await expect(images.list(dan, { ids: [id], gone: 'none' })).rejects.toMatchObject({ ec2: 'InvalidAMIID.NotFound' });
  now += 1;
  await expect(images.list(carol, { ids: [id], gone: 'none' })).rejects.toMatchObject({ ec2: 'InvalidAMIID.NotFound' });
});
