/** Trust directories in the layout of Globus, and what happens when other programs change them. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bothHashes } from '../../src/grid/certificates/name-hash.ts';
import { openTrustDirectory, type TrustDirectory } from '../../src/grid/trust/directory.ts';
import { pem } from '../../src/grid/trust/pem.ts';
import { testContext } from '../support/context.ts';
import { authority, crl, user, type Made } from './make.ts';
import { read, verdict } from './trusting.ts';

let dir: string;
let trust: TrustDirectory | undefined;
beforeEach(() => { dir = mkdtempSync(join(tmpdir(), 'tr-')); });
afterEach(() => {
  trust?.stop();
  rmSync(dir, { recursive: true });
});

const open = async (ctx = testContext()): Promise<TrustDirectory> => (trust = await openTrustDirectory(ctx, dir, 3_600_000));
const root = authority('O=Grid,CN=Root');
const alice = user(root, 'O=Grid,CN=Alice', { serial: 42 });
const [hash, oldHash] = bothHashes(read(root).subject);
const certificate = (made: Made): string => pem('CERTIFICATE', made.der);
const put = (name: string, content: string | Buffer): void => writeFileSync(join(dir, name), content);
const policy = (subjects: string): string => `access_id_CA X509 '/O=Grid/CN=Root'\npos_rights globus CA:sign\ncond_subjects globus '"${subjects}"'\n`;

test.each([['of today', hash], ['of old', oldHash]])('hashes %s name the files', async (_kind, h) => {
  put(`${h}.0`, certificate(root));
  put(`${h}.signing_policy`, policy('/O=Grid/*'));
  put(`${h}.r0`, crl(root, [7]));
  const t = await open();
  expect(t.problems).toEqual([]);
  expect(verdict([alice], t, { crl: 'required', signingPolicy: 'required' })).toBe('/O=Grid/CN=Alice');
});

test('one authority under both hashes, by links and as DER, is one', async () => {
  put('root.pem', root.der);
  symlinkSync('root.pem', join(dir, `${hash}.0`));
  symlinkSync('root.pem', join(dir, `${oldHash}.0`));
  const t = await open();
  expect(t.all).toHaveLength(1);
  expect(verdict([alice], t)).toBe('/O=Grid/CN=Alice');
});

test('what cannot be used is named, and keeps no other from counting', async () => {
  put(`${hash}.0`, certificate(root));
  put('00000000.0', certificate(root));
  put('11111111.0', 'no certificate');
  put('22222222.signing_policy', "access_id_CA X509 '/O=x\n");
  put('33333333.r0', Buffer.from('30030201', 'hex'));
  mkdirSync(join(dir, '44444444.0'));
  symlinkSync('nowhere', join(dir, '55555555.0'));
  const t = await open();
  expect(t.problems.map((p) => p.file).sort()).toEqual(['00000000.0', '11111111.0', '22222222.signing_policy', '33333333.r0', '44444444.0']);
  expect(verdict([alice], t)).toBe('/O=Grid/CN=Alice');
});

test('a revocation list that another has signed counts as unusable, not as none', async () => {
  put(`${hash}.0`, certificate(root));
  put(`${hash}.r0`, crl({ ...root, keys: authority('O=x').keys }, []));
  expect(verdict([alice], await open())).toBe('CrlUnusable');
});

test('of several lists the newest counts', async () => {
  put(`${hash}.0`, certificate(root));
  put(`${hash}.r0`, crl(root, [], { from: Date.now() - 7_000_000 }));
  put(`${hash}.r1`, pem('X509 CRL', crl(root, [42])));
  expect(verdict([alice], await open())).toBe('Revoked');
});

test('an authority that renews its key has a list for each', async () => {
  const renewed = authority('O=Grid,CN=Root');
  put(`${hash}.0`, certificate(root));
  put(`${hash}.1`, certificate(renewed));
  put(`${hash}.r0`, crl(root, [42]));
  put(`${hash}.r1`, crl(renewed, []));
  const t = await open();
  expect(verdict([alice], t)).toBe('Revoked');
  expect(verdict([user(renewed, 'O=Grid,CN=Bob', { serial: 42 })], t)).toBe('/O=Grid/CN=Bob');
});

test('what changes counts after the next look: an authority, its list, its end', async () => {
  const ctx = testContext();
  const t = await open(ctx);
  const seen = [t.generation];
  const look = async (): Promise<string> => {
    await t.refresh();
    seen.push(t.generation);
    return verdict([alice], t);
  };
  expect(verdict([alice], t)).toBe('UnknownAuthority');
  put(`${hash}.0`, certificate(root));
  expect(await look()).toBe('/O=Grid/CN=Alice');
  put(`${hash}.r0`, crl(root, [42]));
  expect(await look()).toBe('Revoked');
  put(`${hash}.r0`, crl(root, [42, 43]));
  expect(await look()).toBe('Revoked');
  rmSync(join(dir, `${hash}.r0`));
  expect(await look()).toBe('/O=Grid/CN=Alice');
  expect(await look()).toBe('/O=Grid/CN=Alice');
  expect(seen).toEqual([1, 2, 3, 4, 5, 5]);
});

test('a directory that goes away leaves what was read, and is said once', async () => {
  put(`${hash}.0`, certificate(root));
  const ctx = testContext();
  const t = await open(ctx);
  rmSync(dir, { recursive: true });
  await t.refresh();
  await t.refresh();
  expect(verdict([alice], t)).toBe('/O=Grid/CN=Alice');
  mkdirSync(dir);
  await t.refresh();
  expect(ctx.lines.filter((l) => l.level !== 'debug').map((l) => l.message.replace(dir, 'DIR'))).toEqual([
    'the trust directory DIR cannot be read; what was read before counts on', 'the trust directory has changed', 'the trust directory DIR can be read again',
  ]);
  expect(verdict([alice], t)).toBe('UnknownAuthority');
});

test('one that is not there is said at the start', async () => {
  await expect(openTrustDirectory(testContext(), join(dir, 'none'))).rejects.toThrow(/ENOENT/);
});
