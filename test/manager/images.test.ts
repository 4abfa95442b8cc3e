import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ManagerDeps } from '../../src/manager/deps.ts';
import { imageCases } from '../../src/manager/images.ts';
import type { Manager } from '../../src/manager/types.ts';
import { callerOf } from '../support/caller.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { addAccount, addImage } from '../support/rows.ts';

let t: TestDatabase;
let images: Manager['images'];
beforeAll(async () => {
  t = await openTestDatabase();
  images = imageCases({ db: t.db } as ManagerDeps);
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
