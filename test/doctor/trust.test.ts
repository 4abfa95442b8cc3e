/** What may be wrong with what grid clients are believed by: the doctor finds each. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { trust } from '../../src/doctor/checks/trust.ts';
import type { DoctorSite } from '../../src/doctor/types.ts';
import { bothHashes } from '../../src/grid/certificates/name-hash.ts';
import { pem } from '../../src/grid/trust/pem.ts';
import { configSchema } from '../../src/platform/config.ts';
import { authority, crl, ecKeys, type Made } from '../grid/make.ts';
import { read } from '../grid/trusting.ts';
import { testContext } from '../support/context.ts';

const HOUR = 3_600_000;
let dir: string;
beforeEach(() => { dir = mkdtempSync(join(tmpdir(), 'dt-')); });
afterEach(() => rmSync(dir, { recursive: true }));

async function look(grid: object = {}): Promise<string[]> {
  const config = configSchema.parse({ grid: { trust_directory: dir, tls_certificate: '/c', tls_key: '/k', ...grid } });
  const found = await trust.look({ ctx: testContext(), config } as Partial<DoctorSite> as DoctorSite);
  for (const f of found) if (f.level !== 'ok') expect(f.mend).not.toEqual([]);
  return found.map((f) => `${f.level}: ${f.what}`);
}
const root = authority('O=Grid,CN=Root', { until: Date.now() + 100 * 24 * HOUR });
function put(made: Made, o: { policy?: string | null; crl?: Buffer } = {}): void {
  const [hash] = bothHashes(read(made).subject);
  writeFileSync(join(dir, `${hash}.0`), pem('CERTIFICATE', made.der));
  if (o.policy !== null) writeFileSync(join(dir, `${hash}.signing_policy`), o.policy ?? `access_id_CA X509 '${read(made).subject.slash}'\npos_rights globus CA:sign\ncond_subjects globus '"/O=Grid/*"'\n`);
  if (o.crl !== undefined) writeFileSync(join(dir, `${hash}.r0`), o.crl);
}

test('where no listener is for grid clients, nothing is said', async () => expect(await look({ tls_certificate: '' })).toEqual([]));

test('a good one', async () => {
  put(root, { crl: crl(root, [], { until: Date.now() + 48 * HOUR }) });
  writeFileSync(join(dir, 'mapfile'), '"/O=Grid/CN=Alice" alice\n');
  expect(await look({ mapfile: join(dir, 'mapfile') })).toEqual([`ok: ${dir} has 1 authority that can be used`, `ok: ${join(dir, 'mapfile')} names 1 certificate`]);
});

test.each<[string, () => void, object, RegExp]>([
  ['empty', () => undefined, {}, /^fail: .* has no authorities/],
  ['not there', () => undefined, { trust_directory: '/nowhere' }, /^fail: .* cannot be read: no such file or directory/],
  ['an authority that has expired', () => put(authority('O=Grid,CN=Gone', { until: Date.now() - 48 * HOUR })), {}, /^warn: the authority .* has expired/],
  ['one that soon will', () => put(authority('O=Grid,CN=Soon', { until: Date.now() + 49 * HOUR })), {}, /^warn: the authority .* is valid for 2 more days/],
  ['without a policy', () => put(root, { policy: null }), {}, /^warn: the authority .* has no signing policy/],
  ['a policy of another', () => put(root, { policy: "access_id_CA X509 '/O=Other'\n" }), {}, /^warn: the signing policy beside .* does not speak of it/],
  ['a policy that cannot be read', () => put(root, { policy: 'x' }), {}, /^warn: .*signing_policy does not count: line 1/],
  ['no revocation list where one is asked for', () => put(root), { crl: 'required' }, /^warn: the authority .* has no revocation list/],
  ['a list that is out of date', () => put(root, { crl: crl(root, [], { from: Date.now() - 3 * HOUR, until: Date.now() - HOUR }) }), {}, /^fail: the revocation list of .* is out of date/],
  ['one that soon will be', () => put(root, { crl: crl(root, []) }), {}, /^warn: the revocation list of .* is good for less than a day/],
  ['one of another key', () => put(root, { crl: crl(root, [], { keys: ecKeys() }) }), {}, /^warn: the revocation list of .* cannot be used/],
  ['a file of another name', () => { put(root); writeFileSync(join(dir, '01234567.0'), pem('CERTIFICATE', root.der)); }, {}, /^warn: .*01234567.0 does not count: its name should begin with/],
  ['no grid-mapfile', () => put(root), { mapfile: '/nowhere' }, /^fail: grid.mapfile = \/nowhere cannot be read/],
  ['a line that is none', () => { put(root); writeFileSync(join(dir, 'map'), 'x\n'); }, { mapfile: 'map' }, /^warn: .*line 1: must be/],
])('%s', async (_what, plant, grid, expected) => {
  plant();
  const mapfile = (grid as { mapfile?: string }).mapfile === 'map' ? { mapfile: join(dir, 'map') } : {};
  expect(await look({ ...grid, ...mapfile })).toContainEqual(expect.stringMatching(expected));
});
