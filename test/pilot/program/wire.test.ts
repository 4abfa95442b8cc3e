/** What leaves a pilot, to the byte: our own form, the original's, the agent's channel, and what must never leave it. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeLine, lineReader } from '../../../src/control/wire.ts';
import { sshdSet, type SshdSet } from '../../fixtures/sshd.ts';
import { hasPart } from '../../parts.ts';
import { Node, SLOT, bundlePilot } from './pilot.ts';
import type { Sections } from './pilot.ts';
import { OriginalSite, Service } from './service.ts';

const scratch = mkdtempSync(join(tmpdir(), 'pilot-bundle-'));
let program = '';
beforeAll(async () => { program = await bundlePilot(scratch); });
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let node: Node;
let service: Service;
beforeEach(() => {
  node = new Node(program);
  service = new Service(SLOT, true);
});
afterEach(async () => {
  await node.remove();
  await service.stop();
});

describe('our own form', () => {
  it('is authenticated in its first request, on one connection, with counters that go up', async () => {
    await service.start();
    const pilot = node.reserve({ credentials: { ...service.credentials, channel: false } });
    await pilot.says('the service knows');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    const posts = service.wire.requests.filter((r) => r.url === '/pilot_notification/v02/');
    expect(posts.map((r) => r.nc)).toEqual(posts.map((_, i) => i + 1));
    expect(posts[0]?.headers['content-type']).toBe('application/json');
  });

  it('takes another nonce over when it is told one', async () => {
    await service.start();
    service.nonce = 'f'.repeat(32);
    const pilot = node.reserve({ credentials: { ...service.credentials, channel: false } });
    await pilot.says('the service knows');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
    expect(service.wire.requests.filter((r) => r.nc === null)).toHaveLength(1);
  });

  it('a secret that is not the service\'s: the node is given back, exit 4', async () => {
    await service.start();
    const pilot = node.reserve({ credentials: { ...service.credentials, secret: '0'.repeat(32), channel: false } });
    expect(await pilot.ended).toBe(4);
    expect(node.left()).toEqual([]);
  });

  it('tries the next contact when one does not answer', async () => {
    const other = new Service(SLOT);
    await other.start();
    const dead = other.wire.url;
    await other.stop();
    await service.start();
    const pilot = node.reserve({ credentials: { ...service.credentials, contacts: [dead, service.wire.url], channel: false } });
    await pilot.says('the service knows');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
  });

  it.each<[string, (url: string) => readonly unknown[], boolean]>([
    ['a service that was started later is spoken to, when its own is gone', (url) => [url], true],
    ['what is no list of contacts is none', (url) => [url, 'ftp://n1'], false],
    ['nothing less safe than what it was given: no plain one beside TLS, and no other scheme', (url) => [url.replace('http:', 'https:')], false],
  ])('%s', async (_, contacts, heard) => {
    await service.start();
    const other = new Service(SLOT);
    Object.assign(other, { credentials: service.credentials, nonce: service.nonce });
    await other.start();
    service.contacts = contacts(other.wire.url);
    const pilot = node.reserve({ credentials: { ...service.credentials, contacts: [service.wire.url], channel: false } });
    await pilot.says('the service knows');
    await service.stop();
    pilot.signal('SIGTERM');
    await pilot.ended;
    expect(other.states()).toEqual(heard ? ['early-unreserving', 'unreserving', 'restored'] : []);
    await other.stop();
  });

  it('reads credentials from a file of its own, and from no other', async () => {
    await service.start();
    const file = join(node.root, 'credentials');
    writeFileSync(file, JSON.stringify({ ...service.credentials, channel: false }), { mode: 0o600 });
    const open = join(node.root, 'open');
    writeFileSync(open, JSON.stringify(service.credentials));
    chmodSync(open, 0o644);
    const pilot = node.reserve({ args: ['--credentials', file] });
    await pilot.says('the service knows');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
    const refused = node.reserve({ args: ['--credentials', open] });
    expect(await refused.ended).toBe(3);
    expect(refused.stderr).toContain('chmod 600');
  });

  it.each([
    ['no JSON', 'secret=hunter2secret'],
    ['another slot', JSON.stringify({ slot: 'sl-aaaaaaaaaaaa', contacts: ['http://a'], secret: 'a'.repeat(32), nonce: 'b'.repeat(32), channel: false })],
    ['a contact with a path', JSON.stringify({ slot: SLOT, contacts: ['http://a/b'], secret: 'a'.repeat(32), nonce: 'b'.repeat(32), channel: false })],
    ['nothing', ''],
  ])('credentials with %s are refused, and not shown', async (_, text) => {
    const pilot = node.start(['-r', '-m', '1', '-d', '9', '-g', '9', '-i', SLOT, '-p', node.config(), '--credentials', '-'], `${text}\n`);
    expect(await pilot.ended).toBe(1);
    expect(pilot.stderr).not.toMatch(/hunter2|a{32}/);
  });
});

describe.skipIf(!hasPart('openssl'))('HTTPS', () => {
  /** A certificate of the service, signed by itself, and its key. */
  const certificate = (): { cert: string; key: string } => {
    const [cert, key] = [join(node.root, 'cert.pem'), join(node.root, 'key.pem')];
    const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=service', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert]);
    expect(made.status).toBe(0);
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  };

  it('trusts the authority that it was given, for messages and for the channel', async () => {
    const tls = certificate();
    await service.start(tls);
    const pilot = node.reserve({ credentials: { ...service.credentials, ca: tls.cert } });
    await service.message('reserved');
    await service.wire.wait(() => service.channels[0]);
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
  });

  it('says nothing to a service that it does not know', async () => {
    await service.start(certificate());
    const pilot = node.reserve({ credentials: service.credentials, grace: 2, config: { other: { reservewait: 1 } } });
    expect(await pilot.ended).toBe(4);
    expect(service.wire.requests).toEqual([]);
    expect(pilot.output).toMatch(/certificate/);
  });
});

describe('the agent\'s channel', () => {
  it('is opened to the service, agent first, and again when it is lost', async () => {
    await service.start();
    const pilot = node.reserve({ credentials: service.credentials });
    const socket = await service.wire.wait(() => service.channels[0]);
    const hello = await new Promise<unknown>((resolve) => socket.on('data', lineReader((line) => resolve(JSON.parse(line)), () => undefined)));
    expect(hello).toMatchObject({ hello: { program: 'workspace-control', driver: 'simulated' } });
    const request = service.wire.requests.find((r) => r.url === '/pilot_channel/v02/');
    expect(request?.headers).toMatchObject({ 'nimbus-node': 'node7', upgrade: 'nimbus-control', 'nimbus-pilot': service.notifications[0]?.pilot });
    socket.destroy();
    const second = await service.wire.wait(() => service.channels[1]);
    second.write(encodeLine({ hello: { program: 'nimbus', version: '1.0.0', protocol: 2 } }));
    second.write(encodeLine({ do: [{ op: 'release', id: 'r-1', deadlineMs: 60_000, why: 'no lease is left' }] }));
    expect(await pilot.ended).toBe(0);
    expect((await service.message('unreserving')).text).toContain('no lease is left');
  });
});

describe.skipIf(!hasPart('sshd'))('where only SSH leads to the service', () => {
  let set: SshdSet;
  beforeEach(() => { set = sshdSet(); });
  afterEach(() => set.close());

  /** An SSH server whose only use is the way to the service; what a pilot's configuration says of it. */
  async function server(permitted: string): Promise<Sections> {
    const sshd = await set.make();
    const key = set.key('pilot');
    writeFileSync(sshd.authorizedKeys, `restrict,port-forwarding,permitopen="${permitted}",command="/bin/false" ${key.publicLine}\n`, { mode: 0o600 });
    const [known, ssh] = [join(node.root, 'known_hosts'), join(node.root, 'ssh')];
    writeFileSync(known, `[${sshd.host}]:${sshd.port} ${sshd.hostKey}\n`);
    writeFileSync(ssh, `#!/bin/sh\nexec ssh -o IdentitiesOnly=yes -o UserKnownHostsFile='${known}' "$@"\n`);
    chmodSync(ssh, 0o755);
    return { systempaths: { ssh, sudo: '/usr/bin/sudo' }, other: { sshcredential: key.privateFile, sshway: `${sshd.user}@${sshd.host}:${sshd.port}/${new URL(service.wire.url).host}` } };
  }
  /** An address at which nothing listens. */
  const nowhere = (): object => ({ ...service.credentials, contacts: ['http://127.0.0.1:1'] });

  it('messages and the channel go by it, proved as by the direct way', async () => {
    await service.start();
    const pilot = node.reserve({ credentials: nowhere(), config: await server(new URL(service.wire.url).host) });
    await pilot.says('the service knows');
    await pilot.says('over SSH');
    const channel = await service.wire.wait(() => service.channels[0]);
    const hello = await new Promise<unknown>((resolve) => channel.on('data', lineReader((line) => resolve(JSON.parse(line)), () => undefined)));
    expect(hello).toMatchObject({ hello: { program: 'workspace-control', driver: 'simulated' } });
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(service.states()).toEqual(['reserved', 'early-unreserving', 'unreserving', 'restored']);
    expect(service.wire.requests.map((r) => r.nc)).not.toContain(null);
    expect(node.left()).toEqual([]);
  });

  it('that leads elsewhere, or whose server is not known: the node is given back, and the log has ssh’s words', async () => {
    await service.start();
    const config = await server('127.0.0.1:2');
    const pilot = node.reserve({ credentials: nowhere(), config: { ...config, other: { ...config['other'], reservewait: 15 } } });
    expect(await pilot.ended).toBe(4);
    expect(node.log()).toMatch(/over SSH.*(prohibited|refused)/);
    expect(service.states()).toEqual([]);
    expect(node.left()).toEqual([]);
  });

  it.each(['host:22', 'host/127.0.0.1:1', '-oProxyCommand=x:22/a:1', 'host:22/a b:1', 'host:99999/a:1', 'host:22/a:0'])('%j is none: exit 2', async (sshway) => {
    expect(await node.reserve({ config: { systempaths: { ssh: 'ssh' }, other: { sshway } } }).ended).toBe(2);
  });
});

describe('the original\'s form', () => {
  const site = new OriginalSite();
  const http = { http: { account: site.account, secret: site.secret } };
  beforeEach(() => { site.bodies.length = 0; site.wire.requests.length = 0; site.usual = 'answer'; });
  afterEach(() => site.wire.stop());
  const stamp = /^\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d$/;

  it('a life from its start to its end, byte for byte', async () => {
    await site.wire.start();
    const pilot = node.reserve({ args: ['--contact', `${site.wire.url}`], config: http });
    await pilot.says('the service knows');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    const sender = `${SLOT}+++node7`;
    const [reserved = '', early = '', unreserving = '', ...more] = site.bodies;
    expect(reserved).toMatch(/^sl-0123456789ab\+\+\+node7\npilot-reserved\n0\n\d{4}(-\d\d){5}\n$/);
    expect(reserved.split('\n')[3]).toMatch(stamp);
    expect(early).toMatch(/^sl-0123456789ab\+\+\+node7\npilot-earlyunreserving\n0\n\d{4}(-\d\d){5}\n$/);
    expect(unreserving).toBe(`${sender}\npilot-unreserving\n0\n`);
    expect(more).toEqual([]);
    // The first request is asked to authenticate itself, as the original's is; the nonce serves all that follow.
    expect(site.wire.requests.map((r) => r.nc)).toEqual([null, 1, 1, 1]);
    expect(site.wire.requests.every((r) => r.url === '/pilot_notification/v01/' && r.headers['content-type'] === 'application/x-www-form-urlencoded')).toBe(true);
  });

  it('an error, in the original\'s quotes and escapes', async () => {
    await site.wire.start();
    const pilot = node.reserve({ args: ['-m', '999999999', '--contact', site.wire.url], config: { ...http, hugepages: { sysdir: '/nowhere (of; all)' }, memory: { mechanism: 'hugepages' } } });
    expect(await pilot.ended).toBe(4);
    const [first = ''] = site.bodies;
    expect(first).toMatch(/^sl-0123456789ab\+\+\+node7\npilot-reserved\n[1-9]\d*\n'PILOT ERROR: [^\n]*'\n$/);
    expect(first.split('\n')[3]).not.toMatch(/(^|[^\\])[;()]/);
  });

  it('406: that message is given up; 401 with the right form but another secret: the node is given back', async () => {
    await site.wire.start();
    site.usual = { status: 406, body: 'NOTOK: no' };
    expect(await node.reserve({ args: ['--contact', site.wire.url], config: http }).ended).toBe(4);
    site.usual = 'answer';
    expect(await node.reserve({ args: ['--contact', site.wire.url], config: { http: { account: site.account, secret: 'no' } } }).ended).toBe(4);
    expect(node.left()).toEqual([]);
  });

  it('falls back on SSH, with the words of the original', async () => {
    const ssh = join(node.root, 'ssh');
    const calls = join(node.root, 'calls');
    writeFileSync(ssh, `#!/bin/sh\nfor w in "$@"; do printf '%s\\n' "$w"; done >> '${calls}'\necho . >> '${calls}'\n`);
    chmodSync(ssh, 0o755);
    await site.wire.start();
    const dead = site.wire.url;
    await site.wire.stop();
    const config = { ...http, systempaths: { ssh, sudo: '/usr/bin/sudo' }, other: { sshcredential: '/etc/key' } };
    const pilot = node.reserve({ args: ['--contact', `${dead}+++nimbus@head.example:2222/opt/pilotnotifications`], config });
    await pilot.says('the service knows');
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    const [first = '', , second = ''] = readFileSync(calls, 'utf8').split('\n.\n').map((c) => c.split('\n').join(' '));
    expect(first).toMatch(/^-i \/etc\/key -p 2222 .*nimbus@head\.example \/opt\/pilotnotifications write sl-0123456789ab\+\+\+node7 pilot-reserved 0 '\d{4}(-\d\d){5}'$/);
    expect(second).toMatch(/ write sl-0123456789ab\+\+\+node7 pilot-unreserving 0$/);
  });

  it.each(['http://host/path', 'ftp://x', 'host:22', 'host:99999/x', 'host:22/a b', 'a;b:22/x', 'http://a+++http://b', 'h:1/x+++', '-oProxyCommand=x:22/y'])('a contact that is none is refused: %s', async (contact) => {
    const pilot = node.reserve({ args: [`--contact=${contact}`], config: http });
    expect(await pilot.ended).toBe(1);
    expect(node.left()).toEqual([]);
  });
});

describe('secrets', () => {
  it('stand in no argument, no environment, no log, no output and no file', async () => {
    await service.start();
    const pilot = node.reserve({ credentials: service.credentials, args: ['-t'] });
    await service.message('reserved');
    await service.wire.wait(() => service.channels[0]);
    const { secret, nonce } = service.credentials;
    const proc = ['cmdline', 'environ'].map((f) => readFileSync(`/proc/${pilot.pid}/${f}`, 'utf8')).join('\n');
    const spool = readFileSync(join(node.stateBase, `${SLOT}.node7`, 'spool'), 'utf8');
    const state = readFileSync(join(node.stateBase, `${SLOT}.node7`, 'state.json'), 'utf8');
    service.usual = { status: 403 };
    pilot.signal('SIGTERM');
    expect(await pilot.ended).toBe(5);
    expect(spool).toContain('"reserved"');
    for (const text of [proc, spool, state, node.log(), pilot.output, pilot.stderr]) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain(nonce);
    }
    expect(node.log()).toContain('stage unreserved');
  });
});
