/** From a connection or a message to a user: with the real user table, a grid-mapfile, and services that share a database. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createPrivateKey } from 'node:crypto';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest';
import { pemBlocks } from '../../src/grid/trust/pem.ts';
import { Fault, isFault } from '../../src/lease/faults.ts';
import { createCredentials } from '../../src/manager/credentials.ts';
import { withFullRights } from '../../src/manager/full-rights.ts';
import { createSignatures } from '../../src/manager/signatures.ts';
import type { Caller, Manager } from '../../src/manager/types.ts';
import { configSchema } from '../../src/platform/config.ts';
import { openGridSecurity, type GridSecurity } from '../../src/service-grid.ts';
import { openSite, type Site } from '../manager/admin/site.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { globusUser, openssl, type GlobusUser, withGlobus as test } from './globus.ts';
import { signMessage } from './signer.ts';

const dir = mkdtempSync(join(tmpdir(), 'ga-'));
let alice: GlobusUser;
let site: Site;
/** Keeps the server up between the tests' own databases. */
let held: TestDatabase;
const undo: Array<() => void> = [];
beforeAll(async () => {
  held = await openTestDatabase();
  alice = globusUser(dir);
  openssl(dir, 'req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'host.key', '-out', 'host.csr', '-subj', '/O=Grid/OU=Test/CN=host', '-config', 'x.cnf');
  openssl(dir, 'x509', '-req', '-in', 'host.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '20', '-out', 'host.pem');
});
beforeEach(async () => { site = await openSite(); });
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) step();
  await site.close();
});
afterAll(async () => {
  await held.close();
  rmSync(dir, { recursive: true });
});

/** As each service on the database has it. */
async function service(config: object = {}): Promise<GridSecurity> {
  const ctx = testContext();
  const manager = { credentials: createCredentials({ db: site.t.db, clock: ctx.clock }), signatures: createSignatures({ ctx, db: site.t.db }) };
  const grid = configSchema.parse({ grid: { trust_directory: alice.trust, tls_certificate: join(dir, 'host.pem'), tls_key: join(dir, 'host.key'), ...config } }).grid;
  return openGridSecurity(ctx, grid, manager, (_what, step) => void undo.push(step));
}

/** Answers with who the client is to the service. */
async function door(security: GridSecurity): Promise<(file: string | undefined, body?: string) => Promise<string>> {
  const { server } = await security.tls(false);
  server.on('request', (req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (c: Buffer) => chunks.push(c)).on('end', () => {
      security.authenticator.authenticate(req.socket as TLSSocket, chunks.length === 0 ? undefined : Buffer.concat(chunks)).then(async (caller) => {
        await caller.signed?.once();
        res.end(`${caller.account.name}${caller.limited ? ' limited' : ''} ${caller.dn}${caller.signed === undefined ? '' : ' signed'}`);
      }).catch((e: unknown) => res.end(isFault(e) ? [e.code, ...e.reasons].join(' ') : String(e)));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  undo.push(() => { server.closeAllConnections(); server.close(); });
  const { port } = server.address() as AddressInfo;
  return (file, body) => new Promise((resolve, reject) => {
    const pem = file === undefined ? {} : { cert: readFileSync(file), key: readFileSync(file === alice.certificate ? alice.key : file) };
    request({ host: '127.0.0.1', port, method: body === undefined ? 'GET' : 'POST', rejectUnauthorized: false, agent: false, ...pem }, (res) => {
      let all = '';
      res.setEncoding('utf8').on('data', (d: string) => { all += d; }).on('end', () => resolve(all));
    }).on('error', reject).end(body);
  });
}

function signed(file: string, body = '<m:do xmlns:m="urn:m"/>'): string {
  const pem = readFileSync(file, 'latin1');
  return signMessage({ key: createPrivateKey(file === alice.certificate ? readFileSync(alice.key) : pem), chain: pemBlocks(pem, 'CERTIFICATE'), now: Date.now(), body });
}

describe('a user of the table', () => {
  test('by certificate, by proxies of each kind, by signed messages; one account, with its keys', async () => {
    const { ownerId } = await site.admin.users.add('alice', false, [alice.dn]);
    const ask = await door(await service());
    expect(await ask(alice.certificate)).toBe(`alice ${alice.dn}`);
    for (const kind of ['-rfc', '-draft', '-old']) expect(await ask(alice.proxy(`k${kind}`, [kind]))).toBe(`alice ${alice.dn}`);
    expect(await ask(alice.proxy('lim', ['-rfc', '-limited']))).toBe(`alice limited ${alice.dn}`);
    expect(await ask(undefined, signed(alice.certificate))).toBe(`alice ${alice.dn} signed`);
    expect(await ask(undefined, signed(alice.proxy('s', ['-old'])))).toBe(`alice ${alice.dn} signed`);
    expect((await site.admin.users.list())[0]).toMatchObject({ ownerId, dns: [alice.dn], accessKeys: [expect.objectContaining({ active: true })] });
  });

  test('whom nobody knows is nobody, with a good certificate, and with none', async () => {
    const ask = await door(await service());
    expect(await ask(alice.certificate)).toBe('DnUnknown');
    expect(await ask(undefined)).toBe('CertificateMissing');
    expect(await ask(undefined, '<a/>')).toBe('CertificateMissing');
    expect(await ask(undefined, signed(alice.certificate))).toBe('DnUnknown');
  });

  test('a message is its signer’s, whoever brings it, and an altered one is nobody’s', async () => {
    await site.admin.users.add('alice', false, [alice.dn]);
    const ask = await door(await service());
    expect(await ask(alice.certificate, signed(alice.certificate).replace('<m:do ', '<m:else '))).toMatch(/^MessageRefused/);
  });
});

describe('the grid-mapfile', () => {
  test('names users; the table goes before it; it is read again when it changes', async () => {
    await site.admin.users.add('alice', false);
    await site.admin.users.add('boss', false);
    const mapfile = join(dir, 'grid-mapfile');
    writeFileSync(mapfile, `# users\n"${alice.dn}" alice,other\nnonsense\n"/O=Grid/CN=Other" other\n`);
    const ask = await door(await service({ mapfile }));
    expect(await ask(alice.certificate)).toBe(`alice ${alice.dn}`);
    await site.admin.users.addDn('boss', alice.dn);
    const second = await door(await service({ mapfile }));
    expect(await second(alice.certificate)).toBe(`boss ${alice.dn}`);
  });

  test('one that names whom there is not says so', async () => {
    const mapfile = join(dir, 'grid-mapfile-2');
    writeFileSync(mapfile, `"${alice.dn}" ghost\n`);
    expect(await (await door(await service({ mapfile })))(alice.certificate)).toBe('DnUnknown the grid-mapfile names ghost, whom there is not');
  });

  test('that cannot be read, or a trust directory, is said at the start', async () => {
    await expect(service({ mapfile: join(dir, 'none') })).rejects.toThrow(/grid-mapfile cannot be read.*no such file/);
    await expect(service({ trust_directory: join(dir, 'none') })).rejects.toThrow(/trust directory cannot be read.*no such file/);
  });
});

test('a signed message is carried out once, by whichever service it reaches', async () => {
  await site.admin.users.add('alice', false, [alice.dn]);
  const [one, two] = [await door(await service()), await door(await service())];
  const message = signed(alice.certificate);
  const answers = await Promise.all([one(undefined, message), two(undefined, message), one(undefined, message)]);
  expect(answers.sort()).toEqual(['RequestExpired', 'RequestExpired', `alice ${alice.dn} signed`]);
  expect(await two(undefined, message.replace('</ds:SignatureValue>', ' </ds:SignatureValue>'))).toBe('RequestExpired');
  expect(await two(undefined, signed(alice.certificate, '<m:do xmlns:m="urn:m">again</m:do>'))).toBe(`alice ${alice.dn} signed`);
});

describe('limited rights', () => {
  const caller: Caller = { accountId: 1, name: 'alice', ownerId: '1', requestId: 'r', door: 'wsrf', admin: false, limited: true };
  const called: string[] = [];
  const room = (name: string): never => new Proxy({}, {
    ownKeys: () => ['describe', 'list', 'console', 'events', 'create', 'end', 'brandNew'],
    getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
    get: (_t, verb) => () => Promise.resolve(called.push(`${name}.${String(verb)}`)),
  }) as never;
  const guarded = withFullRights<Manager>({ leases: room('leases'), images: room('images'), keys: room('keys'), securityGroups: room('securityGroups'), spot: room('spot'), tags: room('tags'), site: room('site'), signatures: room('signatures'), credentials: room('credentials') });

  test('look, and change nothing, not even by what was added since', async () => {
    await guarded.leases.describe(caller, {});
    await guarded.images.list(caller);
    await expect(guarded.leases.create(caller, {} as never)).rejects.toThrow(Fault);
    await expect(guarded.leases.end(caller, [], '')).rejects.toMatchObject({ code: 'NotAuthorized' });
    await expect((guarded.leases as never as Record<string, (c: Caller) => Promise<void>>)['brandNew']?.(caller)).rejects.toMatchObject({ code: 'NotAuthorized' });
    await guarded.leases.create({ ...caller, limited: false }, {} as never);
    await guarded.site.zones();
    expect(called).toEqual(['leases.describe', 'images.list', 'leases.create', 'site.zones']);
  });
});
