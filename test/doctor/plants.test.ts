/** What may be wrong with a site, planted one by one: the doctor finds each, calls it what it is, and says how to mend it. */
import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { examine } from '../../src/doctor/index.ts';
import { askNodes } from '../../src/doctor/nodes.ts';
import type { BatchSite, DoctorSite, Finding, NodeLook } from '../../src/doctor/types.ts';
import type { NodeStatus } from '../../src/control/protocol.ts';
import { commandEnvironment, localRunner } from '../../src/pilot/lrm/runner.ts';
import { setRepositoryMark } from '../../src/images/shared.ts';
import { configSchema } from '../../src/platform/config.ts';
import { realClock } from '../../src/platform/real.ts';
import { networkAdministration } from '../../src/manager/admin/networks.ts';
import { statement, type Db } from '../../src/store/db.ts';
import { insertSlots } from '../../src/store/slots.ts';
import type { NodeAdminRow } from '../../src/store/nodes-admin.ts';
import { echo, fakeNode, succeed } from '../control/client/fake-agent.ts';
import { overTransports } from '../control/client/setup.ts';
import { freePort } from '../support/ports.ts';
import { hasPart } from '../parts.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';
import { onSmallDisk } from '../support/small-disk.ts';

const TLS = fileURLToPath(new URL('../fixtures/ec2-tls', import.meta.url));
const VERSION = '1.2.3';
const QUIET = { ec2: { listen: '127.0.0.1:0' }, monitoring: { listen: '' } };

let held: TestDatabase;
let database: TestDatabase;
let root: string;
const servers: Server[] = [];
beforeAll(async () => { held = await openTestDatabase(); });
afterAll(() => held.close());
beforeEach(() => {
  database = held;
  root = mkdtempSync(join(tmpdir(), 'pl-'));
  mkdirSync(join(root, 'images', 'common'), { recursive: true });
});
afterEach(async () => {
  for (const s of servers.splice(0)) await new Promise((resolve) => s.close(resolve));
  if (database !== held) await database.close();
  rmSync(root, { recursive: true });
});

/** For those who plant something in it. */
async function ownDatabase(): Promise<void> {
  database = await openTestDatabase();
}

interface Plant { config?: object; nodes?: readonly NodeLook[]; db?: DoctorSite['db']; serving?: boolean; now?: number; images?: string; data?: string; batch?: DoctorSite['batch'] }
async function look(p: Plant = {}): Promise<readonly Finding[]> {
  const ctx = testContext({ clock: p.now === undefined ? realClock : { ...realClock, now: () => p.now ?? 0 } });
  return examine({
    ctx, config: configSchema.parse({ ...QUIET, ...p.config }), version: VERSION, serving: p.serving ?? true, db: p.db ?? database.db,
    nodes: p.nodes ?? [node()], places: { data: p.data ?? root, images: p.images ?? join(root, 'images') }, local: localRunner(realClock, commandEnvironment(process.env)), batch: p.batch ?? null,
  });
}
/** Pilot mode, whose batch system is not the matter. */
const PILOT_MODE: BatchSite = {
  lrm: { name: 'slurm', submit: notAsked, cancel: notAsked, facts: notAsked, list: () => Promise.resolve({ kind: 'unavailable', reason: 'it is not the matter', tookMs: 1 }) },
  facts: { missing: 'it is not the matter' }, contacts: [], ca: undefined,
};
function notAsked(): Promise<never> {
  return Promise.reject(new Error('the doctor changes nothing'));
}
const said = (f: Finding): string => [`${f.level} ${f.check}: ${f.what}`, ...f.mend].join('\n');
/** The findings that are no good news. */
const wrong = (found: readonly Finding[]): string[] => found.filter((f) => f.level === 'fail' || f.level === 'warn').map(said);

const STATUS: NodeStatus = { driver: 'qemu', accelerator: 'kvm', qemuVersion: '7.2.22', memoryMb: 4096, cores: 4, diskFreeMb: 100_000, cacheMb: 100, vms: 0, missing: [] };
const SSH = { transport: 'ssh', host: 'n1.example.org', port: 22, user: 'nimbus', hostKey: 'ssh-ed25519 AAAA' } as const;
const LOCAL = { transport: 'local', stateDir: '/s', driver: 'qemu' } as const;
const row = (over: Partial<NodeAdminRow> = {}): NodeAdminRow => ({
  id: 1, name: 'n1', zone: 'default', memory_mb: 4096, cores: 4, memory_used: 0, cores_used: 0, networks: ['*'], active: true, access: SSH, slot_id: null,
  reachable: true, last_seen: 0, last_error: null, agent_version: VERSION, driver: 'qemu', leases: 0, ...over,
});
const node = (status: Partial<NodeStatus> = {}, over: { row?: Partial<NodeAdminRow>; version?: string; clockOffsetMs?: number } = {}): NodeLook =>
  ({ row: row(over.row), answer: { status: { ...STATUS, ...status }, version: over.version ?? VERSION, clockOffsetMs: over.clockOffsetMs ?? 0 } });
const away = (missing: string, over: Partial<NodeAdminRow> = {}): NodeLook => ({ row: row(over), answer: { missing } });

const insertImage = statement<never>('plant-image', `INSERT INTO image (id, name, format, size_bytes, sha256, file, created_at) VALUES ('ami-00000001', 'debian', 'raw', 512, $1, 'common/ami-00000001', now())`);
async function image(bytes: number | null): Promise<void> {
  await ownDatabase();
  await database.db.query(insertImage, [createHash('sha256').digest('hex')]);
  if (bytes !== null) writeFileSync(join(root, 'images', 'common', 'ami-00000001'), Buffer.alloc(bytes));
}

async function listener(): Promise<number> {
  const server = createServer().listen(await freePort('127.0.0.1'), '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test('a site that is right has nothing to mend', async () => {
  await image(512);
  expect(wrong(await look())).toEqual([]);
});

describe('database and schema', () => {
  test('a database that is away: one finding, and none of the checks that need it', async () => {
    const found = await look({ db: { missing: 'nothing answers there' }, nodes: [], config: { database: { url: 'postgres://nimbus@db/nimbus' } } });
    expect(wrong(found)).toEqual(['fail database: nothing answers there\nlook whether the server of database.url runs and lets the service in']);
  });

  test.each<[string, string, string]>([
    ['newer', `INSERT INTO knex_migrations (name, batch, migration_time) VALUES ('9999_future', 9, now())`, 'fail schema: the database was written by a newer nimbus than 1.2.3: it has 9999_future\nrun that version, or restore a backup from before it'],
    ['older', `DELETE FROM knex_migrations WHERE name = '0002_slots'`, 'warn schema: the database is of an older nimbus: 0002_slots is missing\nthe next start of the service brings it up to date; make a backup before'],
  ])('a %s one', async (_what, sql, expected) => {
    await ownDatabase();
    await database.db.query(statement('plant-schema', sql));
    expect(wrong(await look())).toEqual([expected]);
  });

  test('an empty one is no mistake', async () => {
    await ownDatabase();
    await database.db.query(statement('plant-empty', 'DROP TABLE knex_migrations'));
    expect((await look()).find((f) => f.check === 'schema')).toMatchObject({ level: 'note', what: 'the database is empty: the first start of the service makes its tables' });
  });
});

describe('services on one database', () => {
  const insertProcess = statement<never>('plant-process', "INSERT INTO process (place, host, pid, version, session, operating_key) VALUES ($1, 'h', 1, '1', $1, $2)");
  const found = async (...keys: ReadonlyArray<string | null>): Promise<Array<Pick<Finding, 'level' | 'what'>>> => {
    await ownDatabase();
    for (const [i, key] of keys.entries()) await database.db.query(insertProcess, [`h${i + 1}:/data`, key]);
    return (await look()).filter((f) => f.check === 'services').map(({ level, what }) => ({ level, what }));
  };

  test('with the same operating key', async () => {
    expect(await found('SHA256:a', 'SHA256:a', null)).toEqual([{ level: 'ok', what: '2 services have the same operating key' }]);
  });

  test('with different ones', async () => {
    expect(await found('SHA256:a', 'SHA256:b', 'SHA256:a')).toEqual([{ level: 'warn', what: 'h1:/data, h3:/data and h2:/data have different operating keys: an SSH node lets in one of them, and is out of reach when that one ends' }]);
  });

  test('one alone, or of an older version', async () => {
    expect(await found('SHA256:a')).toEqual([]);
    await database.db.query(statement('plant-old-process', 'ALTER TABLE process DROP COLUMN operating_key'));
    expect((await look()).filter((f) => f.check === 'services')).toEqual([]);
  });
});

describe('nodes', () => {
  test.each<[string, NodeLook[], string]>([
    ['none', [], 'warn VMM nodes: there are none: every lease is refused\nadd one: nimbus node add HOST, or [[local_nodes]] in the configuration'],
    ['one that does not answer', [away('nothing listens on the port')], 'fail VMM nodes: n1 (nimbus@n1.example.org:22) does not answer: nothing listens on the port\nsee that the host is up and its sshd answers: ssh -p 22 nimbus@n1.example.org'],
    ['one beside the service that does not', [away('the agent exited with code 1', { access: LOCAL })], 'fail VMM nodes: n1 (local) does not answer: the agent exited with code 1\nlook at agent.log in its state directory'],
    ['another host key', [away('the host key changed: pinned SHA256:a, shown SHA256:b; nothing was sent')], 'fail host keys: n1: the host key changed: pinned SHA256:a, shown SHA256:b; nothing was sent\nfind out who answers there'],
    ['an older agent', [node({}, { version: '1.2.2' })], 'warn agents: n1 runs agent 1.2.2, the service is 1.2.3\nnimbus node upgrade n1'],
    ['an older agent beside the service', [node({}, { version: '1.2.2', row: { access: LOCAL } })], 'warn agents: n1 runs agent 1.2.2, the service is 1.2.3\nend its agent'],
    ['no QEMU', [node({ qemuVersion: null, accelerator: null, missing: ['qemu-system-x86_64 is not installed (Debian: apt-get install qemu-system-x86)'] })], 'fail VMM nodes: n1: qemu-system-x86_64 is not installed (Debian: apt-get install qemu-system-x86)\nmend it on n1'],
    ['simulation', [node({ driver: 'simulated', qemuVersion: null, accelerator: null })], 'warn QEMU: VMs are only simulated on n1\ninstall QEMU there'],
    ['no KVM', [node({ accelerator: 'tcg' })], 'warn accelerator: VMs run without KVM, many times slower, on n1\nswitch virtualization on'],
    ['little room', [node({ diskFreeMb: 3_000 })], 'warn disk space: n1 has 3000 MiB free for VMs’ disks and 100 MiB of cached images\nput the agent’s state directory on a larger disk'],
    ['no room', [node({ diskFreeMb: 200 })], 'fail disk space: n1 has 200 MiB free'],
    ['a clock ahead', [node({}, { clockOffsetMs: 90_000 })], 'warn clocks: the clock of n1 is 90.0 s ahead of this machine’s\nhave a time service'],
    ['a clock behind', [node({}, { clockOffsetMs: -2_500 })], 'warn clocks: the clock of n1 is 2.5 s behind'],
    ['no sudo rule', [node({ missing: ['the helper does not answer: the helper gave no answer: sudo: a password is required (docs/operations.md, "Helper")'] })], 'fail helper: n1: the helper does not answer: the helper gave no answer: sudo: a password is required (docs/operations.md, "Helper")\non n1, as root (visudo -f /etc/sudoers.d/nimbus), with the agent’s account for ACCOUNT:\n  ACCOUNT ALL=(root) NOPASSWD: /usr/bin/node /opt/nimbus/workspace-control.cjs helper'],
  ])('%s', async (_what, nodes, expected) => {
    expect(wrong(await look({ nodes }))).toContainEqual(expect.stringContaining(expected));
  });

  test('a drained one is a note; several are counted', async () => {
    const found = (await look({ nodes: [node(), node({}, { row: { id: 2, name: 'n2', active: false } })] })).map(said);
    expect(found).toContain('note VMM nodes: n2 is drained and gets no leases\nnimbus node activate n2');
    expect(found).toContain('ok VMM nodes: 2 of 2 answer');
    expect(found).toContain('ok host keys: 2 nodes show the key that is pinned');
  });

  test('one beside another service is that one’s to look at', async () => {
    const { client } = overTransports([]);
    const nodes = await askNodes(testContext(), [row({ access: { ...LOCAL, machine: 'head2.example.org' } })], client);
    const found = (await look({ nodes: [...nodes, node()] })).map(said);
    expect(found).toContain('note VMM nodes: n1 is beside the service on head2.example.org, which looks after it\non head2.example.org: nimbus doctor');
    expect(found).toContain('ok VMM nodes: 1 of 1 answers');
    await client.close();
  });

  test('are asked over their channels, and one that does not answer keeps none from it', async () => {
    const good = fakeNode({ hello: { version: VERSION }, onLine: (l, a) => echo(l, a, (r) => ({ ...succeed(r), result: { status: STATUS } } as never)) });
    const bad = fakeNode({});
    bad.refuse = 'nothing listens on the port';
    const odd = fakeNode({ onLine: echo });
    const { client } = overTransports([good.transport, bad.transport, odd.transport]);
    const asked = await askNodes(testContext(), [row(), row({ id: 2, name: 'node2' }), row({ id: 3, name: 'node3' })], client);
    expect(asked.map((n) => n.answer)).toMatchObject([
      { status: STATUS, version: VERSION }, { missing: 'nothing listens on the port' }, { missing: 'it answers something else than its status' },
    ]);
    await client.close();
  });
});

describe('what lies on disks', () => {
  test.each<[string, () => Promise<void>, Plant, string]>([
    ['an image whose file is gone', () => image(null), {}, 'fail image directory: debian (ami-00000001): its file is missing\nrestore the file from a backup'],
    ['an image that was cut short', () => image(100), {}, 'fail image directory: debian (ami-00000001): its file has 100 of 512 bytes\nrestore the file from a backup'],
    ['no image directory', async () => { rmSync(join(root, 'images'), { recursive: true }); }, {}, 'fail image directory: images/ in the data directory cannot be used: no such file or directory\nmake it'],
    ['an image directory of the configuration that is not there', async () => undefined, { config: { images: { directory: '/nowhere/images' } }, images: '/nowhere/images' }, 'fail image directory: images.directory = /nowhere/images cannot be used: no such file or directory\nmake it'],
  ])('%s', async (_what, plant, site, expected) => {
    await plant();
    expect(wrong(await look(site))).toContainEqual(expect.stringContaining(expected));
  });

  test('an image directory that is another database’s: what it is and what to do, and none of its files is called missing', async () => {
    await image(null);
    const [images, mark] = [join(root, 'images'), join(root, 'images', '.repository')];
    const foreign = [`fail image directory: ${images} is the image directory of another database of nimbus: no service starts on it\nset images.directory to this one's. If it is this one's all the same (its database was made anew), remove ${mark}`];
    writeFileSync(mark, 'another');
    await setRepositoryMark(database.db, 'its own');
    expect(wrong(await look())).toEqual(foreign);
    writeFileSync(mark, 'its own');
    expect(wrong(await look())).toEqual(['fail image directory: debian (ami-00000001): its file is missing\nrestore the file from a backup, or remove the image and add it again: nimbus image remove NAME']);
  });
});

describe.skipIf(!hasPart('mounts'))('disks without room', () => {
  test.for<[string, string, string]>([
    ['none', '100m', 'fail'],
    ['little', '1g', 'warn'],
    ['enough', '3g', 'ok'],
  ])('that have %s (%s)', async ([_what, size, level]) => {
    await ownDatabase();
    const [data, images] = [join(root, 'small', 'data'), join(root, 'small', 'images')];
    await onSmallDisk(join(root, 'small'), size, async () => {
      mkdirSync(data);
      mkdirSync(images);
      const found = (config: object): Promise<readonly Finding[]> => look({ config: { images: { directory: images }, ...config }, data, images });
      const room = (await found({})).filter((f) => f.check === 'disk space' && f.what.includes(join(root, 'small')));
      expect(room.map(({ level: l, what }) => `${l} ${what.replace(/\d+ MiB/, 'N MiB')}`)).toEqual([
        `${level} the data directory (${data}) has N MiB free`, `${level} the image directory (${images}) has N MiB free`,
      ]);
      if (level === 'ok') return;
      expect(room.map((f) => f.mend)).toEqual([
        ['make room: without it the private database refuses to write, and with it the service'], ['make room, or move it to a larger disk'],
      ]);
      const elsewhere = (await found({ database: { url: 'postgres://nimbus@db/nimbus' } })).find((f) => f.what.includes(data));
      expect(elsewhere?.mend).toEqual(['make room, or move it to a larger disk']);
    });
  });
});

describe('pools', () => {
  const administration = (db: Db) => networkAdministration({ ctx: testContext(), db, config: configSchema.parse({}) } as never);
  const bridge = (name: string, over: object = {}) => administration(database.db).add({ name, kind: 'bridge', bridge: 'br0', netmask: '24', ...over });
  const give = statement<never>('plant-address', `INSERT INTO network_address (network_id, ip, hostname, mac) SELECT id, $2::inet, $3, $4 FROM network WHERE name = $1`);

  test('that would give one address to two guests', async () => {
    await ownDatabase();
    await bridge('lab');
    await bridge('public');
    await bridge('far', { bridge: 'br1' });
    await administration(database.db).addAddresses('lab', [{ ip: '192.0.2.10' }]);
    // Who adds addresses is refused; what stands in the table may be older.
    await expect(administration(database.db).addAddresses('public', [{ ip: '192.0.2.11' }, { ip: '192.0.2.10' }])).rejects.toMatchObject({ code: 'AddressExists', reasons: ['192.0.2.10 is in network lab'] });
    await administration(database.db).addAddresses('far', [{ ip: '192.0.2.10' }]);
    expect(wrong(await look())).toContainEqual(expect.stringContaining('warn pools: 192.0.2.10 is in the pools of far and lab: guests of the two cannot speak with each other'));
    await database.db.query(give, ['public', '192.0.2.10', 'p', 'a2:aa:bb:00:00:01']);
    expect(wrong(await look())).toContainEqual('fail pools: 192.0.2.10 is in the pools of far and lab and public, on one bridge: two guests may get it\ntake it out of one: nimbus network address remove far 192.0.2.10');
  });

  test('that hold a router or a name server', async () => {
    await ownDatabase();
    await bridge('lab', { gateway: '192.0.2.1', dns: ['192.0.2.2'] });
    await bridge('public');
    await database.db.query(give, ['public', '192.0.2.1', 'a', 'a2:aa:bb:00:00:01']);
    await database.db.query(give, ['public', '192.0.2.2', 'b', 'a2:aa:bb:00:00:02']);
    expect(wrong(await look()).filter((w) => w.includes('pools'))).toEqual([
      'fail pools: 192.0.2.1 is in the pool of public and is the gateway of lab, on the same bridge\ntake it out: nimbus network address remove public 192.0.2.1',
      'fail pools: 192.0.2.2 is in the pool of public and is the name server of lab, on the same bridge\ntake it out: nimbus network address remove public 192.0.2.2',
      'warn pools: lab has no addresses: leases on it are refused\nnimbus network address add lab FROM-TO',
    ]);
  });
});

describe('ports', () => {
  test('nothing answers where the service should', async () => {
    const port = await listener();
    expect((await look({ config: { ec2: { listen: `127.0.0.1:${port}` } } })).map(said)).toContain(`ok ports: ec2.listen (127.0.0.1:${port}) takes connections`);
    await new Promise((resolve) => servers.pop()?.close(resolve));
    expect(wrong(await look({ config: { ec2: { listen: `127.0.0.1:${port}` } } }))).toContainEqual(expect.stringContaining(`fail ports: nothing answers at ec2.listen (127.0.0.1:${port}): nothing answers there\nlook at the service’s log`));
  });

  test('another program has it while the service is down; an address of another machine', async () => {
    const port = await listener();
    const found = wrong(await look({ serving: false, config: { ec2: { listen: `127.0.0.1:${port}` }, monitoring: { listen: '192.0.2.1:1' } } }));
    expect(found).toContainEqual(`fail ports: ec2.listen (127.0.0.1:${port}) cannot be opened: another program has this address and port\nfind out which program has it (ss -ltnp sport = :${port}), or set another port`);
    expect(found).toContainEqual(expect.stringContaining('fail ports: monitoring.listen (192.0.2.1:1) cannot be opened: this machine has no such address\nset monitoring.listen to'));
  });

  test('those for grid clients: another program has one, guests may get the other, nothing answers', async () => {
    const port = await listener();
    const wsrf = { listen: `127.0.0.1:${port}`, legacy_listen: '0.0.0.0:42100' };
    const found = wrong(await look({ serving: false, config: { wsrf } }));
    expect(found).toContainEqual(expect.stringContaining(`fail ports: wsrf.listen (127.0.0.1:${port}) cannot be opened: another program has this address and port\nfind out which program has it`));
    expect(found).toContainEqual(expect.stringContaining('warn ports: wsrf.legacy_listen (0.0.0.0:42100) is one of the ports that lead to guests'));
    await new Promise((resolve) => servers.pop()?.close(resolve));
    expect(wrong(await look({ config: { wsrf: { listen: `127.0.0.1:${port}` } } }))).toContainEqual(expect.stringContaining(`fail ports: nothing answers at wsrf.listen (127.0.0.1:${port}): nothing answers there`));
  });

  test('one that guests may get, one without TLS, figures for everyone', async () => {
    const found = wrong(await look({ serving: false, config: { ec2: { listen: '0.0.0.0:42017' }, monitoring: { listen: '0.0.0.0:42018' } } }));
    expect(found).toContainEqual(expect.stringContaining('warn ports: ec2.listen (0.0.0.0:42017) is one of the ports that lead to guests'));
    expect(found).toContainEqual(expect.stringContaining('warn ports: users reach ec2.listen = 0.0.0.0:42017 without TLS'));
    expect(found).toContainEqual(expect.stringContaining('warn ports: monitoring.listen = 0.0.0.0:42018 answers whoever reaches it'));
  });
});

describe('clocks in pilot mode, as pilots report them', () => {
  const insertAccount = statement<{ id: number }>('plant-account', "INSERT INTO account (name, owner_id, admin, created_at) VALUES ('alice', '000000000001', false, now()) RETURNING id");
  const slot = (account: number, id: string, ...nodes: number[]) => ({
    id, account_id: account, lrm: 'slurm', parts: [{ nodes: nodes.length, memoryMb: 128, cores: 1 }], duration_s: 60, pilot_s: 90, walltime_s: 120, grace_s: 30, lrm_account: null, secret: 's', nonce: 'n',
    request_id: null, spot: false, slot_nodes: nodes.map((_n, ordinal) => ({ ordinal, part: 0, memory_mb: 128, cores: 1 })),
  });
  const report = statement<never>('plant-report', 'UPDATE slot_node SET host = $2, clock_offset_ms = $3 WHERE slot_id = $1 AND ordinal = $4');
  const over = statement<never>('plant-over', 'UPDATE slot SET final = true WHERE id = $1');
  const clocksOf = async (): Promise<string[]> => (await look({ batch: PILOT_MODE, nodes: [] })).filter((f) => f.check === 'clocks').map(said);

  test('the one that is furthest off is named, in either direction, while its pilot reports', async () => {
    await ownDatabase();
    expect(await clocksOf()).toEqual(['note clocks: no pilot reports now, so nothing is known of the nodes’ clocks']);
    const [account] = await database.db.query(insertAccount);
    await database.db.query(insertSlots, [JSON.stringify([slot(account?.id ?? 0, 'sl-000000000001', 0, 0), slot(account?.id ?? 0, 'sl-000000000002', 0)]), new Date()]);
    await database.db.query(report, ['sl-000000000001', 'c1', 300, 0]);
    expect(await clocksOf()).toEqual(['ok clocks: nodes’ clocks are within 0.3 s of this machine’s']);
    await database.db.query(report, ['sl-000000000001', 'c2', -7_400, 1]);
    expect(await clocksOf()).toEqual(['warn clocks: the clock of c2 is 7.4 s behind this machine’s\nhave a time service (chrony, systemd-timesyncd) run on both']);
    await database.db.query(report, ['sl-000000000002', 'c3', 65_000, 0]);
    expect(await clocksOf()).toEqual([expect.stringContaining('warn clocks: the clock of c3 is 65.0 s ahead of this machine’s')]);
    for (const id of ['sl-000000000001', 'sl-000000000002']) await database.db.query(over, [id]);
    expect(await clocksOf()).toEqual([expect.stringContaining('note clocks: no pilot reports now')]);
  });
});

describe('certificates', () => {
  const [certificate, key] = [join(TLS, 'cert.pem'), join(TLS, 'key.pem')];
  const tls = (over: object = {}): object => ({ ec2: { listen: '127.0.0.1:0', tls_certificate: certificate, tls_key: key, ...over } });
  const DAY = 86_400_000;
  const { notBefore, notAfter } = { notBefore: Date.UTC(2000, 0, 1), notAfter: Date.UTC(2200, 0, 1) };

  test.each<[string, () => Plant, string]>([
    ['out of date', () => ({ now: notAfter, config: tls() }), 'fail certificates: ec2.tls_certificate has been invalid since'],
    ['not valid yet', () => ({ now: notBefore, config: tls() }), 'fail certificates: ec2.tls_certificate is valid only from'],
    ['soon out of date', () => ({ now: validTo() - 5.5 * DAY, config: tls() }), 'warn certificates: ec2.tls_certificate is valid for 5 more days\nput a new one'],
    ['with another key', () => ({ config: tls({ tls_key: otherKey() }) }), 'is not the key of ec2.tls_certificate\nname the two that were made together'],
    ['without its key', () => ({ config: tls({ tls_key: '/nowhere.pem' }) }), 'fail certificates: ec2.tls_key = /nowhere.pem cannot be read: no such file or directory'],
    ['that is none', () => ({ config: tls({ tls_certificate: key }) }), 'fail certificates: ec2.tls_certificate = '],
    ['of another name', () => ({ config: tls({ public_address: 'ec2.example.com' }) }), 'warn certificates: ec2.tls_certificate does not name ec2.example.com'],
  ])('%s', async (_what, plant, expected) => {
    expect(wrong(await look(plant()))).toContainEqual(expect.stringContaining(expected));
  });

  /** Of each listener in turn: what the other sections say is no business of it. */
  const listenerOf = (section: 'grid' | 'pilot', over: object = {}): Plant => ({
    batch: PILOT_MODE, config: { [section]: { tls_certificate: certificate, tls_key: key, ...over } },
  });
  test.each(['grid', 'pilot'] as const)('of the listener of %s', async (section) => {
    const about = async (p: Plant): Promise<string[]> => (await look(p)).filter((f) => f.check === 'certificates').map(said);
    expect(await about({ ...listenerOf(section), now: notAfter })).toEqual([expect.stringMatching(`^fail certificates: ${section}\\.tls_certificate has been invalid since .*\nput a new one into ${certificate}; the service reads it ${section === 'grid' ? 'within seconds' : 'at its start'}$`)]);
    expect(await about({ ...listenerOf(section), now: notBefore })).toEqual([expect.stringContaining(`fail certificates: ${section}.tls_certificate is valid only from`)]);
    expect(await about({ ...listenerOf(section), now: validTo() - 5.5 * DAY })).toEqual([expect.stringContaining(`warn certificates: ${section}.tls_certificate is valid for 5 more days`)]);
    expect(await about({ ...listenerOf(section, { tls_key: otherKey() }), now: validTo() - 100.5 * DAY })).toEqual([
      `ok certificates: ${section}.tls_certificate is valid for 100 days`, expect.stringContaining(`is not the key of ${section}.tls_certificate\nname the two that were made together`),
    ]);
    expect(await about(listenerOf(section, { tls_certificate: '/nowhere.pem' }))).toEqual([expect.stringContaining(`fail certificates: ${section}.tls_certificate = /nowhere.pem cannot be read: no such file or directory`)]);
  });

  test('of pilots: the name that they are told, and the authority that they are handed', async () => {
    const found = wrong(await look({ ...listenerOf('pilot', { address: 'https://head.example.org:41999', tls_ca: certificate }), now: validTo() - 5.5 * DAY }));
    expect(found).toContainEqual(expect.stringContaining('warn certificates: pilot.tls_certificate does not name head.example.org, by which clients come'));
    expect(found).toContainEqual(expect.stringContaining('warn certificates: pilot.tls_ca is valid for 5 more days'));
    const site = { config: { pilot: { tls_certificate: '/nowhere.pem', tls_key: key } } };
    expect((await look(site)).filter((f) => f.check === 'certificates'), 'in the other mode nobody looks').toEqual([]);
  });

  test('one that is right says for how long', async () => {
    expect((await look({ now: validTo() - 100.5 * DAY, config: tls() })).map(said)).toContain('ok certificates: ec2.tls_certificate is valid for 100 days');
  });

  const validTo = (): number => Date.parse(new X509Certificate(readFileSync(certificate)).validTo);
  const otherKey = (): string => {
    const file = join(root, 'other.pem');
    writeFileSync(file, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));
    return file;
  };
});

test('every failure and warning says how to mend it', async () => {
  await image(100);
  const found = await look({ nodes: [away('x'), away('host key changed'), node({ accelerator: 'tcg', diskFreeMb: 1, missing: ['a', 'the helper b'] }, { version: '0', clockOffsetMs: 1e6 })], serving: false, config: { ec2: { listen: '0.0.0.0:42001' } } });
  for (const f of found.filter((x) => x.level === 'fail' || x.level === 'warn')) expect(f.mend, said(f)).not.toEqual([]);
});
