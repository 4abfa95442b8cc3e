/** Connections of grid clients: who they are, also when resumed, on either listener, and what they may cost. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { connect as connectTcp, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { createChains } from '../../src/grid/certificates/chains.ts';
import { createGridTls, type GridTls } from '../../src/grid/tls/listener.ts';
import { createPeers, type Peers } from '../../src/grid/tls/peers.ts';
import { openTrustDirectory, type TrustDirectory } from '../../src/grid/trust/directory.ts';
import { isFault } from '../../src/lease/faults.ts';
import { testContext, type TestContext } from '../support/context.ts';
import { globusUser, openssl, type GlobusUser, withGlobus as test } from './globus.ts';
import { RULES } from './trusting.ts';

const dir = mkdtempSync(join(tmpdir(), 'tls-'));
let alice: GlobusUser;
let trust: TrustDirectory;
let ctx: TestContext;
let tls: GridTls | undefined;
const proxies: Record<string, string> = {};

beforeAll(async () => {
  alice = globusUser(dir);
  trust = await openTrustDirectory(testContext(), alice.trust, 3_600_000);
  for (const kind of ['rfc', 'draft', 'old']) proxies[kind] = alice.proxy(`${kind}.proxy`, [`-${kind}`]);
  proxies['user'] = join(dir, 'user.both');
  writeFileSync(proxies['user'], readFileSync(alice.certificate, 'latin1') + readFileSync(alice.key, 'latin1'));
  for (const name of ['host', 'other']) {
    openssl(dir, 'req', '-newkey', 'rsa:2048', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/O=Grid/OU=Test/CN=${name}.example.org`, '-config', 'x.cnf');
    openssl(dir, 'x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '20', '-out', `${name}.pem`);
  }
});
afterEach(() => {
  tls?.stop();
  tls?.server.closeAllConnections();
  tls?.server.close();
});
afterAll(() => {
  trust.stop();
  rmSync(dir, { recursive: true });
});

/** Answers who the client is, or why it is nobody. */
async function serve(o: { legacy?: boolean; handshakeTimeout?: number; sha1?: boolean; trust?: TrustDirectory } = {}): Promise<number> {
  ctx = testContext();
  for (const name of ['cert', 'key']) copyFileSync(join(dir, name === 'cert' ? 'host.pem' : 'host.key'), join(dir, `serving.${name}`));
  tls = await createGridTls(ctx, { certificate: join(dir, 'serving.cert'), key: join(dir, 'serving.key'), legacy: o.legacy ?? false }, o.handshakeTimeout === undefined ? {} : { handshakeTimeout: o.handshakeTimeout }, 3_600_000);
  const peers = createPeers(createChains(ctx.clock, o.trust ?? trust, { ...RULES, sha1: o.sha1 ?? false }));
  tls.server.on('request', (req, res) => {
    const socket = req.socket as TLSSocket;
    res.setHeader('resumed', String(socket.isSessionReused()));
    res.setHeader('protocol', socket.getProtocol() ?? '');
    res.end(who(peers, socket));
  });
  tls.server.listen(0, '127.0.0.1');
  await once(tls.server, 'listening');
  return (tls.server.address() as AddressInfo).port;
}

function who(peers: Peers, socket: TLSSocket): string {
  try {
    const path = peers.of(socket);
    return `${path.identity} ${path.proxies}`;
  } catch (e) {
    if (isFault(e)) return e.reasons[0] ?? e.code;
    throw e;
  }
}

interface Answer { body: string; resumed: string; protocol: string; session: Buffer }
async function ask(port: number, file: string | undefined, o: ConnectionOptions = {}): Promise<Answer> {
  const pem = file === undefined ? {} : { cert: readFileSync(file), key: readFileSync(file) };
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...pem, ...o });
  const sessions: Buffer[] = [];
  socket.on('session', (s) => sessions.push(s));
  await once(socket, 'secureConnect');
  const text = new Promise<string>((resolve, reject) => {
    let all = '';
    socket.setEncoding('latin1').on('data', (d: string) => { all += d; }).on('end', () => resolve(all)).on('error', reject);
  });
  socket.write('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
  const [head = '', body = ''] = (await text).split('\r\n\r\n');
  const header = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(head)?.[1]?.trim() ?? '';
  return { body: body.replace(/^[0-9a-f]+\r\n|\r\n0$/g, '').trim(), resumed: header('resumed'), protocol: header('protocol'), session: sessions.at(-1) ?? Buffer.alloc(0) };
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', (version) => {
  test.each([['user', 0], ['rfc', 1], ['draft', 1], ['old', 1]])('%s', async (kind, proxiesBefore) => {
    const port = await serve();
    expect(await ask(port, proxies[kind], { minVersion: version, maxVersion: version })).toMatchObject({ body: `${alice.dn} ${proxiesBefore}`, protocol: version });
  });

  test('a resumed session is the same proxy’s, and is looked at anew', async () => {
    const port = await serve();
    const range = { minVersion: version, maxVersion: version };
    const first = await ask(port, proxies['rfc'], range);
    const second = await ask(port, proxies['rfc'], { ...range, session: first.session });
    expect(second).toMatchObject({ body: `${alice.dn} 1`, resumed: 'true' });
    const strangers = { ...trust, get generation() { return 2; }, authorities: () => [] };
    const again = await serve({ trust: strangers });
    expect((await ask(again, proxies['rfc'], range)).body).toBe('UnknownAuthority');
  });

  test('without a certificate', async () => {
    expect((await ask(await serve(), undefined, { minVersion: version, maxVersion: version })).body).toBe('CertificateMissing');
  });
});

test('trust that is taken away counts on connections that stand', async () => {
  let gone = false;
  const port = await serve({ trust: { ...trust, get generation() { return gone ? 2 : 1; }, authorities: (name: Parameters<TrustDirectory['authorities']>[0]) => (gone ? [] : trust.authorities(name)) } });
  const pem = readFileSync(proxies['rfc'] as string);
  const agent = new Agent({ keepAlive: true, maxSockets: 1, cert: pem, key: pem, rejectUnauthorized: false });
  const get = (): Promise<string> => new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, agent }, (res) => {
      let all = '';
      res.setEncoding('utf8').on('data', (d: string) => { all += d; }).on('end', () => resolve(`${all} ${res.headers['resumed'] as string}`));
    }).on('error', reject).end();
  });
  expect(await get()).toBe(`${alice.dn} 1 false`);
  gone = true;
  expect(await get()).toBe('UnknownAuthority false');
  agent.destroy();
});

test('other programs: curl with a proxy, openssl with a user’s certificate', async () => {
  const port = await serve();
  const file = proxies['old'] as string;
  // The server answers within this process.
  const curl = await new Promise<string>((resolve, reject) => {
    execFile('curl', ['-sk', '--cert', file, '--key', file, `https://127.0.0.1:${port}/`], (e, out) => (e === null ? resolve(out) : reject(new Error('curl failed', { cause: e }))));
  });
  expect(curl).toBe(`${alice.dn} 1`);
});

describe('the legacy listener', () => {
  test('takes TLS 1.0, which the other refuses', async () => {
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    expect(await ask(await serve({ legacy: true }), proxies['old'], old)).toMatchObject({ body: `${alice.dn} 1`, protocol: 'TLSv1' });
    tls?.server.close();
    await expect(ask(await serve(), proxies['old'], old)).rejects.toThrow(/alert/);
  });

  test('chains with SHA-1 by their own switch only', async () => {
    const sub = mkdtempSync(join(dir, 'sha1-'));
    const bob = globusUser(sub, 'sha1');
    const own = await openTrustDirectory(testContext(), bob.trust, 3_600_000);
    const both = join(sub, 'both');
    writeFileSync(both, readFileSync(bob.certificate, 'latin1') + readFileSync(bob.key, 'latin1'));
    const low = { ciphers: 'DEFAULT@SECLEVEL=0' };
    expect((await ask(await serve({ legacy: true, trust: own }), both, low)).body).toBe('WeakSignature');
    tls?.server.close();
    expect((await ask(await serve({ legacy: true, trust: own, sha1: true }), both, low)).body).toBe(`${bob.dn} 0`);
    own.stop();
  });
});

describe('bounds', () => {
  test('who begins no handshake is cut off', async () => {
    const port = await serve({ handshakeTimeout: 100 });
    const socket = connectTcp(port, '127.0.0.1');
    await once(socket, 'close');
    expect(ctx.lines.some((l) => l.message === 'no TLS connection came about')).toBe(true);
  });

  test('what is no TLS is cut off', async () => {
    const socket = connectTcp(await serve(), '127.0.0.1');
    socket.write('GET / HTTP/1.0\r\n\r\n');
    socket.on('error', () => undefined).resume();
    await once(socket, 'close');
  });
});

describe('key and certificate', () => {
  const served = (port: number): Promise<string> => new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN as unknown as string);
      socket.destroy();
    }).on('error', reject);
  });

  test('change while the service runs; a pair that does not fit leaves the old one', async () => {
    const port = await serve();
    expect(await served(port)).toBe('host.example.org');
    copyFileSync(join(dir, 'other.pem'), join(dir, 'serving.cert'));
    await tls?.refresh();
    expect(await served(port)).toBe('host.example.org');
    expect(ctx.lines.filter((l) => l.level === 'error')).toHaveLength(1);
    copyFileSync(join(dir, 'other.key'), join(dir, 'serving.key'));
    await tls?.refresh();
    expect(await served(port)).toBe('other.example.org');
  });

  test('that cannot be used are said at the start', async () => {
    await expect(createGridTls(testContext(), { certificate: join(dir, 'host.pem'), key: join(dir, 'other.key'), legacy: false })).rejects.toThrow(/host certificate .* cannot be used/);
    await expect(createGridTls(testContext(), { certificate: join(dir, 'none'), key: join(dir, 'other.key'), legacy: false })).rejects.toThrow(/no such file/);
  });
});
