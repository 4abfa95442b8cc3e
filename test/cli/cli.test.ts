import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ServeOptions } from '../../src/cli/env.ts';
import type { Installed, InstallRequest, NodeInstaller } from '../../src/cli/node-installer.ts';
import { buildCli } from '../../src/cli/program.ts';
import type { WithoutService } from '../../src/cli/without-service.ts';
import { Fault } from '../../src/lease/faults.ts';
import { StartError } from '../../src/platform/errors.ts';
import { realClock } from '../../src/platform/real.ts';
import { aLease, aNode, openFakeSite, type FakeSite } from '../support/admin-fakes.ts';

let site: FakeSite;
beforeEach(async () => { site = await openFakeSite(); });
afterEach(() => site.close());

const notHere = (): Promise<never> => Promise.reject(new Error('not here'));

interface Ran { code: number; out: string; err: string }
interface Options { env?: Record<string, string>; serve?: (o: ServeOptions) => Promise<void>; answer?: string | null; installer?: NodeInstaller; watched?: boolean; withoutService?: Partial<WithoutService> }

async function nimbus(argv: readonly string[], o: Options = {}): Promise<Ran> {
  const ran = { code: -1, out: '', err: '' };
  const cli = buildCli({
    io: { out: (t) => { ran.out += t; }, err: (t) => { ran.err += t; }, width: 80, watched: o.watched ?? false, ask: () => Promise.resolve(o.answer ?? null) },
    clock: { ...realClock, now: () => 3_600_000 },
    env: o.env ?? { NIMBUS_DATA: site.dataDir },
    serve: o.serve ?? (() => Promise.reject(new Error('not here'))),
    installer: o.installer ?? { install: () => Promise.reject(new Error('not here')) },
    withoutService: { open: notHere, killJobs: notHere, doctor: notHere, fsck: notHere, backup: notHere, restore: notHere, ...o.withoutService },
  });
  ran.code = await cli.run(['node', 'nimbus', ...argv]);
  return ran;
}

const fingerprintOf = (pem: string): string => new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
const widest = (text: string): number => Math.max(...text.split('\n').map((l) => [...l].length));

describe('users', () => {
  const made = { name: 'alice', ownerId: '123456789012', accessKey: 'NIMBAAAA', secretKey: 's3cret' };

  test('user add --json prints accessKey and secretKey', async () => {
    site.on('users.add', () => made);
    const { code, out } = await nimbus(['user', 'add', 'alice', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ accessKey: 'NIMBAAAA', secretKey: 's3cret' });
    expect(site.calls).toEqual([{ name: 'users.add', args: ['alice', false, []] }]);
  });

  test('user add prints what a shell can take', async () => {
    site.on('users.add', () => made);
    expect((await nimbus(['user', 'add', 'alice', '--admin'])).out).toContain('export AWS_ACCESS_KEY_ID=NIMBAAAA\n  export AWS_SECRET_ACCESS_KEY=s3cret\n');
    expect(site.calls[0]?.args).toEqual(['alice', true, []]);
  });

  test('user dn adds and removes names of certificates, each reported', async () => {
    site.on('users.addDn', (_name: string, dn: string) => { if (dn.includes('Taken')) throw new Fault('DnTaken', 'it is taken'); });
    site.on('users.removeDn', () => undefined);
    const { code, out, err } = await nimbus(['user', 'dn', 'alice', '--add', '/O=Grid/CN=A B', '/O=Grid/CN=Taken', '--remove', '/O=Grid/CN=Old']);
    expect({ code, out, err }).toEqual({ code: 1, out: expect.stringContaining('/O=Grid/CN=A B is alice’s'), err: expect.stringContaining('DnTaken') });
    expect(out).toContain('/O=Grid/CN=Old is nobody’s');
    expect(site.calls.map((c) => c.args)).toEqual([['alice', '/O=Grid/CN=A B'], ['alice', '/O=Grid/CN=Taken'], ['alice', '/O=Grid/CN=Old']]);
    const inJson = await nimbus(['user', 'dn', 'alice', '--add', '/O=Grid/CN=Taken', '--remove', '/O=Grid/CN=Old', '--json']);
    expect(JSON.parse(inJson.out)).toMatchObject([{ item: '/O=Grid/CN=Taken', ok: false, error: { code: 'DnTaken' } }, { item: '/O=Grid/CN=Old', ok: true }]);
    expect((await nimbus(['user', 'dn', 'alice', '--remove', '/O=Grid/CN=Old'])).out).toBe('/O=Grid/CN=Old is nobody’s\n');
    expect(await nimbus(['user', 'dn', 'alice'])).toMatchObject({ code: 2, err: expect.stringContaining('--add or --remove') });
  });

  test('user cert create makes a key that only its owner reads, and registers the certificate', async () => {
    site.on('users.addCertificate', (_name: string, certificate: string) => ({ fingerprint: fingerprintOf(certificate), subject: '/O=nimbus/CN=alice', notAfter: 0, createdAt: 0 }));
    const out = mkdtempSync(join(tmpdir(), 'cert-'));
    const { code, out: said } = await nimbus(['user', 'cert', 'create', 'alice', '--out', join(out, 'new'), '--days', '30', '--json']);
    expect(code).toBe(0);
    const made = JSON.parse(said) as { certificate: string; key: string; fingerprint: string };
    const certificate = new X509Certificate(readFileSync(made.certificate));
    expect(certificate.checkPrivateKey(createPrivateKey(readFileSync(made.key)))).toBe(true);
    expect(certificate.subject).toBe('O=nimbus\nCN=alice');
    expect(Date.parse(certificate.validTo)).toBe(3_600_000 + 30 * 86_400_000);
    expect(statSync(made.key).mode & 0o777).toBe(0o600);
    expect(made.certificate).toBe(join(out, 'new', `cert-${made.fingerprint.slice(0, 16)}.pem`));
    expect(site.calls.map((c) => c.args[0])).toEqual(['alice']);
    expect(await nimbus(['user', 'cert', 'create', 'alice', '--days', '0'])).toMatchObject({ code: 2, err: expect.stringContaining('--days') });
    rmSync(out, { recursive: true });
  });

  test('user cert add, list and remove tell what they did', async () => {
    const out = mkdtempSync(join(tmpdir(), 'cert-'));
    writeFileSync(join(out, 'c.pem'), 'PEM');
    const certificate = { fingerprint: '3f6c1e0b9a7d2c45'.repeat(4), subject: '/O=Grid/CN=A', notAfter: 0, createdAt: 0 };
    site.on('users.addCertificate', () => certificate);
    site.on('users.certificates', () => [certificate]);
    site.on('users.removeCertificate', () => undefined);
    expect((await nimbus(['user', 'cert', 'add', 'alice', join(out, 'c.pem')])).out).toBe('the certificate 3f6c1e0b9a7d2c45 of /O=Grid/CN=A is alice’s\n');
    expect((await nimbus(['user', 'cert', 'list', 'alice'])).out).toMatch(/^FINGERPRINT +SUBJECT[\s\S]*3f6c1e0b9a7d2c45 +\/O=Grid\/CN=A/);
    expect((await nimbus(['user', 'cert', 'remove', 'alice', '3f6c1e0b9a7d2c45'])).out).toBe('3f6c1e0b9a7d2c45 is nobody’s\n');
    expect(await nimbus(['user', 'cert', 'add', 'alice', join(out, 'none.pem')])).toMatchObject({ code: 1, err: expect.stringContaining('cannot be read') });
    expect(site.calls.map((c) => c.args)).toEqual([['alice', 'PEM'], ['alice'], ['alice', '3f6c1e0b9a7d2c45']]);
    rmSync(out, { recursive: true });
  });

  test('user list shows names of certificates', async () => {
    site.on('users.list', () => [{ name: 'alice', ownerId: '1'.repeat(12), admin: false, accessKeys: [], dns: ['/O=Grid/CN=Alice', '/O=Other/CN=A'], createdAt: 0 }]);
    expect((await nimbus(['user', 'list'])).out).toMatch(/CERTIFICATES[\s\S]*\/O=Grid\/CN=Alice/);
  });

  test('user key makes a key, or switches keys off', async () => {
    site.on('users.addKey', () => made);
    site.on('users.deactivateKey', () => undefined);
    expect((await nimbus(['user', 'key', 'alice'])).out).toContain('NIMBAAAA');
    expect((await nimbus(['user', 'key', 'alice', '--deactivate', 'NIMB1', 'NIMB2'])).out).toBe('NIMB1 is switched off\nNIMB2 is switched off\n');
  });

  test('a batch reports each item and stops at none', async () => {
    site.on('users.remove', ((name: string) => {
      if (name === 'b') throw new Fault('UserNotFound', 'no user is named b', ['look at the list']);
    }) as never);
    const text = await nimbus(['user', 'remove', 'a', 'b', 'c']);
    expect(text).toEqual({ code: 1, out: 'a was removed\nc was removed\n', err: 'b: no user is named b (UserNotFound)\n  look at the list\n' });
    const { code, out } = await nimbus(['user', 'remove', 'a', 'b', '--json']);
    expect({ code, out: JSON.parse(out) as unknown }).toEqual({ code: 1, out: [
      { item: 'a', ok: true, result: null },
      { item: 'b', ok: false, error: { code: 'UserNotFound', message: 'no user is named b', reasons: ['look at the list'] } },
    ] });
  });

  test('names travel whole, whatever is in them', async () => {
    site.on('users.remove', () => undefined);
    await nimbus(['user', 'remove', '../nodes/n1?x=#%2f']);
    expect(site.calls).toEqual([{ name: 'users.remove', args: ['../nodes/n1?x=#%2f'] }]);
  });
});

describe('tables', () => {
  test('fit 80 columns, keep ids whole, align figures', async () => {
    site.on('leases.describe', () => [aLease({ accountName: 'a'.repeat(64), node: 'n'.repeat(64), type: 'type-with-a-long-name' }), aLease({ id: 'i-1111111111111111a' })]);
    const { out } = await nimbus(['lease', 'list']);
    expect(widest(out)).toBeLessThanOrEqual(80);
    expect(out).toContain('i-0123456789abcdef0');
    expect(out).toContain('…');
    site.on('usage.list', () => [{ lease: 'i-0123456789abcdef0', user: 'alice', createdAt: 0, endedAt: null, intervals: [], reservedMinutes: 1440, chargedMinutes: 3 }]);
    const usage = (await nimbus(['usage'])).out;
    expect(usage).toMatch(/RESERVED {2}CHARGED\n.* {5}1440 {8}3\n/);
    expect(usage).toContain('1 lease, 3 minutes charged, 1440 reserved');
  });

  test('nodes show their room; why one is down goes to stderr', async () => {
    site.on('nodes.list', () => [aNode(), aNode({ name: 'n2', reachable: false, active: false, lastError: 'the host key changed' })]);
    const { out, err } = await nimbus(['node', 'list']);
    expect(out).toMatch(/n1 +up +1 +128\/4096 +1\/4/);
    expect(out).toMatch(/n2 +down, drained/);
    expect(err).toBe('n2: the host key changed\n');
    expect(widest(out)).toBeLessThanOrEqual(80);
  });

  test('what others named cannot steer the terminal', async () => {
    site.on('images.list', () => [{ id: 'ami-1', name: 'evil\u001b]0;title\u0007\nroot', owner: null, format: 'raw', sizeBytes: 512, createdAt: 0, state: 'available', reason: null }]);
    const { out } = await nimbus(['image', 'list']);
    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
    expect(out.trim().split('\n')).toHaveLength(2);
  });

  test('an image that could not be made has its state in the list, and its reason below', async () => {
    site.on('images.list', () => [{ id: 'ami-1', name: 'thesis', owner: 'alice', format: 'qcow2', sizeBytes: 0, createdAt: 0, state: 'failed', reason: 'its disk never came' }]);
    expect(await nimbus(['image', 'list'])).toMatchObject({ out: expect.stringMatching(/STATE\nami-1 +thesis .* failed\n$/) as string, err: 'ami-1: its disk never came\n' });
  });

  test('an empty list says what to do', async () => {
    site.on('nodes.list', () => []);
    expect((await nimbus(['node', 'list'])).out).toBe('There are no nodes. Add one with: nimbus node add HOST\n');
    expect((await nimbus(['node', 'list', '--json'])).out).toBe('[]\n');
  });
});

describe('leases', () => {
  test('list pages until the end', async () => {
    const leases = Array.from({ length: 1500 }, (_, i) => aLease({ id: `i-${String(i).padStart(17, '0')}` }));
    site.on('leases.describe', ((_c: unknown, q: { after?: string; limit: number }) => {
      const from = q.after === undefined ? 0 : leases.findIndex((l) => l.id === q.after) + 1;
      return leases.slice(from, from + q.limit);
    }) as never);
    expect(JSON.parse((await nimbus(['lease', 'list', '--all', '--json'])).out)).toHaveLength(1500);
  });

  test('show tells where the guest answers and what happened', async () => {
    site.on('leases.describe', () => [aLease()]);
    site.on('leases.events', () => [{ seq: 1, lease: 'i', at: 150, from: null, to: 'Running', trigger: 'started', who: 'agent n1', why: '', requestId: null }]);
    const { out } = await nimbus(['lease', 'show', 'i-0123456789abcdef0']);
    expect(out).toContain('ssh       ssh -p 42001 USER@192.0.2.7\n');
    expect(out).toMatch(/0\.150 {2}Running {2}started {2}agent n1/);
    expect(out).toContain('ends      1970-01-02 00:00Z (in 23h)');
    expect(out).toContain('created   1970-01-01 00:00:00.000Z\n');
    // Why it was stopped is past, why it could not be is not.
    for (const [reasonCode, shown] of [['Client.UserInitiatedShutdown', 'Running'], ['Server.NotPermitted', 'Running: said no']] as const) {
      site.on('leases.describe', () => [aLease({ reasonCode, reason: 'said no' })]);
      expect((await nimbus(['lease', 'show', 'i-0123456789abcdef0'])).out).toContain(`state     ${shown}\n`);
    }
  });

  test('extend takes a duration or a date, never neither', async () => {
    site.on('leases.setEnd', () => [aLease({ endsAt: 7_200_000 })]);
    expect((await nimbus(['lease', 'extend', 'i-0123456789abcdef0', '--for', '1h'])).out).toBe('i-0123456789abcdef0 ends 1970-01-01 02:00Z\n');
    await nimbus(['lease', 'extend', 'i-0123456789abcdef0', '--until', '2026-12-01T18:00Z']);
    expect(site.calls.map((c) => c.args[2])).toEqual([{ durationS: 3600 }, { endsAt: Date.UTC(2026, 11, 1, 18) }]);
    expect(await nimbus(['lease', 'extend', 'i-0123456789abcdef0'])).toEqual({ code: 2, out: '', err: 'nimbus: say how long: --for DURATION or --until DATE\n' });
  });

  test('destroy says what became of each', async () => {
    site.on('leases.end', ((_c: unknown, [id]: [string]) => [{ id, before: 'Running', after: 'Ending' }]) as never);
    site.on('leases.forget', ((_c: unknown, [id]: [string]) => [{ id, before: 'Ending', after: 'Terminated' }]) as never);
    expect((await nimbus(['lease', 'destroy', 'i-0123456789abcdef0', 'i-bad'])).err).toMatch(/^i-bad: "i-bad" is no lease id/);
    expect((await nimbus(['lease', 'destroy', '--forget', 'i-0123456789abcdef0'])).out).toBe('i-0123456789abcdef0 is Terminated, was Ending\n');
  });
});

describe('networks', () => {
  test('a pool is made for a bridge or for user mode', async () => {
    site.on('networks.add', ((n: object) => n) as never);
    await nimbus(['network', 'add', 'public', '--netmask', '24', '--bridge', 'br0', '--dns', '192.0.2.2, 192.0.2.3']);
    await nimbus(['network', 'add', 'private', '--netmask', '255.255.0.0']);
    expect(site.calls.map((c) => c.args[0])).toEqual([
      { name: 'public', kind: 'bridge', bridge: 'br0', netmask: '24', dns: ['192.0.2.2', '192.0.2.3'] }, { name: 'private', kind: 'user', netmask: '255.255.0.0' },
    ]);
  });

  test('addresses come as ranges and from a file', async () => {
    site.on('networks.addAddresses', ((_n: string, a: unknown[]) => a) as never);
    const file = join(site.dataDir, 'pool');
    writeFileSync(file, '# the lab\n192.0.2.20 head A2:AA:BB:00:00:01\n\n192.0.2.21 # spare\n');
    expect((await nimbus(['network', 'address', 'add', 'p', '192.0.2.254-192.0.3.1', '--file', file])).out).toBe('p has 6 more addresses\n');
    expect(site.calls[0]?.args[1]).toEqual([
      { ip: '192.0.2.254' }, { ip: '192.0.2.255' }, { ip: '192.0.3.0' }, { ip: '192.0.3.1' },
      { ip: '192.0.2.20', hostname: 'head', mac: 'A2:AA:BB:00:00:01' }, { ip: '192.0.2.21' },
    ]);
  });

  test.each([[['1.2.3'], 'no IPv4 address'], [['10.0.0.9-10.0.0.1'], 'empty or has more'], [['10.0.0.0-10.255.0.0'], 'empty or has more'], [[], 'name addresses'],
    [['10.0.0.1', '10.0.0.2', '--mac', 'a'], 'single address'], [['--file', '/nowhere'], 'cannot be read: no such file']])('%j is refused before it is sent', async (args, said) => {
    const { code, err } = await nimbus(['network', 'address', 'add', 'p', ...args]);
    expect({ code, err, calls: site.calls }).toEqual({ code: 2, err: expect.stringContaining(said) as string, calls: [] });
  });
});

describe('usage', () => {
  test('CSV has one line a lease; formulas stay text', async () => {
    site.on('usage.list', () => [{
      lease: 'i-1', user: '=cmd()', createdAt: 0, endedAt: 60_000, reservedMinutes: 0, chargedMinutes: 1,
      intervals: [{ node: 'n1', start: 0, stop: 60_000, memoryMb: 128, cores: 1 }],
    }]);
    const { out } = await nimbus(['usage', '--csv', '--user', 'alice', '--since', '30m']);
    expect(out).toBe('lease,user,created_at,ended_at,nodes,memory_mb,cores,used_from,used_until,reserved_minutes,charged_minutes\r\n'
      + "i-1,'=cmd(),1970-01-01T00:00:00.000Z,1970-01-01T00:01:00.000Z,n1,128,1,1970-01-01T00:00:00.000Z,1970-01-01T00:01:00.000Z,0,1\r\n");
    expect(site.calls[0]?.args).toEqual([{ user: 'alice', since: 1_800_000 }]);
  });
});

describe('node add', () => {
  const status = { driver: 'qemu', accelerator: 'kvm', qemuVersion: '7.2', memoryMb: 8192, cores: 8, diskFreeMb: 1, cacheMb: 1, vms: 0, missing: [] } as const;
  const installed: Installed = { hostKey: 'ssh-ed25519 AAAA', fingerprint: 'SHA256:abc', agentVersion: '0.1.0', status, missing: [] };
  let requests: InstallRequest[];
  const installer = (over: Partial<Installed> = {}): NodeInstaller => ({
    install: async (request, watcher) => {
      requests.push(request);
      watcher.progress('copying the agent');
      if (request.hostKey === undefined && !(await watcher.trust({ fingerprint: 'SHA256:abc', type: 'ssh-ed25519' }))) throw new Error('its key was not confirmed');
      return { ...installed, ...over };
    },
  });
  beforeEach(() => {
    requests = [];
    site.on('nodes.list', () => []);
    site.on('networks.list', () => []);
    site.on('nodes.operatingKey', () => 'ssh-ed25519 OPER nimbus-operate');
    site.on('nodes.add', ((n: { name: string; memoryMb: number; cores: number }) => aNode(n)) as never);
  });

  test('shows the fingerprint, asks, installs, and pins what was confirmed', async () => {
    const { code, out, err } = await nimbus(['node', 'add', 'n7.example.org', '--user', 'ops', '--zone', 'rack2'], { installer: installer(), answer: 'y', watched: true });
    expect(code).toBe(0);
    expect(err).toBe('copying the agent\nn7.example.org shows the host key ssh-ed25519 SHA256:abc\n');
    expect(out).toBe('n7 takes leases: 6144 MiB and 8 cores for VMs, driver qemu (kvm), agent 0.1.0\nhost key SHA256:abc is pinned\n');
    expect(requests).toEqual([expect.objectContaining({ host: 'n7.example.org', user: 'ops', port: 22, operatingKey: 'ssh-ed25519 OPER nimbus-operate', agentConfig: { cacheMb: 7 }, dataDir: site.dataDir })]);
    expect(site.calls.at(-1)).toEqual({ name: 'nodes.add', args: [{
      name: 'n7', zone: 'rack2', memoryMb: 6144, cores: 8, networks: ['*'],
      access: { transport: 'ssh', host: 'n7.example.org', port: 22, user: 'ops', hostKey: 'ssh-ed25519 AAAA' },
    }] });
  });

  test('without a person, asks for a way to trust the key', async () => {
    expect(await nimbus(['node', 'add', 'n7'], { installer: installer() })).toMatchObject({ code: 2, err: expect.stringContaining('--host-key, --known-hosts or --yes') as string });
    expect((await nimbus(['node', 'add', 'n7', '--yes', '--json'], { installer: installer() })).code).toBe(0);
    expect((await nimbus(['node', 'add', 'n7', '--host-key', 'SHA256:abc'], { installer: installer() })).code).toBe(0);
    expect(await nimbus(['node', 'add', 'n7'], { installer: installer(), answer: 'n' })).toMatchObject({ code: 1, err: expect.stringContaining('not confirmed') as string });
  });

  test('a node that lacks something is not added, and each lack is told', async () => {
    const ran = await nimbus(['node', 'add', 'n7', '--yes'], { installer: installer({ missing: ['no bridge br0: make it with …'] }) });
    expect(ran).toMatchObject({ code: 1, err: expect.stringContaining('n7 cannot run VMs yet; mend this and run the command again (NodeRefused)\n  no bridge br0: make it with …\n') as string });
    const simulated = installer({ status: { ...status, driver: 'simulated', accelerator: null } });
    expect((await nimbus(['node', 'add', 'n7', '--yes'], { installer: simulated })).err).toContain('only be simulated');
    expect(site.calls.some((c) => c.name === 'nodes.add')).toBe(false);
    expect((await nimbus(['node', 'add', 'n7', '--yes', '--driver', 'simulated'], { installer: simulated })).code).toBe(0);
  });

  test('what the service would refuse is said before the host is touched', async () => {
    site.on('nodes.list', () => [aNode({ name: 'n7' })]);
    expect(await nimbus(['node', 'add', 'n7', '--yes'], { installer: installer() })).toMatchObject({ code: 1, err: expect.stringContaining('nimbus node upgrade n7') as string });
    expect(await nimbus(['node', 'add', 'n8', '--yes', '--networks', 'lab'], { installer: installer() })).toMatchObject({ code: 1, err: expect.stringContaining('no network is named lab') as string });
    expect(requests).toEqual([]);
  });

  test('upgrade goes to the pinned host with what the service knows of it', async () => {
    site.on('nodes.list', () => [aNode({ name: 'n1', address: 'ops@[fd00::1]:2222' }), aNode({ name: 'local-1', transport: 'local', hostKey: null, address: '/x' })]);
    const { code, out, err } = await nimbus(['node', 'upgrade', 'n1', 'local-1', 'n9'], { installer: installer() });
    expect({ code, out }).toEqual({ code: 1, out: 'n1 runs agent 0.1.0\n' });
    expect(err).toMatch(/^local-1: the node is on the machine of the service.*\nn9: no VMM node has this name/);
    expect(requests).toEqual([expect.objectContaining({ host: 'fd00::1', user: 'ops', port: 2222, hostKey: 'ssh-ed25519 AAAA' })]);
  });
});

describe('endings', () => {
  test('no service: one sentence and 3', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'no-'));
    const { code, out, err } = await nimbus(['user', 'list', '--data', join(empty, 'data')]);
    expect({ code, out }).toEqual({ code: 3, out: '' });
    expect(err).toBe(`nimbus: no nimbus service runs on the data directory ${join(empty, 'data')}; start it with "nimbus serve", or name its directory with --data or NIMBUS_DATA\n`);
    rmSync(empty, { recursive: true });
  });

  test('a mistake on the command line names itself and the way on; with --json in JSON', async () => {
    for (const [argv, said] of [[['frob'], 'unknown command'], [['user', 'add'], "missing required argument 'name'"], [['node', 'add', 'h', '--memory', '-5'], '--memory <MiB>']] as const) {
      const { code, err } = await nimbus(argv);
      expect([code, err]).toEqual([2, expect.stringMatching(/^nimbus: [^\n]+\nAdd --help[^\n]+\n$/)]);
      expect(err).toContain(said);
      const inJson = await nimbus([...argv, '--json']);
      expect([inJson.code, JSON.parse(inJson.err)]).toEqual([2, { error: { code: 'Usage', message: expect.stringContaining(said), reasons: [] } }]);
    }
  });

  test('a batch without a service says so once', async () => {
    const { code, err } = await nimbus(['lease', 'destroy', 'i-1', 'i-2'], { env: { NIMBUS_DATA: '/nowhere' } });
    expect({ code, lines: err.trim().split('\n').length }).toEqual({ code: 3, lines: 1 });
  });

  test('a refusal with --json is JSON on stderr', async () => {
    site.on('users.add', () => { throw new Fault('UserExists', 'alice is there'); });
    const { code, err } = await nimbus(['user', 'add', 'alice', '--json']);
    expect({ code, err: JSON.parse(err) as unknown }).toEqual({ code: 1, err: { error: { code: 'UserExists', message: 'alice is there', reasons: [] } } });
  });

  test.each([[['fly']], [['user', 'fly']], [['user', 'add']], [['user', 'list', '--loud']], [['network', 'add', 'x']], [['node', 'add', 'n', '--port', 'x']], [['usage', '--since', 'x']],
    [['usage', '--csv', '--json']], [['node', 'add', 'n', '--driver', 'xen']], [[]], [['user']]])('%j is a mistake of the command line: 2, and the help or a hint', async (argv) => {
    const { code, out, err } = await nimbus(argv);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err.length).toBeGreaterThan(10);
  });

  test('help and version are 0; every command has examples within 80 columns', async () => {
    const { code, out } = await nimbus(['--version']);
    expect({ code, out }).toEqual({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string });
    expect(widest((await nimbus(['network', 'address', '--help'])).out)).toBeLessThanOrEqual(80);
    for (const argv of [[], ['serve'], ['status'], ['config'], ['usage'], ['kill-all'], ['doctor'], ['fsck'], ['backup'], ['restore'], ...Object.entries({
      user: ['add', 'list', 'remove', 'key'], node: ['add', 'list', 'drain', 'activate', 'remove', 'upgrade'], image: ['add', 'list', 'remove'],
      network: ['add', 'list', 'remove', 'address'], 'network address': ['add', 'list', 'remove'], lease: ['list', 'show', 'extend', 'destroy', 'console'],
      slot: ['list', 'show', 'kill'], key: ['show', 'rotate'],
    }).flatMap(([group, verbs]) => verbs.filter((v) => v !== 'address').map((v) => [...group.split(' '), v]))]) {
      const help = await nimbus([...argv, '--help']);
      expect(help.code).toBe(0);
      expect(help.out, argv.join(' ')).toMatch(/Examples?/);
      expect(widest(help.out), argv.join(' ')).toBeLessThanOrEqual(80);
    }
  });
});

describe('serve and config', () => {
  test('serve gets its options, with --data before or after', async () => {
    const given: ServeOptions[] = [];
    const serve = (o: ServeOptions): Promise<void> => Promise.resolve(void given.push(o));
    await nimbus(['serve', '--config', 'a.toml', '--data', '/d', '--ready-file', 'r'], { serve });
    await nimbus(['--data', '/d', 'serve'], { serve });
    await nimbus(['serve'], { serve, env: {} });
    expect(given).toEqual([
      { config: 'a.toml', data: '/d', readyFile: 'r' }, { config: undefined, data: '/d', readyFile: undefined }, { config: undefined, data: './nimbus-data', readyFile: undefined },
    ]);
  });

  test('a start that is refused is 2 with its sentence', async () => {
    expect(await nimbus(['serve'], { serve: () => Promise.reject(new StartError('in use by pid 7')) })).toEqual({ code: 2, out: '', err: 'nimbus: in use by pid 7\n' });
  });

  test('config prints the commented default; --check names mistakes', async () => {
    const text = readFileSync(join(import.meta.dirname, '..', '..', 'etc', 'nimbus.toml'), 'utf8');
    expect((await nimbus(['config'])).out).toBe(text);
    expect(JSON.parse((await nimbus(['config', '--json'])).out)).toMatchObject({ ec2: { listen: '127.0.0.1:8444' } });
    const file = join(site.dataDir, 'wrong.toml');
    writeFileSync(file, '[ec2]\nlisten = 1\n');
    expect(await nimbus(['config', '--check', file])).toMatchObject({ code: 2, err: expect.stringMatching(/one mistake\n {2}ec2\.listen: /) as string });
  });
});
