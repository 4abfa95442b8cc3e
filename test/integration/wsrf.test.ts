/**
 * Grid clients on the built service over mutual TLS: zeep through every operation with a user's certificate and with proxies of both
 * kinds, our own command line with the files of the original's client, and the same leases through EC2.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { soapMessage } from '../ec2/soap/sign.ts';
import { globusUser, gridService, openssl, type GlobusUser } from '../grid/globus.ts';
import { hasPart } from '../parts.ts';
import { createBody, envelopeOf, keysIn, post } from '../support/grid-requests.ts';
import { askAs, newUser, type Ask } from '../support/query.ts';
import { NIMBUS, startServe, type Serve } from '../support/serve.ts';

const run = promisify(execFile);
const dir = mkdtempSync(join(tmpdir(), 'wsrf-'));
const SCRIPT = join(import.meta.dirname, '..', 'clients', 'zeep', 'every_operation.py');

let serve: Serve;
let alice: GlobusUser;
let ask: Ask;
let base = '';
const credentials: Record<string, string> = {};

beforeAll(async () => {
  alice = globusUser(dir);
  const grid = gridService(dir, alice);
  credentials['user certificate'] = join(dir, 'user.both');
  writeFileSync(credentials['user certificate'], readFileSync(alice.certificate, 'latin1') + readFileSync(alice.key, 'latin1'));
  if (hasPart('globus')) for (const kind of ['rfc', 'old', 'draft']) credentials[`${kind} proxy`] = alice.proxy(`${kind}.proxy`, [`-${kind}`]);
  if (hasPart('globus')) credentials['limited'] = alice.proxy('limited.proxy', ['-rfc', '-limited']);
  serve = await startServe(`
[[local_nodes]]
name = "n1"
driver = "simulated"
memory_mb = 16384
cores = 64
[simulated]
start_ms = 20
stop_ms = 0
${grid}`);
  base = (JSON.parse(readFileSync(join(serve.root, 'ready.json'), 'utf8')) as { wsrf: string }).wsrf;
  ask = askAs(serve, await newUser(serve, 'alice'));
  await serve.admin('user', 'dn', 'alice', '--add', alice.dn);
  const disk = join(dir, 'disk.raw');
  writeFileSync(disk, Buffer.alloc(1024 * 1024));
  await serve.admin('image', 'add', 'base.img', disk);
}, 360_000);
afterAll(async () => {
  await serve?.stop();
  rmSync(dir, { recursive: true, force: true });
});

describe.skipIf(!hasPart('zeep') || !hasPart('openssl'))('zeep', () => {
  const KINDS = ['user certificate', ...(hasPart('globus') ? ['rfc proxy', 'old proxy'] : [])];
  it.each(KINDS)('does everything with a %s', async (kind) => {
    const file = credentials[kind] ?? '';
    const { stdout } = await run('/usr/bin/python3', ['-W', 'ignore', SCRIPT, base, 'http://127.0.0.1:9/', file, file, join(dir, 'ca.pem')], { timeout: 240_000 });
    const { out } = JSON.parse(stdout) as { out: Record<string, unknown> };
    expect(out).toMatchObject({ 'running': 'Running', 'Pause': 'Paused', 'Reboot': 'Running', 'Normal': 'Propagated', 'Serialize': 'Propagated', 'destroyed': 'ResourceUnknownFault', 'report': 2, 'bad-image': 'WorkspaceResourceRequestDeniedFault' });
  }, 360_000);
});

describe.skipIf(!hasPart('axis') || !hasPart('openssl'))('Axis 1', () => {
  const JARS = ['axis', 'jaxrpc', 'saaj', 'wsdl4j', 'commons-discovery', 'commons-logging', 'javax.mail', 'javax.activation'].map((jar) => `/usr/share/java/${jar}.jar`);

  it('compiles what it makes of the descriptions, and speaks with a client certificate', async () => {
    const [sources, classes, secret] = [join(dir, 'axis'), join(dir, 'classes'), 'changeit'];
    const java = (...args: string[]): ReturnType<typeof run> => run('java', args, { timeout: 240_000 });
    // -W: inputs and outputs as what they are, as Globus' own stubs have them.
    for (const part of ['status', 'instance']) {
      await java('-cp', JARS.join(':'), 'org.apache.axis.wsdl.WSDL2Java', '-W', '-O', '30', '-o', sources, join(import.meta.dirname, '..', '..', 'wsdl', 'workspace', `${part}_service.wsdl`));
    }
    const made = readdirSync(sources, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.java')).map((f) => join(sources, f));
    await java('-m', 'jdk.compiler/com.sun.tools.javac.Main', '-nowarn', '-cp', JARS.join(':'), '-d', classes, ...made, join(import.meta.dirname, '..', 'clients', 'axis', 'Client.java'));
    openssl(dir, 'pkcs12', '-export', '-in', 'user.pem', '-inkey', 'user.key', '-out', 'user.p12', '-passout', `pass:${secret}`);
    await run('keytool', ['-importcert', '-noprompt', '-alias', 'ca', '-file', join(dir, 'ca.pem'), '-keystore', join(dir, 'ca.p12'), '-storetype', 'PKCS12', '-storepass', secret]);
    const created = await post(base, 'WorkspaceFactoryService', envelopeOf(createBody({ image: 'base.img', memoryMb: 64 })), { cert: readFileSync(alice.certificate), key: readFileSync(alice.key) });
    const [key = ''] = keysIn(created.text);
    await vi.waitFor(async () => expect((await ask({ Action: 'DescribeInstances' })).body).toContain('<name>running</name>'), { timeout: 60_000, interval: 50 });
    const tls = ['key', 'trust'].flatMap((kind, i) => [`-Djavax.net.ssl.${kind}Store=${join(dir, i === 0 ? 'user.p12' : 'ca.p12')}`, `-Djavax.net.ssl.${kind}StoreType=PKCS12`, `-Djavax.net.ssl.${kind}StorePassword=${secret}`]);
    const { stdout } = await java(...tls, '-cp', [classes, ...JARS].join(':'), 'Client', base, key);
    expect(String(stdout).split('\n').filter((l) => /^(?:workspaces|state|then|destroyed) /.test(l))).toEqual(['workspaces 1', 'state Paused', 'then Failed to remove resource']);
  }, 600_000);
});

describe.skipIf(!hasPart('openssl'))('a client', () => {
  it('whose chunks have no end is let go of, and costs the service no memory', async () => {
    const resident = (): number => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${serve.pid}/status`, 'utf8'))?.[1]) / 1024;
    const { hostname, port } = new URL(base);
    const before = resident();
    const socket = connect({ host: hostname, port: Number(port), cert: readFileSync(alice.certificate), key: readFileSync(alice.key), rejectUnauthorized: false });
    socket.on('error', () => undefined);
    socket.resume();
    await once(socket, 'secureConnect');
    socket.write('POST /wsrf/services/WorkspaceService HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n');
    const chunk = Buffer.from(`10000\r\n${'<'.repeat(0x10000)}\r\n`);
    const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()));
    const send = (): void => {
      while (!socket.destroyed && socket.write(chunk));
      if (!socket.destroyed) socket.once('drain', send);
    };
    send();
    await closed;
    expect(resident() - before).toBeLessThan(150);
    expect((await ask({ Action: 'DescribeInstances' })).status).toBe(200);
  }, 600_000);
});

describe.skipIf(!hasPart('openssl'))('nimbus wsrf', () => {
  const example = (name: string): string => readFileSync(new URL(`../../etc/examples/${name}`, import.meta.url), 'utf8');
  const METADATA = example('vm.xml').replace('file://nimbus-guest', 'file://base.img');
  const REQUEST = example('deploy.xml').replace('PT1H', 'PT30M').replace('</NodeNumber>', '</NodeNumber><ShutdownMechanism>Trash</ShutdownMechanism>');
  const at = (name: string): string => join(dir, name);
  const nimbus = async <T>(command: string, ...args: string[]): Promise<T> => JSON.parse((await run(process.execPath, [
    NIMBUS, 'wsrf', command, ...args, '--cert', credentials['user certificate'] ?? '', '--trust', alice.trust, '--json'], { timeout: 120_000 })).stdout) as T;
  const states = async (...files: string[]): Promise<string[]> => (await nimbus<Array<{ state: string }>>('query', ...files.map(at))).map((w) => w.state);
  const all = (state: string, ...files: string[]): Promise<void> => vi.waitFor(async () => {
    const seen = await states(...files);
    expect(seen).toEqual(files.map(() => state));
  }, { timeout: 60_000, interval: 20 });

  beforeAll(() => {
    writeFileSync(at('vm.xml'), METADATA);
    writeFileSync(at('deploy.xml'), REQUEST);
  });
  const create = (...args: string[]): Promise<{ workspaces: string[]; files: string[] }> => nimbus('create', '--service', base, '--metadata', at('vm.xml'), '--request', at('deploy.xml'), ...args);

  it('makes a workspace from the original’s files, which EC2 clients see too', async () => {
    const { workspaces } = await create('--file', at('vm.epr'));
    expect(readFileSync(at('vm.epr'), 'utf8')).toContain(`>${workspaces[0]?.split(' ')[1] ?? ''}<`);
    await all('Running', 'vm.epr');
    const described = (await ask({ 'Action': 'DescribeInstances', 'Filter.1.Name': 'instance-state-name', 'Filter.1.Value.1': 'running' })).body;
    const id = /<instanceId>(i-[0-9a-f]+)</.exec(described)?.[1] ?? '';
    expect(described).toContain('<name>running</name>');
    await nimbus('shutdown', at('vm.epr'), '--kind', 'pause');
    await all('Paused', 'vm.epr');
    await nimbus('start', at('vm.epr'));
    await all('Running', 'vm.epr');
    await nimbus('extend', at('vm.epr'), '--for', '2h');
    expect((await ask({ 'Action': 'TerminateInstances', 'InstanceId.1': id })).status).toBe(200);
    await expect(nimbus('query', at('vm.epr'))).rejects.toThrow(/ResourceUnknownFault/);
  }, 600_000);

  it('shows what there is, and nothing to a stranger', async () => {
    expect(await nimbus<{ DefaultRunningTime: object }>('factory', '--service', base)).toMatchObject({ DefaultRunningTime: { minutes: 1440 }, VMM: { type: 'Xen' } });
    await create('--file', at('node'), '--groupfile', at('nodes.epr'), '--count', '2');
    await all('Running', 'node-0', 'node-1');
    // What was ended just before may hold its own a little longer.
    await expect.poll(() => nimbus('status', '--service', base), { timeout: 60_000 }).toMatchObject({ reservedMinutes: 60 });
    await nimbus('destroy', at('nodes.epr'));
    openssl(dir, 'req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'm.key', '-out', 'm.csr', '-subj', '/O=Grid/OU=Test/CN=Mallory', '-config', 'x.cnf');
    openssl(dir, 'x509', '-req', '-in', 'm.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '20', '-out', 'm.pem');
    await expect(run(process.execPath, [NIMBUS, 'wsrf', 'factory', '--service', base, '--cert', at('m.pem'), '--key', at('m.key'), '--trust', alice.trust])).rejects.toThrow(/Mallory/);
  }, 600_000);

  it('gathers an ensemble and starts it with its last part', async () => {
    await create('--file', at('head.epr'), '--new-ensemble', at('whole.epr'));
    expect(await states('head.epr')).toEqual(['Unpropagated']);
    await create('--file', at('tail.epr'), '--join-ensemble', at('whole.epr'), '--last-in-ensemble');
    await all('Running', 'head.epr', 'tail.epr');
    expect(await nimbus<unknown[]>('report', at('whole.epr'))).toHaveLength(2);
    await nimbus('destroy', at('whole.epr'));
    await expect(nimbus('report', at('whole.epr'))).rejects.toThrow(/WorkspaceUnknownFault/);
  }, 600_000);

  it('is told what happens to a workspace', async () => {
    await create('--file', at('told.epr'));
    await all('Running', 'told.epr');
    const told = run(process.execPath, [NIMBUS, 'wsrf', 'subscribe', at('told.epr'), '--listen', '127.0.0.1:0', '--until', 'Paused', '--cert', credentials['user certificate'] ?? '', '--trust', alice.trust]);
    const heard = new Promise<void>((resolve) => told.child.stderr?.on('data', (text: Buffer) => { if (text.includes('subscribed to')) resolve(); }));
    await heard;
    expect(await serve.admin<Array<{ user: string; topic: string }>>('wsrf', 'subscriptions')).toEqual(expect.arrayContaining([expect.objectContaining({ user: 'alice', topic: 'currentState' })]));
    await nimbus('shutdown', at('told.epr'), '--kind', 'pause');
    expect((await told).stdout).toContain(' Paused');
    await nimbus('destroy', at('told.epr'));
  }, 600_000);

  it('goes on behind a reference that fails, and says what became of each', async () => {
    await create('--file', at('one.epr'));
    await create('--file', at('two.epr'));
    await nimbus('destroy', at('one.epr'));
    writeFileSync(at('broken.epr'), '<none/>');
    interface Failed { stdout: string; stderr: string; code: number }
    const all = (command: string, ...args: string[]): Promise<Failed> => run(process.execPath, [NIMBUS, 'wsrf', command, at('one.epr'), at('broken.epr'), at('two.epr'), ...args, '--cert', credentials['user certificate'] ?? '', '--trust', alice.trust]).then(({ stdout, stderr }) => ({ stdout, stderr, code: 0 }), (e: Failed) => e);
    const query = await all('query', '--json');
    expect(query.code).toBe(1);
    expect(JSON.parse(query.stdout)).toMatchObject([{ state: expect.any(String) as string }, { item: at('one.epr'), error: { code: 'ResourceUnknownFault' } }, { item: at('broken.epr'), error: { code: 'Usage' } }]);
    for (const [command, args, done] of [['extend', ['--for', '1h'], / ends /], ['destroy', [], /is destroyed/]] as const) {
      const { stdout, stderr, code } = await all(command, ...args);
      expect(code, command).toBe(1);
      expect(stdout, command).toMatch(done);
      expect(stderr, command).toMatch(/one\.epr: .*ResourceUnknownFault/);
      expect(stderr, command).toMatch(/broken\.epr: .*no endpoint reference/);
    }
    const again = JSON.parse((await all('destroy', '--json')).stdout) as unknown;
    expect(again).toMatchObject([{ ok: false, error: { code: 'ResourceUnknownFault' } }, { ok: false, error: { code: 'Usage' } }, { ok: false, error: { code: 'ResourceUnknownFault' } }]);
  }, 600_000);

  it('has the leases of its user that SOAP clients of EC2 see and end with the same certificate, and Query with its keys', async () => {
    await create('--file', at('three.epr'));
    await all('Running', 'three.epr');
    const by = { key: createPrivateKey(readFileSync(alice.key)), der: new X509Certificate(readFileSync(alice.certificate)).raw, fingerprint: '' };
    const soap = async (action: string, content: string): Promise<string> => {
      const body = soapMessage({ now: Date.now() }, by, '2009-08-15', action, content);
      return (await fetch(serve.ec2, { method: 'POST', body, headers: { 'content-type': 'text/xml' } })).text();
    };
    const running = async (): Promise<string[]> => [...(await ask({ 'Action': 'DescribeInstances', 'Filter.1.Name': 'instance-state-name', 'Filter.1.Value.1': 'running' })).body.matchAll(/<instanceId>([^<]*)</g)].map(([, id = '']) => id);
    const ids = await running();
    const seen = await soap('DescribeInstances', '<instancesSet/>');
    expect(ids).not.toEqual([]);
    for (const id of ids) expect(seen).toContain(`<instanceId>${id}</instanceId>`);
    expect(await soap('TerminateInstances', `<instancesSet>${ids.map((id) => `<item><instanceId>${id}</instanceId></item>`).join('')}</instancesSet>`)).toContain('<shutdownState><code>32</code>');
    await expect(nimbus('query', at('three.epr'))).rejects.toThrow(/ResourceUnknownFault/);
    expect(await running()).toEqual([]);
  }, 600_000);

  it.skipIf(!hasPart('globus'))('with a limited proxy looks, and changes nothing', async () => {
    const limited = (...args: string[]): Promise<unknown> => run(process.execPath, [NIMBUS, 'wsrf', ...args, '--cert', credentials['limited'] ?? '', '--trust', alice.trust]);
    await limited('factory', '--service', base);
    await limited('status', '--service', base);
    await expect(limited('create', '--service', base, '--metadata', at('vm.xml'), '--request', at('deploy.xml'))).rejects.toThrow(/limited/);
  }, 600_000);
});
