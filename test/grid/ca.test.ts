/** `nimbus ca`: what it makes is believed here, by openssl, by Globus and by curl. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildCli } from '../../src/cli/program.ts';
import { readCertificate } from '../../src/grid/certificates/certificate.ts';
import { validatePath } from '../../src/grid/certificates/path.ts';
import { openTrustDirectory } from '../../src/grid/trust/directory.ts';
import { pemBlocks } from '../../src/grid/trust/pem.ts';
import { hasPart } from '../parts.ts';
import { testContext } from '../support/context.ts';
import { RULES } from './trusting.ts';

const dir = mkdtempSync(join(tmpdir(), 'ca-'));
const ca = join(dir, 'ca');
beforeAll(async () => {
  expect((await nimbus('ca', 'init', '--dir', ca, '--name', '/DC=org/DC=example/O=Green Cloud/CN=Test CA')).code).toBe(0);
});
afterAll(() => rmSync(dir, { recursive: true }));

async function nimbus(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const io = { out: (t: string) => { out += t; }, err: (t: string) => { err += t; }, ask: () => Promise.resolve(null), width: 80, watched: false };
  const code = await buildCli({ serve: () => Promise.resolve(), withoutService: {} as never, io, env: {} }).run(['node', 'nimbus', ...args]);
  return { code, out, err };
}
const openssl = (...args: string[]): string => execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const chainOf = (file: string) => pemBlocks(readFileSync(file, 'latin1'), 'CERTIFICATE').map(readCertificate);
async function identity(file: string, sha1 = false): Promise<string> {
  const trust = await openTrustDirectory(testContext(), join(ca, 'certificates'), 3_600_000);
  trust.stop();
  expect(trust.problems).toEqual([]);
  return validatePath(chainOf(file), trust, { ...RULES, signingPolicy: 'required', sha1 }, Date.now()).identity;
}
interface Made { dn: string; certificate: string; key: string }
const user = async (...args: string[]): Promise<Made> => JSON.parse((await nimbus('ca', 'user', ...args, '--dir', ca, '--json')).out) as Made;

test.skipIf(!hasPart('openssl'))('a user’s certificate is believed, by openssl too', async () => {
  const made = await user('alice', '--cn', 'Alice Ü');
  expect(made.dn).toBe('/DC=org/DC=example/O=Green Cloud/CN=Alice \\xC3\\x9C');
  expect(await identity(made.certificate)).toBe(made.dn);
  expect(openssl('verify', '-CApath', join(ca, 'certificates'), '-purpose', 'sslclient', made.certificate)).toContain(': OK');
  expect(readFileSync(made.key, 'utf8')).toContain('BEGIN RSA PRIVATE KEY');
  expect(statSync(made.key).mode & 0o077).toBe(0);
  expect(statSync(join(ca, 'private')).mode & 0o077).toBe(0);
});

test.skipIf(!hasPart('globus')).each(['-rfc', '-old'])('Globus makes proxies of it: %s', async (kind) => {
  const made = await user(`bob${kind}`);
  const file = join(dir, `proxy${kind}`);
  // It cannot verify its own old ones, with the OpenSSL of today.
  execFileSync('grid-proxy-init', ['-q', ...(kind === '-rfc' ? ['-verify'] : []), kind, '-valid', '1:0', '-cert', made.certificate, '-key', made.key, '-certdir', join(ca, 'certificates'), '-out', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  expect(await identity(file)).toBe(made.dn);
});

test.skipIf(!hasPart('openssl'))('a host’s names it, by all its names', async () => {
  const { code, out } = await nimbus('ca', 'host', 'grid.example.org', '--alt', 'grid', '192.0.2.7', '--dir', ca);
  expect(code).toBe(0);
  const certificate = new X509Certificate(readFileSync(join(ca, 'hosts', 'grid.example.org', 'hostcert.pem')));
  expect(certificate.checkHost('grid.example.org')).toBe('grid.example.org');
  expect(certificate.checkHost('grid')).toBe('grid');
  expect(certificate.checkIP('192.0.2.7')).toBe('192.0.2.7');
  expect(out).toContain('tls_certificate = ');
  expect(openssl('verify', '-CApath', join(ca, 'certificates'), '-purpose', 'sslserver', join(ca, 'hosts', 'grid.example.org', 'hostcert.pem'))).toContain(': OK');
});

test('with SHA-1 for the oldest clients', async () => {
  const made = await user('old', '--sha1');
  await expect(identity(made.certificate)).rejects.toMatchObject({ reasons: ['WeakSignature'] });
  expect(await identity(made.certificate, true)).toBe(made.dn);
});

test('nothing is written over, and names that are none are refused', async () => {
  await user('carol');
  expect(await nimbus('ca', 'user', 'carol', '--dir', ca)).toMatchObject({ code: 1, err: expect.stringContaining('already') });
  expect(await nimbus('ca', 'init', '--dir', ca)).toMatchObject({ code: 1, err: expect.stringContaining('There is an authority') });
  expect(await nimbus('ca', 'user', '../x', '--dir', ca)).toMatchObject({ code: 1, err: expect.stringContaining('"../x"') });
  expect(await nimbus('ca', 'user', 'x', '--dir', join(dir, 'none'))).toMatchObject({ code: 1, err: expect.stringContaining('nimbus ca init') });
  expect(await nimbus('ca', 'user', 'x', '--days', '0', '--dir', ca)).toMatchObject({ code: 2 });
  for (const name of ['CN=x', '/O=Grid', '/CN=only', '/O=Grid/XX=y/CN=z', '/O=Grün/CN=x', '']) {
    expect((await nimbus('ca', 'init', '--dir', join(dir, 'bad'), '--name', name)).code).toBe(1);
    expect(existsSync(join(dir, 'bad'))).toBe(false);
  }
});
