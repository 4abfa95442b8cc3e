import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeOwn } from '../../../src/grid/ca/certificates.ts';
import { pem } from '../../../src/grid/trust/pem.ts';
import { createCredentials } from '../../../src/manager/credentials.ts';
import { keyCases } from '../../../src/manager/keys.ts';
import type { Clock } from '../../../src/platform/context.ts';
import { statement } from '../../../src/store/db.ts';
import { accountByName } from '../../../src/store/users.ts';
import { authority } from '../../grid/make.ts';
import { callerOf } from '../../support/caller.ts';
import { testContext } from '../../support/context.ts';
import { addImage, addLease } from '../../support/rows.ts';
import { ED25519_LINE } from '../ssh-keys/fixtures.ts';
import { openSite, type Site } from './site.ts';

let site: Site;
beforeAll(async () => {
  site = await openSite();
});
afterAll(() => site.close());

/** Seconds that pass only when told. */
const clock = (): Clock & { pass(ms: number): void } => {
  let now = 0;
  return { now: () => now, monotonic: () => now, after: () => ({ cancel: () => undefined }), pass: (ms) => void (now += ms) };
};
const fresh = () => createCredentials({ db: site.t.db, clock: clock() });

describe('add', () => {
  test('makes a user with credentials that work', async () => {
    const made = await site.admin.users.add('alice', true);
    expect(made).toMatchObject({ name: 'alice', ownerId: expect.stringMatching(/^\d{12}$/), accessKey: expect.stringMatching(/^NIMB[A-Z2-7]{16}$/), secretKey: expect.stringMatching(/^[A-Za-z0-9]{40}$/) });
    expect(await fresh().find(made.accessKey)).toMatchObject({ secret: made.secretKey, name: 'alice', ownerId: made.ownerId, admin: true });
    expect(await site.admin.users.list()).toEqual([expect.objectContaining({ name: 'alice', admin: true, accessKeys: [{ accessKey: made.accessKey, active: true }] })]);
  });

  test('a name that is taken is refused, also at the same moment', async () => {
    const both = await Promise.allSettled([site.admin.users.add('twice', false), site.admin.users.add('twice', false)]);
    expect(both.map((r) => r.status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(site.admin.users.add('twice', false)).rejects.toMatchObject({ code: 'UserExists' });
  });

  test.each(['', 'common', '../x', 'a b', 'x\0', 'alice~1'])('the name %j is refused', async (name) => {
    await expect(site.admin.users.add(name, false)).rejects.toMatchObject({ code: 'ParameterInvalid' });
  });
});

describe('access keys', () => {
  test('further ones work beside the first; a deactivated one stays listed and its secret is erased', async () => {
    const first = await site.admin.users.add('keys', false);
    const second = await site.admin.users.addKey('keys');
    await site.admin.users.deactivateKey('keys', first.accessKey);
    expect(await fresh().find(first.accessKey)).toBeNull();
    expect(await fresh().find(second.accessKey)).toMatchObject({ name: 'keys' });
    const user = (await site.admin.users.list()).find((u) => u.name === 'keys');
    expect(user?.accessKeys).toEqual(expect.arrayContaining([{ accessKey: first.accessKey, active: false }, { accessKey: second.accessKey, active: true }]));
    const left = await site.t.db.query(statement<{ secret: string }>('test-secret', 'SELECT secret FROM access_key WHERE access_key = $1'), [first.accessKey]);
    expect(left).toEqual([{ secret: '' }]);
  });

  test('ten are the most; a deactivated one makes room', async () => {
    const { accessKey } = await site.admin.users.add('many', false);
    for (let i = 1; i < 10; i++) await site.admin.users.addKey('many');
    await expect(site.admin.users.addKey('many')).rejects.toMatchObject({ code: 'TooMany' });
    await site.admin.users.deactivateKey('many', accessKey);
    await site.admin.users.addKey('many');
  });

  test('unknown users and keys are named', async () => {
    await site.admin.users.add('plain', false);
    const other = await site.admin.users.add('other', false);
    await expect(site.admin.users.addKey('nobody')).rejects.toMatchObject({ code: 'UserNotFound' });
    await expect(site.admin.users.deactivateKey('nobody\0', 'x')).rejects.toMatchObject({ code: 'UserNotFound' });
    for (const key of [other.accessKey, 'x', '', 'x\0']) {
      await expect(site.admin.users.deactivateKey('plain', key)).rejects.toMatchObject({ code: 'CredentialsUnknown' });
    }
  });
});

describe('names of certificates', () => {
  const of = (name: string) => site.admin.users.list().then((all) => all.find((u) => u.name === name)?.dns);

  test('lead to their user, beside access keys', async () => {
    const made = await site.admin.users.add('gridder', false, ['/O=Grid/CN=Gridder', '/DC=org/CN=Gridder/Email=g@example.org']);
    await site.admin.users.addDn('gridder', '/O=Grid/CN=Gr\u00fcn');
    expect(await of('gridder')).toEqual(['/DC=org/CN=Gridder/emailAddress=g@example.org', '/O=Grid/CN=Gr\\xC3\\xBCn', '/O=Grid/CN=Gridder']);
    const account = { name: 'gridder', ownerId: made.ownerId, admin: false };
    expect(await fresh().ofDn('/O=Grid/CN=Gridder')).toMatchObject(account);
    expect(await fresh().ofDn('/DC=org/CN=Gridder/emailAddress=g@example.org')).toMatchObject(account);
    expect(await fresh().ofUser('gridder')).toMatchObject(account);
    expect((await fresh().find(made.accessKey))?.accountId).toBe((await fresh().ofDn('/O=Grid/CN=Gridder'))?.accountId);
    expect(await fresh().ofDn('/O=Grid/CN=gridder')).toBeNull();
  });

  test('are one user’s; adding one’s own again changes nothing; removing frees it', async () => {
    await site.admin.users.add('one', false, ['/O=Grid/CN=One']);
    await site.admin.users.add('two', false);
    await expect(site.admin.users.addDn('two', '/O=Grid/CN=One')).rejects.toMatchObject({ code: 'DnTaken' });
    await expect(site.admin.users.add('three', false, ['/O=Grid/CN=One'])).rejects.toMatchObject({ code: 'DnTaken' });
    expect(await of('three'), 'no half of a user').toBeUndefined();
    await site.admin.users.addDn('one', '/O=Grid/CN=One');
    await expect(site.admin.users.removeDn('two', '/O=Grid/CN=One')).rejects.toMatchObject({ code: 'DnUnknown' });
    await site.admin.users.removeDn('one', '/O=Grid/CN=One');
    await site.admin.users.addDn('two', '/O=Grid/CN=One');
    expect(await of('two')).toEqual(['/O=Grid/CN=One']);
  });

  test('of a user who is removed are free', async () => {
    await site.admin.users.add('going', false, ['/O=Grid/CN=Going', '/O=Grid/CN=Kept']);
    await site.admin.users.remove('going');
    expect(await fresh().ofDn('/O=Grid/CN=Going')).toBeNull();
    const [gone] = await site.t.db.query(statement<{ id: number }>('test-gone', "SELECT id FROM account WHERE name LIKE 'going~%'"), []);
    // As a service of the version before leaves it.
    await site.t.db.query(statement<never>('test-left', 'INSERT INTO account_dn (dn, account_id, created_at) VALUES ($1, $2, now())'), ['/O=Grid/CN=Kept', gone!.id]);
    expect(await fresh().ofDn('/O=Grid/CN=Kept')).toBeNull();
    await site.admin.users.add('coming', false, ['/O=Grid/CN=Going', '/O=Grid/CN=Kept']);
    expect(await of('coming')).toEqual(['/O=Grid/CN=Going', '/O=Grid/CN=Kept']);
  });

  test('twenty are the most; what is no name is refused', async () => {
    await site.admin.users.add('namely', false, Array.from({ length: 20 }, (_, i) => `/O=Grid/CN=n${i}`));
    await expect(site.admin.users.addDn('namely', '/O=Grid/CN=n20')).rejects.toMatchObject({ code: 'TooMany' });
    for (const dn of ['', 'CN=x', '/', '/CN', 'O=Grid/CN=x', `/CN=${'x'.repeat(5000)}`]) await expect(site.admin.users.add('unnamed', false, [dn])).rejects.toMatchObject({ code: 'ParameterInvalid' });
  });
});

describe('the credentials cache', () => {
  test('answers from memory for a second, then asks again', async () => {
    const time = clock();
    const credentials = createCredentials({ db: site.t.db, clock: time });
    const { accessKey } = await site.admin.users.add('cached', false);
    expect(await credentials.find(accessKey)).not.toBeNull();
    await site.admin.users.deactivateKey('cached', accessKey);
    time.pass(999);
    expect(await credentials.find(accessKey)).not.toBeNull();
    time.pass(1);
    expect(await credentials.find(accessKey)).toBeNull();
  });

  test('what PostgreSQL cannot hold, or nobody has, is unknown', async () => {
    for (const key of ['', 'x\0', 'x'.repeat(10_000), 'NIMBAAAAAAAAAAAAAAAA']) expect(await fresh().find(key)).toBeNull();
  });
});

describe('remove', () => {
  test('is refused while leases live, and names them', async () => {
    await site.admin.users.add('busy', false);
    const [account] = await site.t.db.query(accountByName, ['busy']);
    const image = await addImage(site.t.db, null, 'busy-image');
    const lease = await addLease(site.t.db, { accountId: account!.id, imageId: image });
    await expect(site.admin.users.remove('busy')).rejects.toMatchObject({ code: 'UserInUse', reasons: [`lease ${lease} lives`] });
  });

  test('takes credentials, key pairs and images; the name is free, and what a namesake has is new', async () => {
    const old = await site.admin.users.add('leaver', false);
    const [account] = await site.t.db.query(accountByName, ['leaver']);
    const keys = keyCases({ ctx: testContext(), db: site.t.db });
    await keys.import(callerOf(account!.id), 'k', Buffer.from(ED25519_LINE), { tags: { a: 'b' } });
    const file = join(site.dir, 'disk');
    writeFileSync(file, Buffer.alloc(512));
    await site.admin.images.add({ name: 'disk', owner: 'leaver', file, description: '' });
    const common = await addImage(site.t.db, null, 'leaver-image');
    await addLease(site.t.db, { accountId: account!.id, imageId: common, ended: true });

    await site.admin.users.remove('leaver');
    expect(await fresh().find(old.accessKey)).toBeNull();
    expect(readdirSync(join(site.dir, 'images', 'leaver'))).toEqual([]);
    expect(existsSync(file)).toBe(true);
    await expect(site.admin.users.remove('leaver')).rejects.toMatchObject({ code: 'UserNotFound' });

    const again = await site.admin.users.add('leaver', false);
    expect(again.ownerId).not.toBe(old.ownerId);
    const [namesake] = await site.t.db.query(accountByName, ['leaver']);
    expect(await keys.list(callerOf(namesake!.id))).toEqual([]);
    await site.admin.images.add({ name: 'disk', owner: 'leaver', file, description: '' });
  });
});

describe('certificates that sign SOAP requests', () => {
  const NOW = Math.floor(Date.now() / 1000) * 1000;
  const made = (name: string, from = NOW - 1000, until = NOW + 86_400_000): string => makeOwn({ subject: `/O=nimbus/CN=${name}`, from, until, serial: Buffer.alloc(16, 7), sha1: false }).certificate;

  test('lead to their user by their fingerprint, are listed and removed', async () => {
    const user = await site.admin.users.add('soapy', false);
    const added = await site.admin.users.addCertificate('soapy', made('Soapy'));
    expect(added).toMatchObject({ fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/), subject: '/O=nimbus/CN=Soapy', notAfter: NOW + 86_400_000 });
    expect(await fresh().ofCertificate(added.fingerprint)).toMatchObject({ name: 'soapy', ownerId: user.ownerId });
    expect(await site.admin.users.certificates('soapy')).toEqual([added]);
    await expect(site.admin.users.removeCertificate('soapy', added.fingerprint.slice(0, 7))).rejects.toMatchObject({ code: 'CertificateUnknown' });
    await expect(site.admin.users.removeCertificate('soapy', '%'.repeat(8))).rejects.toMatchObject({ code: 'CertificateUnknown' });
    await site.admin.users.removeCertificate('soapy', added.fingerprint.slice(0, 16).toUpperCase());
    expect(await fresh().ofCertificate(added.fingerprint)).toBeNull();
    expect(await site.admin.users.certificates('soapy')).toEqual([]);
  });

  test('are one user’s; of a user who is removed they are free', async () => {
    await site.admin.users.add('mine', false);
    await site.admin.users.add('yours', false);
    const certificate = made('Shared');
    const { fingerprint } = await site.admin.users.addCertificate('mine', certificate);
    await expect(site.admin.users.addCertificate('yours', certificate)).rejects.toMatchObject({ code: 'CertificateTaken' });
    await site.admin.users.addCertificate('mine', certificate);
    await expect(site.admin.users.removeCertificate('yours', fingerprint)).rejects.toMatchObject({ code: 'CertificateUnknown' });
    await site.admin.users.remove('mine');
    expect(await fresh().ofCertificate(fingerprint)).toBeNull();
    await site.admin.users.addCertificate('yours', certificate);
    expect((await fresh().ofCertificate(fingerprint))?.name).toBe('yours');
  });

  test('what cannot sign is refused: no certificate, two, other keys, keys too small or too large, time that is over', async () => {
    await site.admin.users.add('odd', false);
    const other = (kind: string, options: object): string => {
      const keys = (generateKeyPairSync as (k: string, o: object) => { publicKey: KeyObject; privateKey: KeyObject })(kind, options);
      return pem('CERTIFICATE', authority('O=Grid,CN=Odd', { keys }).der);
    };
    for (const [text, said] of [
      ['', 'has 0'], [made('A') + made('B'), 'has 2'], ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', 'cannot be read'], [made('Old', 0, NOW - 1), 'time is over'],
      [other('ec', { namedCurve: 'P-256' }), 'must be RSA'], [other('rsa', { modulusLength: 768 }), '1024 to 4096'], [other('rsa', { modulusLength: 4104 }), '1024 to 4096'],
    ] as const) await expect(site.admin.users.addCertificate('odd', text), said).rejects.toMatchObject({ code: 'ParameterInvalid', text: expect.stringContaining(said) });
    await expect(site.admin.users.addCertificate('nobody', made('A'))).rejects.toMatchObject({ code: 'UserNotFound' });
    expect(await site.admin.users.certificates('odd')).toEqual([]);
  });
});
