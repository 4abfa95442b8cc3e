import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { checkTags, tagCases } from '../../src/manager/tags.ts';
import type { Caller, Manager } from '../../src/manager/types.ts';
import { configSchema } from '../../src/platform/config.ts';
import { callerOf } from '../support/caller.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { addAccount, addImage, addLease } from '../support/rows.ts';

let t: TestDatabase;
let tags: Manager['tags'];
let commonImage: string;
let alice: Caller;
let bob: Caller;
let lease: string;
let users = 0;
beforeAll(async () => {
  t = await openTestDatabase();
  tags = tagCases({ ctx: testContext(), db: t.db, config: configSchema.parse({}) });
  commonImage = await addImage(t.db, null, 'guest');
});
beforeEach(async () => {
  alice = callerOf(await addAccount(t.db, `alice-${(users += 1)}`));
  bob = callerOf(await addAccount(t.db, `bob-${users}`));
  lease = await addLease(t.db, { accountId: alice.accountId, imageId: commonImage });
});
afterAll(() => t.close());

const pairs = async (caller: Caller, resourceIds?: string[]): Promise<string[]> =>
  (await tags.list(caller, resourceIds === undefined ? {} : { resourceIds })).map((x) => `${x.resourceId} ${x.key}=${x.value}`);

describe('set', () => {
  test('sets and replaces, on several resources of several kinds', async () => {
    const image = await addImage(t.db, alice.accountId, 'own');
    const group = `r-${lease.slice(2)}`;
    await tags.set(alice, [lease, image, group], { Name: 'one', empty: '' });
    await tags.set(alice, [lease], { Name: 'two' });
    expect(await pairs(alice)).toEqual([`${image} Name=one`, `${image} empty=`, `${lease} Name=two`, `${lease} empty=`, `${group} Name=one`, `${group} empty=`].sort());
    expect((await tags.list(alice)).map((x) => x.resourceType).sort()).toEqual(['image', 'image', 'instance', 'instance', 'reservation', 'reservation']);
  });

  test('an unknown or foreign resource, or a common image, fails the whole call', async () => {
    const own = await addImage(t.db, alice.accountId, 'hers');
    for (const [id, ec2] of [
      [lease, 'InvalidInstanceID.NotFound'], [own, 'InvalidAMIID.NotFound'], [commonImage, 'InvalidAMIID.NotFound'],
      ['key-0123456789abcdef0', 'InvalidKeyPair.NotFound'], ['r-0123456789abcdef0', 'InvalidID'], ['i-xyz', 'InvalidInstanceID.Malformed'],
      ['ami-../x', 'InvalidAMIID.Malformed'], ['vol-12345678', 'InvalidVolume.NotFound'], ['vol-x', 'InvalidID'], ['', 'InvalidID'],
    ] as const) {
      const mine = await addLease(t.db, { accountId: bob.accountId, imageId: commonImage });
      await expect(tags.set(bob, [mine, id], { a: 'b' }), id).rejects.toMatchObject({ ec2 });
    }
    expect(await pairs(bob)).toEqual([]);
  });

  test('administrators tag what is not theirs; the owner sees it', async () => {
    const admin = callerOf(bob.accountId, { admin: true });
    await tags.set(admin, [lease], { checked: 'yes' });
    expect(await pairs(alice)).toEqual([`${lease} checked=yes`]);
  });

  test('a resource has at most fifty tags, also when two calls add at once', async () => {
    const some = (from: number, count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${from + i}`, '']));
    await tags.set(alice, [lease], some(0, 40));
    const both = await Promise.allSettled([tags.set(alice, [lease], some(100, 10)), tags.set(alice, [lease], some(200, 10))]);
    expect(both.map((r) => r.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await pairs(alice)).toHaveLength(50);
    await tags.set(alice, [lease], { k0: 'replaced' });
    await expect(tags.set(alice, [lease], { one: 'more' })).rejects.toMatchObject({ ec2: 'TagLimitExceeded', reasons: [`${lease} would have 51`] });
  });

  test('a dry run checks and writes nothing', async () => {
    await expect(tags.set(alice, [lease], { a: 'b' }, { dryRun: true })).rejects.toMatchObject({ code: 'DryRun' });
    await expect(tags.set(bob, [lease], { a: 'b' }, { dryRun: true })).rejects.toMatchObject({ code: 'LeaseNotFound' });
    expect(await pairs(alice)).toEqual([]);
  });

  test('more than a thousand resources are refused', async () => {
    const ids = Array.from({ length: 1001 }, (_, i) => `i-${i.toString(16).padStart(17, '0')}`);
    await expect(tags.set(alice, ids, { a: 'b' })).rejects.toMatchObject({ code: 'ParameterInvalid' });
  });
});

describe('remove', () => {
  beforeEach(() => tags.set(alice, [lease], { a: '1', b: '2', c: '3' }));

  test('a key whatever its value, or only with the same value', async () => {
    await tags.remove(alice, [lease], [{ key: 'a', value: undefined }, { key: 'b', value: 'other' }, { key: 'c', value: '3' }, { key: 'x\0', value: undefined }]);
    expect(await pairs(alice)).toEqual([`${lease} b=2`]);
  });

  test('no tags named: all', async () => {
    await tags.remove(alice, [lease], []);
    expect(await pairs(alice)).toEqual([]);
  });

  test('not by another user', async () => {
    await expect(tags.remove(bob, [lease], [])).rejects.toMatchObject({ code: 'LeaseNotFound' });
    expect(await pairs(alice)).toHaveLength(3);
  });
});

describe('list', () => {
  test('shows only own tags, narrowed by resources; unknown ones are left out', async () => {
    const other = await addLease(t.db, { accountId: alice.accountId, imageId: commonImage });
    await tags.set(alice, [lease, other], { a: '1' });
    expect(await pairs(bob)).toEqual([]);
    expect(await pairs(alice, [other, 'i-\0', 'nonsense'])).toEqual([`${other} a=1`]);
  });

  test('tags of leases that ended long ago are gone', async () => {
    const long = new Date(testContext().clock.now() - 2 * 3_600_000);
    const old = await addLease(t.db, { accountId: alice.accountId, imageId: commonImage, ended: true, createdAt: long });
    await tags.set(alice, [old], { a: '1' });
    expect(await pairs(alice)).toEqual([]);
  });
});

describe('what a tag may be', () => {
  test.each([
    ['aws:x', ''], ['AWS:x', ''], ['nimbus:duration', '1h'], ['Nimbus:', ''], ['', ''], ['k'.repeat(129), ''], ['k', 'v'.repeat(257)],
    ['k\0', ''], ['k', '\0'], ['k', '\u0007'], ['\ud800', ''], ['k', '\uffff'],
  ])('%j = %j is refused', (key, value) => {
    expect(() => checkTags({ [key]: value })).toThrow(expect.objectContaining({ code: 'TagRefused' }));
  });

  test.each([['k'.repeat(128), 'v'.repeat(256)], ['😀'.repeat(128), '😀'.repeat(256)], [' ', '\t\n'], ['my aws:', 'aws:']])('%j = %j is allowed', (key, value) => {
    expect(() => checkTags({ [key]: value })).not.toThrow();
  });

  test('what is allowed is stored as it is', async () => {
    const arbText = (maxLength: number) => fc.string({ unit: 'grapheme', minLength: 1, maxLength });
    await fc.assert(fc.asyncProperty(arbText(20), arbText(40), async (key, value) => {
      const wanted = { [key]: value };
      try {
        checkTags(wanted);
      } catch {
        return;
      }
      await tags.set(alice, [lease], wanted);
      expect((await tags.list(alice, { resourceIds: [lease] })).map((x) => [x.key, x.value])).toEqual([[key, value]]);
      await tags.remove(alice, [lease], []);
    }), { numRuns: 40 });
  });
});
