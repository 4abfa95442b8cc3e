/**
 * The built service for grid clients without a certificate in TLS: messages that are signed, with a certificate and with a proxy's path,
 * and what others have made of them. Beside it the listener for clients of long ago, and certificates that let nobody in.
 */
import { createPrivateKey } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { pem, pemBlocks } from '../../src/grid/trust/pem.ts';
import { globusUser, gridService, openssl, type GlobusUser } from '../grid/globus.ts';
import { authority, crl, LANGUAGE, proxy, rfcProxy, rsaKeys, user, type Made, type Shape } from '../grid/make.ts';
import { signMessage, type SignOptions } from '../grid/signer.ts';
import { hasPart } from '../parts.ts';
import { createBody, DESTROY, envelopeOf, keyBlock, keysIn, post, QUERY_ALL, type Answer } from '../support/grid-requests.ts';
import { startServe, type Serve } from '../support/serve.ts';

const NODE = `
[[local_nodes]]
name = "n1"
driver = "simulated"
memory_mb = 16384
cores = 64
[simulated]
start_ms = 20
stop_ms = 0
`;
const CREATE = createBody({ image: 'nimbus-guest', memoryMb: 64 });

async function serveFor(user: GlobusUser, toml: string, root?: string): Promise<{ serve: Serve; urls: { wsrf: string; wsrfLegacy?: string } }> {
  const serve = await startServe(`${NODE}${toml}`, root);
  if (root === undefined) {
    await serve.user('alice');
    await serve.admin('user', 'dn', 'alice', '--add', user.dn);
  }
  return { serve, urls: JSON.parse(readFileSync(join(serve.root, 'ready.json'), 'utf8')) as { wsrf: string; wsrfLegacy?: string } };
}
const leases = async (serve: Serve): Promise<number> => (await serve.admin<unknown[]>('lease', 'list')).length;

describe.skipIf(!hasPart('globus'))('a signed message', () => {
  const dir = mkdtempSync(join(tmpdir(), 'signed-'));
  let alice: GlobusUser;
  let serve: Serve;
  let base = '';
  const signers: Record<string, Pick<SignOptions, 'key' | 'chain'>> = {};
  beforeAll(async () => {
    alice = globusUser(dir);
    const signer = (file: string, key = file): Pick<SignOptions, 'key' | 'chain'> => ({
      key: createPrivateKey(readFileSync(key)), chain: pemBlocks(readFileSync(file, 'latin1'), 'CERTIFICATE'),
    });
    signers['X509v3'] = signer(alice.certificate, alice.key);
    signers['X509PKIPathv1'] = signer(alice.proxy('rfc.proxy', ['-rfc']));
    signers['limited'] = signer(alice.proxy('limited.proxy', ['-rfc', '-limited']));
    const started = await serveFor(alice, gridService(dir, alice));
    serve = started.serve;
    base = started.urls.wsrf;
  }, 360_000);
  afterAll(async () => {
    await serve?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const signed = (body: string, o: Partial<SignOptions> = {}): string => signMessage({ ...signers['X509v3'] as SignOptions, now: Date.now(), body, ...o });
  const withKey = (key: string): Pick<SignOptions, 'headers'> => ({ headers: [{ id: 'key', xml: keyBlock(key, ' xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" wsu:Id="key"') }] });
  const send = (service: string, message: string): Promise<Answer> => post(base, service, message, {});
  const create = async (): Promise<string> => {
    const { text } = await send('WorkspaceFactoryService', signed(CREATE));
    return keysIn(text)[0] ?? expect.fail(text);
  };
  const state = async (key: string): Promise<string | undefined> => /state>(\w+)<\/\w+:state>/.exec((await send('WorkspaceService', signed(QUERY_ALL, withKey(key)))).text)?.[1];
  const running = (key: string): Promise<void> => vi.waitFor(async () => expect(await state(key)).toBe('Running'), { timeout: 60_000, interval: 50 });

  it.each(['X509v3', 'X509PKIPathv1'])('with a token of %s creates, looks and destroys', async (kind) => {
    const before = await leases(serve);
    const by = signers[kind] as SignOptions;
    const made = await send('WorkspaceFactoryService', signed(CREATE, by));
    expect(made.status, made.text).toBe(200);
    const [key = ''] = keysIn(made.text);
    await vi.waitFor(async () => {
      expect((await send('WorkspaceService', signed(QUERY_ALL, { ...by, ...withKey(key) }))).text).toMatch(/>Running<\/\w+:state>/);
    }, { timeout: 60_000, interval: 50 });
    const destroyed = await send('WorkspaceService', signed(DESTROY, { ...by, ...withKey(key) }));
    expect(destroyed.status, destroyed.text).toBe(200);
    const gone = await send('WorkspaceService', signed(QUERY_ALL, { ...by, ...withKey(key) }));
    expect(gone.status).toBe(500);
    expect(gone.text).toContain('ResourceUnknownFault');
    // Its VM ends a little later; the next tests count.
    await vi.waitFor(async () => expect(await leases(serve)).toBe(before), { timeout: 60_000 });
  }, 600_000);

  it('without a signature, and without a certificate, is nobody’s', async () => {
    const before = await leases(serve);
    const answer = await send('WorkspaceFactoryService', envelopeOf(CREATE));
    expect(answer.status).toBe(500);
    expect(answer.text).toContain('presents no certificate');
    expect(await leases(serve)).toBe(before);
  });

  it('of a limited proxy may look, and changes nothing', async () => {
    const before = await leases(serve);
    const answer = await send('WorkspaceFactoryService', signed(CREATE, signers['limited']));
    expect(answer.status).toBe(500);
    expect(answer.text).toMatch(/limited/);
    expect(await leases(serve)).toBe(before);
  });

  it('that creates does so once', async () => {
    const message = signed(CREATE);
    expect((await send('WorkspaceFactoryService', message)).status).toBe(200);
    const before = await leases(serve);
    for (const again of [message, message.replace('</ds:SignatureValue>', '\n</ds:SignatureValue>')]) {
      const answer = await send('WorkspaceFactoryService', again);
      expect(answer.status).toBe(500);
      expect(answer.text).toContain('received before');
    }
    expect(await leases(serve)).toBe(before);
  });

  it('that another has altered is refused, and changes nothing', async () => {
    const key = await create();
    await running(key);
    const before = await leases(serve);
    const other = '<s:Body xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">';
    const take = (text: string, pattern: RegExp): string => pattern.exec(text)?.[0] ?? expect.fail(`no ${pattern.source}`);
    /** A query that alice signed becomes a destroy, by one trick after the other. */
    const query = (): string => signed(QUERY_ALL, withKey(key));
    const body = (text: string): string => take(text, /<soapenv:Body.*<\/soapenv:Body>/s);
    const signature = (text: string): string => take(text, /<ds:Signature .*<\/ds:Signature>/s);
    const put = (text: string, what: string, instead: string): string => text.replace(what, () => instead);
    const tricks: Record<string, (text: string) => string> = {
      'the signed body moved into a header block': (t) => put(put(t, body(t), `${other}${DESTROY}</s:Body>`), '</soapenv:Header>', `<w>${body(t)}</w></soapenv:Header>`),
      '… with the same identifier': (t) => put(put(t, body(t), `<soapenv:Body wsu:Id="body">${DESTROY}</soapenv:Body>`), '</soapenv:Header>', `<w>${body(t)}</w></soapenv:Header>`),
      'two bodies': (t) => put(t, body(t), `${other}${DESTROY}</s:Body>${body(t)}`),
      'the signature twice': (t) => put(t, signature(t), signature(t).repeat(2)),
      'another body': (t) => put(t, body(t), `<soapenv:Body wsu:Id="body">${DESTROY}</soapenv:Body>`),
      'the signed key altered': (t) => put(t, `>${key}<`, `>${Number(key) + 1}<`),
      'the signed key taken out': (t) => put(t, take(t, /<k:WorkspaceKey.*<\/k:WorkspaceKey>/s), ''),
      'a reference to everything': (t) => t.replace('URI="#body"', 'URI=""'),
    };
    for (const [what, trick] of Object.entries(tricks)) {
      const answer = await send('WorkspaceService', trick(query()));
      expect(answer.status, what).toBe(500);
      expect(answer.text, what).toMatch(/Fault>/);
      expect(answer.text, what).not.toMatch(/Running|Response>/);
    }
    for (const [what, parts] of [['the body', ['timestamp', 'key']], ['the timestamp', ['body', 'key']], ['the key', ['timestamp', 'body']]] as const) {
      const answer = await send('WorkspaceService', signed(DESTROY, { ...withKey(key), parts }));
      expect(answer.status, what).toBe(500);
      expect(answer.text, what).toMatch(/Fault>/);
    }
    // A key beside the signed message is not there: the message has none.
    const added = await send('WorkspaceService', put(signed(DESTROY), '</soapenv:Header>', `${keyBlock(key)}</soapenv:Header>`));
    expect(added.status).toBe(500);
    for (const o of [{ now: Date.now() - 3_600_000 }, { now: Date.now() + 3_600_000 }, { key: (signers['X509PKIPathv1'] as SignOptions).key }]) {
      expect((await send('WorkspaceService', signed(DESTROY, { ...withKey(key), ...o }))).status).toBe(500);
    }
    expect(await state(key)).toBe('Running');
    expect(await leases(serve)).toBe(before);
  }, 600_000);
});

describe.skipIf(!hasPart('openssl'))('a client of long ago', () => {
  const dir = mkdtempSync(join(tmpdir(), 'legacy-'));
  let alice: GlobusUser;
  /** Of an authority whose signatures are SHA-1. */
  let old: GlobusUser;
  let grid = '';
  beforeAll(() => {
    alice = globusUser(dir);
    const other = join(dir, 'sha1');
    mkdirSync(other);
    old = globusUser(other, 'sha1');
    grid = gridService(dir, alice);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const V1 = { minVersion: 'TLSv1', maxVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
  const as = (user: GlobusUser): RequestOptions => ({ cert: readFileSync(user.certificate), key: readFileSync(user.key) });
  const LOW = { ciphers: 'DEFAULT@SECLEVEL=0' };

  it('is refused by a service that was not told otherwise', async () => {
    const { serve, urls } = await serveFor(alice, grid);
    try {
      expect(urls).not.toHaveProperty('wsrfLegacy');
      await expect(post(urls.wsrf, 'WorkspaceFactoryService', envelopeOf(CREATE), { ...V1, ...as(alice) })).rejects.toThrow(/alert|protocol|EPROTO|ECONNRESET/);
      await expect(post(urls.wsrf, 'WorkspaceFactoryService', envelopeOf(CREATE), { ...V1, minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ...as(alice) })).rejects.toThrow(/alert|protocol|EPROTO|ECONNRESET/);
      expect(await leases(serve)).toBe(0);
    } finally {
      await serve.stop();
    }
  }, 600_000);

  it('creates over TLS 1.0 where there is a listener for it, with SHA-1 where that is switched on', async () => {
    const legacy = grid.replace('[wsrf]', '[wsrf]\nlegacy_listen = "127.0.0.1:0"');
    const first = await serveFor(alice, legacy);
    for (const [url, tls] of [[first.urls.wsrf, {}], [first.urls.wsrfLegacy ?? '', V1]] as const) {
      const made = await post(url, 'WorkspaceFactoryService', envelopeOf(CREATE), { ...tls, ...as(alice) });
      expect(made.status, made.text).toBe(200);
    }
    await expect(post(first.urls.wsrf, 'WorkspaceFactoryService', envelopeOf(CREATE), { ...V1, ...as(alice) })).rejects.toThrow(/alert|protocol|EPROTO|ECONNRESET/);
    expect(await leases(first.serve)).toBe(2);
    await first.serve.stop({ keep: true });

    // The same site with the other authority: its chain is SHA-1, and refused, until a switch says otherwise.
    const trusting = legacy.replace(JSON.stringify(alice.trust), JSON.stringify(old.trust));
    const second = await serveFor(old, trusting, first.serve.root);
    for (const [url, tls] of [[second.urls.wsrf, LOW], [second.urls.wsrfLegacy ?? '', V1]] as const) {
      const refused = await post(url, 'WorkspaceFactoryService', envelopeOf(CREATE), { ...tls, ...as(old) });
      expect(refused.status).toBe(500);
      expect(refused.text).toMatch(/WeakSignature|sha1_chains/);
    }
    await second.serve.stop({ keep: true });
    const third = await serveFor(old, trusting.replace('[grid]', '[grid]\nsha1_chains = true'), first.serve.root);
    try {
      const made = await post(third.urls.wsrfLegacy ?? '', 'WorkspaceFactoryService', envelopeOf(CREATE), { ...V1, ...as(old) });
      expect(made.status, made.text).toBe(200);
      const [key = ''] = keysIn(made.text);
      expect((await post(third.urls.wsrfLegacy ?? '', 'WorkspaceService', envelopeOf(DESTROY, keyBlock(key)), { ...V1, ...as(old) })).status).toBe(200);
    } finally {
      await third.serve.stop();
    }
  }, 360_000);
});

describe.skipIf(!hasPart('openssl'))('a certificate in TLS', () => {
  const dir = mkdtempSync(join(tmpdir(), 'refused-'));
  const HOUR = 3_600_000;
  const root = authority('O=Grid,OU=Test,CN=Made CA', { keys: rsaKeys(2048) });
  const person = (cn: string, o: Partial<Shape> = {}): Made => user(root, `O=Grid,OU=Test,CN=${cn}`, { keys: rsaKeys(2048), ...o });
  const alice = person('Alice Made');
  const near = proxy(alice, '1', [rfcProxy(LANGUAGE.full, 0)], { keys: rsaKeys(2048) });
  const limited = proxy(alice, '2', [rfcProxy(LANGUAGE.limited)], { keys: rsaKeys(2048) });
  /** A chain, the leaf first, and how the door calls what is wrong with it. */
  const REFUSED: Record<string, { chain: readonly Made[]; why: RegExp }> = {
    'that has expired': { chain: [person('Alice Made', { until: Date.now() - HOUR })], why: /has expired|Expired/i },
    'that is not valid yet': { chain: [person('Alice Made', { from: Date.now() + HOUR, until: Date.now() + 2 * HOUR })], why: /not valid yet|NotYetValid/i },
    'that was revoked': { chain: [person('Alice Made', { serial: 77 })], why: /revoked/i },
    'that signs itself': { chain: [authority('O=Grid,OU=Test,CN=Alice Made', { keys: rsaKeys(2048) })], why: /SelfSigned|signs itself|itself/i },
    'of an authority that nobody knows': { chain: [user(authority('O=Grid,OU=Test,CN=Other CA'), 'O=Grid,OU=Test,CN=Alice Made', { keys: rsaKeys(2048) })], why: /UnknownAuthority|authority/i },
    'outside its authority’s signing policy': { chain: [user(root, 'O=Elsewhere,CN=Alice Made', { keys: rsaKeys(2048) })], why: /SigningPolicyRefuses|signing policy/i },
    'of a proxy of a proxy that may have none': { chain: [proxy(near, '3', [rfcProxy()], { keys: rsaKeys(2048) }), near, alice], why: /ProxyPathLength|path/i },
    'of a limited proxy': { chain: [limited, alice], why: /limited/i },
    'of a full proxy of a limited one': { chain: [proxy(limited, '4', [rfcProxy()], { keys: rsaKeys(2048) }), limited, alice], why: /limited/i },
    'of somebody who is no user': { chain: [person('Mallory Made')], why: /No user/i },
  };
  const tls = (chain: readonly Made[]): RequestOptions => ({
    cert: chain.map((c) => pem('CERTIFICATE', c.der)).join(''), key: (chain[0] as Made).keys.privateKey.export({ type: 'pkcs8', format: 'pem' }),
  });
  let serve: Serve;
  let base = '';
  beforeAll(async () => {
    const host = globusUser(dir);
    writeFileSync(join(dir, 'made.pem'), pem('CERTIFICATE', root.der));
    const hash = openssl(dir, 'x509', '-in', 'made.pem', '-noout', '-subject_hash').trim();
    writeFileSync(join(host.trust, `${hash}.0`), pem('CERTIFICATE', root.der));
    writeFileSync(join(host.trust, `${hash}.r0`), crl(root, [77]));
    writeFileSync(join(host.trust, `${hash}.signing_policy`), "access_id_CA X509 '/O=Grid/OU=Test/CN=Made CA'\npos_rights globus CA:sign\ncond_subjects globus '\"/O=Grid/OU=Test/*\"'\n");
    const started = await serveFor({ ...host, dn: '/O=Grid/OU=Test/CN=Alice Made' }, gridService(dir, host));
    serve = started.serve;
    base = started.urls.wsrf;
  }, 360_000);
  afterAll(async () => {
    await serve?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it.each(Object.entries(REFUSED))('%s creates nothing', async (_, { chain, why }) => {
    const { status, text } = await post(base, 'WorkspaceFactoryService', envelopeOf(CREATE), tls(chain));
    expect(status, text).toBe(500);
    expect(text).toMatch(why);
    expect(text).not.toContain('WorkspaceKey');
  });

  it('that is good creates, as do its proxies; nothing was made before', async () => {
    expect(await leases(serve)).toBe(0);
    for (const chain of [[alice], [near, alice]]) {
      const { status, text } = await post(base, 'WorkspaceFactoryService', envelopeOf(CREATE), tls(chain));
      expect(status, text).toBe(200);
    }
    expect(await leases(serve)).toBe(2);
  });
});
