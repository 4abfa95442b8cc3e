/**
 * What zeep and xmlsec see through each of the four versions beside the session that every client plays (test/matrix): zones, groups,
 * ids of requests, refusals in the form of AWS. The same user is known by a certificate of the grid.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeOwn } from '../../src/grid/ca/certificates.ts';
import { SOAP_VERSIONS } from '../../src/ec2/soap/shapes.ts';
import { hasPart } from '../parts.ts';
import { NIMBUS, startServe, type Serve } from '../support/serve.ts';

const run = promisify(execFile);
const dir = mkdtempSync(join(tmpdir(), 'ec2-soap-'));
const CLIENTS = join(import.meta.dirname, '../clients');
const TIMES = { timeout: 240_000, maxBuffer: 2 ** 24 };

let serve: Serve;
let files: string[] = [];
let grid = { certificate: '', key: '', dn: '' };

beforeAll(async () => {
  const ca = join(dir, 'ca');
  const nimbus = async <T>(...args: string[]): Promise<T> => JSON.parse((await run(process.execPath, [NIMBUS, 'ca', ...args, '--dir', ca, '--json'])).stdout) as T;
  const { trust } = await nimbus<{ trust: string }>('init');
  grid = await nimbus('user', 'ada');
  serve = await startServe(`[ec2]\nlisten = "127.0.0.1:0"\ngrid_certificates = true\n[grid]\ntrust_directory = ${JSON.stringify(trust)}\n`);
  await serve.user('ada');
  const made = await serve.admin<{ certificate: string; key: string }>('user', 'cert', 'create', 'ada', '--out', dir);
  const stranger = makeOwn({ subject: '/O=nimbus/CN=stranger', from: Date.now() - 60_000, until: Date.now() + 86_400_000, serial: Buffer.alloc(16, 9), sha1: false });
  const other = [join(dir, 'other.pem'), join(dir, 'other.key')] as const;
  writeFileSync(other[0], stranger.certificate);
  writeFileSync(other[1], stranger.key);
  files = [made.certificate, made.key, ...other];
}, 360_000);
afterAll(async () => {
  expect(await serve.stop()).toBe(0);
  rmSync(dir, { recursive: true, force: true });
});

const ID = '{http://webservices.amazon.com/AWSFault/2005-15-09}RequestId';
const CODES = ['InvalidInstanceID.NotFound', 'InvalidAMIID.NotFound', 'InvalidParameterValue', 'InvalidKeyPair.Duplicate', 'AuthFailure'];
const whatIsSeen = (version: string): Record<string, unknown> => ({
  'image': ['common/nimbus-guest'], 'key': '-----BEGIN RSA PRIVATE KEY-----', 'keys': [`zeep ${version}`], 'zones': ['default'], 'groups': ['default'],
  'request id': version === '2008-05-05' ? null : 36, 'refused': CODES.map((c) => [`aws:Client.${c}`, [ID]]), 'ended': ['shutting-down'], 'deleted': true,
});

describe.skipIf(!hasPart('xmlsec'))('zeep with xmlsec', () => {
  it.each(SOAP_VERSIONS)('leases through version %s', { timeout: 360_000 }, async (version) => {
    const { stdout } = await run('/usr/bin/python3', ['-W', 'ignore', join(CLIENTS, 'zeep/ec2.py'), serve.ec2, version, 'nimbus-guest', ...files], TIMES);
    expect(JSON.parse(stdout)).toEqual({ ...whatIsSeen(version), running: [true, 2] });
  });

  it('leases with a certificate of the grid’s authority, once its name is the user’s', { timeout: 360_000 }, async () => {
    const session = (): Promise<{ stdout: string }> => run('/usr/bin/python3', ['-W', 'ignore', join(CLIENTS, 'zeep/ec2.py'), serve.ec2, '2009-08-15', 'nimbus-guest', grid.certificate, grid.key, ...files.slice(2)], TIMES);
    await expect(session()).rejects.toMatchObject({ stderr: expect.stringContaining(`No user of this site has the certificate ${grid.dn}`) });
    await serve.admin('user', 'dn', 'ada', '--add', grid.dn);
    // That a name is unknown is remembered for a second.
    let stdout = '';
    await expect.poll(() => session().then((done) => { stdout = done.stdout; return ''; }, (e: { stderr: string }) => e.stderr), { timeout: 120_000 }).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({ running: [true, 2], deleted: true });
  });
});
