/** Proxies as Globus' own program makes them, of every kind, against a trust directory that the openssl program made. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { readCertificate } from '../../src/grid/certificates/certificate.ts';
import { bothHashes } from '../../src/grid/certificates/name-hash.ts';
import { validatePath } from '../../src/grid/certificates/path.ts';
import type { ValidPath } from '../../src/grid/certificates/types.ts';
import { openTrustDirectory, type TrustDirectory } from '../../src/grid/trust/directory.ts';
import { pemBlocks } from '../../src/grid/trust/pem.ts';
import { testContext } from '../support/context.ts';
import { globusUser, openssl, type GlobusUser, withGlobus as test } from './globus.ts';
import { RULES } from './trusting.ts';

const dir = mkdtempSync(join(tmpdir(), 'gl-'));
let alice: GlobusUser;
let trust: TrustDirectory;
beforeAll(async () => {
  alice = globusUser(dir);
  trust = await openTrustDirectory(testContext(), alice.trust, 3_600_000);
});
afterAll(() => {
  trust.stop();
  rmSync(dir, { recursive: true });
});

const chainOf = (file: string) => pemBlocks(readFileSync(file, 'latin1'), 'CERTIFICATE').map(readCertificate);
const validate = (file: string): ValidPath => validatePath(chainOf(file), trust, { ...RULES, signingPolicy: 'required' }, Date.now());

describe('grid-proxy-init', () => {
  test.each([
    ['-rfc', 'rfc'], ['-draft', 'draft'], ['-old', 'legacy'],
  ])('%s', (option, kind) => {
    const file = alice.proxy(`p${option}`, [option]);
    expect(chainOf(file)[0]?.proxy).toMatchObject({ kind, rights: 'full', pathLength: undefined });
    expect(validate(file)).toMatchObject({ identity: alice.dn, proxies: 1, limited: false });
  });

  test.each(['-rfc', '-draft', '-old'])('%s -limited', (option) => {
    expect(validate(alice.proxy(`l${option}`, [option, '-limited']))).toMatchObject({ identity: alice.dn, limited: true });
  });

  test.each(['-rfc', '-draft'])('%s -independent speaks for itself', (option) => {
    expect(validate(alice.proxy(`i${option}`, [option, '-independent'])).identity).toMatch(new RegExp(`^${alice.dn}/CN=\\d+$`));
  });

  test.each(['-rfc', '-draft'])('%s -path-length', (option) => {
    const one = alice.proxy(`one${option}`, [option, '-path-length', '1']);
    expect(chainOf(one)[0]?.proxy?.pathLength).toBe(1);
    const two = alice.proxy(`two${option}`, [option], one);
    expect(validate(two)).toMatchObject({ identity: alice.dn, proxies: 2 });
  });

  test.each(['-rfc', '-draft', '-old'])('%s of a %s', (option) => {
    const first = alice.proxy(`a${option}`, [option]);
    expect(validate(alice.proxy(`b${option}`, [option], first))).toMatchObject({ identity: alice.dn, proxies: 2 });
  });
});

test('hashes and names are OpenSSL’s', () => {
  const [c] = chainOf(alice.certificate);
  expect(c?.subject.slash).toBe(openssl(dir, 'x509', '-in', 'user.pem', '-noout', '-subject', '-nameopt', 'compat').trim().replace('subject=', ''));
  expect(trust.problems).toEqual([]);
  expect(trust.all).toHaveLength(1);
});

test.each([
  '/C=DE/O=GermanGrid/OU=Lab/CN=Jörg Müller', '/DC=org/DC=example/CN=x y  z', '/O=Grid/emailAddress=a@example.org/CN=host\\/h.example.org', '/C=US/O=  Spaces /CN=UPPER lower/UID=u1',
])('name and hashes of %s', (subject) => {
  openssl(dir, 'req', '-x509', '-utf8', '-newkey', 'rsa:1024', '-nodes', '-keyout', 'n.key', '-out', 'n.pem', '-subj', subject, '-config', 'x.cnf');
  const [c] = chainOf(join(dir, 'n.pem'));
  expect(bothHashes(c!.subject)).toEqual([openssl(dir, 'x509', '-in', 'n.pem', '-noout', '-subject_hash').trim(), openssl(dir, 'x509', '-in', 'n.pem', '-noout', '-subject_hash_old').trim()]);
  // The program marks slashes; X509_NAME_oneline, which Globus takes names from, does not.
  expect(c!.subject.slash).toBe(openssl(dir, 'x509', '-in', 'n.pem', '-noout', '-subject', '-nameopt', 'compat').trim().replace('subject=', '').replaceAll('\\/', '/'));
});
