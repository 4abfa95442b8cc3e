import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { keyCases } from '../../src/manager/keys.ts';
import { tagCases } from '../../src/manager/tags.ts';
import type { Caller, Manager } from '../../src/manager/types.ts';
import { configSchema } from '../../src/platform/config.ts';
import { callerOf } from '../support/caller.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { addAccount } from '../support/rows.ts';
import { ED25519_LINE, ED25519_SHA256, RSA_LINE, RSA_MD5 } from './ssh-keys/fixtures.ts';

let t: TestDatabase;
let keys: Manager['keys'];
let tags: Manager['tags'];
let alice: Caller;
let bob: Caller;
let users = 0;
beforeAll(async () => {
  t = await openTestDatabase();
  const ctx = testContext();
  keys = keyCases({ ctx, db: t.db });
  tags = tagCases({ ctx, db: t.db, config: configSchema.parse({}) });
});
beforeEach(async () => {
  alice = callerOf(await addAccount(t.db, `alice-${(users += 1)}`));
  bob = callerOf(await addAccount(t.db, `bob-${users}`));
});
afterAll(() => t.close());

const ed25519 = Buffer.from(ED25519_LINE);

describe('create', () => {
  test('answers the private half once and lists the pair afterwards', async () => {
    const { material, ...pair } = await keys.create(alice, 'my key', 'ed25519', { tags: { use: 'test' } });
    expect(material).toContain('OPENSSH PRIVATE KEY');
    expect(pair).toMatchObject({ name: 'my key', type: 'ed25519', publicKey: expect.stringMatching(/^ssh-ed25519 \S+ my key$/) });
    expect(await keys.list(alice)).toEqual([pair]);
    expect(await tags.list(alice)).toEqual([{ resourceId: pair.id, resourceType: 'key-pair', key: 'use', value: 'test' }]);
  });

  test('an RSA pair has a SHA-1 fingerprint', async () => {
    expect((await keys.create(alice, 'rsa', 'rsa')).fingerprint).toMatch(/^[0-9a-f]{2}(:[0-9a-f]{2}){19}$/);
  });

  test('a name that is taken is refused, also at the same moment', async () => {
    const both = await Promise.allSettled([keys.create(alice, 'k', 'ed25519'), keys.create(alice, 'k', 'ed25519')]);
    expect(both.map((r) => r.status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(keys.create(alice, 'k', 'rsa')).rejects.toMatchObject({ ec2: 'InvalidKeyPair.Duplicate', message: "The keypair 'k' already exists." });
    expect(await keys.list(alice)).toHaveLength(1);
  });

  test.each(['', ' k', 'k ', 'k\n', 'k\0', 'schlüssel', 'x'.repeat(256)])('the name %j is refused', async (name) => {
    await expect(keys.create(alice, name, 'ed25519')).rejects.toMatchObject({ code: 'ParameterInvalid' });
  });

  test('a dry run checks and writes nothing', async () => {
    await expect(keys.create(alice, 'dry', 'rsa', { dryRun: true })).rejects.toMatchObject({ code: 'DryRun' });
    expect(await keys.list(alice)).toEqual([]);
    await keys.import(alice, 'dry', ed25519);
    await expect(keys.create(alice, 'dry', 'rsa', { dryRun: true })).rejects.toMatchObject({ code: 'KeyPairExists' });
  });
});

describe('import', () => {
  test.each([[RSA_LINE, 'rsa', RSA_MD5], [ED25519_LINE, 'ed25519', ED25519_SHA256]])('%#: fingerprint', async (line, type, fingerprint) => {
    const pair = await keys.import(alice, 'brought', Buffer.from(line));
    expect(pair).toMatchObject({ type, fingerprint, publicKey: line.replace('me@here', 'brought') });
  });

  test('refuses a malformed key, a taken name and a reserved tag, and writes nothing', async () => {
    await expect(keys.import(alice, 'bad', Buffer.from('ssh-rsa AAAA'))).rejects.toMatchObject({ ec2: 'InvalidKey.Format' });
    await expect(keys.import(alice, 'bad', ed25519, { tags: { 'aws:x': '' } })).rejects.toMatchObject({ code: 'TagRefused' });
    await expect(keys.import(alice, 'bad', ed25519, { dryRun: true })).rejects.toMatchObject({ code: 'DryRun' });
    expect(await keys.list(alice)).toEqual([]);
    await keys.import(alice, 'good', ed25519);
    await expect(keys.import(alice, 'good', ed25519)).rejects.toMatchObject({ code: 'KeyPairExists' });
  });
});

describe('another user', () => {
  test('neither sees nor removes the pair, and may use its name', async () => {
    const pair = await keys.import(alice, 'shared name', ed25519);
    expect(await keys.list(bob)).toEqual([]);
    await expect(keys.list(bob, { names: ['shared name'] })).rejects.toMatchObject({ ec2: 'InvalidKeyPair.NotFound', message: "The key pair 'shared name' does not exist" });
    await expect(keys.list(bob, { ids: [pair.id] })).rejects.toMatchObject({ code: 'KeyPairNotFound' });
    expect(await keys.remove(bob, { id: pair.id })).toBeNull();
    await keys.import(bob, 'shared name', ed25519);
    expect(await keys.list(alice)).toEqual([pair]);
  });
});

describe('remove', () => {
  test('by name or id, with its tags; a second time is no fault', async () => {
    const [one, two] = [await keys.import(alice, 'one', ed25519, { tags: { a: '1' } }), await keys.import(alice, 'two', ed25519)];
    await expect(keys.remove(alice, { name: 'one' }, { dryRun: true })).rejects.toMatchObject({ code: 'DryRun' });
    expect(await keys.remove(alice, { name: 'one' })).toEqual(one);
    expect(await keys.remove(alice, { name: 'one' })).toBeNull();
    expect(await keys.remove(alice, { name: 'no\0name' })).toBeNull();
    expect(await keys.remove(alice, { id: two.id })).toEqual(two);
    expect(await keys.list(alice)).toEqual([]);
    expect(await tags.list(alice)).toEqual([]);
  });
});

test('list narrows by names and ids', async () => {
  const [a, b] = [await keys.import(alice, 'a', ed25519), await keys.import(alice, 'b', ed25519)];
  expect(await keys.list(alice, { names: ['b'] })).toEqual([b]);
  expect(await keys.list(alice, { ids: [a.id] })).toEqual([a]);
});
