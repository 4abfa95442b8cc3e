/** The doctor: each check on sites that are right and wrong, with a real listener and real programs where it looks at some. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { examine } from '../../src/doctor/index.ts';
import { batchSite } from '../../src/doctor/site.ts';
import type { BatchSite, DoctorSite, Finding } from '../../src/doctor/types.ts';
import type { Listing, Lrm, LrmFacts } from '../../src/pilot/lrm/types.ts';
import { commandEnvironment, localRunner } from '../../src/pilot/lrm/runner.ts';
import { REALM } from '../../src/pilot/protocol.ts';
import { configSchema, type Config } from '../../src/platform/config.ts';
import { realClock } from '../../src/platform/real.ts';
import { freePort } from '../support/ports.ts';
import { testContext } from '../support/context.ts';

const VERSION = '1.2.3';
const RIGHT: LrmFacts = { lrm: 'slurm', flavour: 'slurm', version: '22.05.8', graceS: 30, nodes: 16, heterogeneous: true, shrinks: true, remembers: true, epilogue: '/etc/slurm/nimbus-epilog' };
const NO_JOBS: Listing = { kind: 'listing', jobs: [], ignored: [], tookMs: 3 };

let root: string;
let servers: Server[];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'dr-'));
  servers = [];
});
afterEach(async () => {
  await Promise.all(servers.map((s) => new Promise((resolve) => { s.close(resolve); s.closeAllConnections(); })));
  rmSync(root, { recursive: true, force: true });
});

function lrm(listing: Listing | Error = NO_JOBS): Lrm {
  const never = (): Promise<never> => Promise.reject(new Error('the doctor changes nothing'));
  return { name: 'slurm', submit: never, cancel: never, facts: never, list: () => (listing instanceof Error ? Promise.reject(listing) : Promise.resolve(listing)) };
}

interface Wrong { config?: object; facts?: Partial<LrmFacts> | { missing: string }; listing?: Listing | Error; contacts?: string[]; serving?: boolean; batch?: null }

async function look(w: Wrong = {}): Promise<readonly Finding[]> {
  const ctx = testContext();
  const facts = w.facts !== undefined && 'missing' in w.facts ? { missing: w.facts.missing ?? '' } : { ...RIGHT, ...w.facts };
  const batch: BatchSite = { lrm: lrm(w.listing), facts, contacts: w.contacts ?? [], ca: undefined };
  const site: DoctorSite = {
    ctx, config: configSchema.parse(w.config ?? {}), version: VERSION, serving: w.serving ?? true, db: { missing: 'not in this test' }, nodes: [], places: { data: root, images: join(root, 'images') },
    local: localRunner(realClock, commandEnvironment(process.env)), batch: w.batch === null ? null : batch,
  };
  return examine(site);
}

const about = (findings: readonly Finding[], check: string): string[] =>
  findings.filter((f) => f.check === check).map((f) => [`${f.level}: ${f.what}`, ...f.mend].join('\n'));
const one = (findings: readonly Finding[], check: string): string => about(findings, check).join('\n');

/** A real program in the place of the pilot. */
function program(script: string): string {
  const file = join(root, 'workspace-pilot');
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
  return file;
}

async function listener(status: number, headers: Record<string, string>): Promise<string> {
  const server = createServer((_req, res) => res.writeHead(status, headers).end());
  servers.push(server);
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('batch system', () => {
  test('that answers is named', async () => {
    expect(about(await look(), 'batch system')).toEqual(['ok: slurm 22.05.8 answers', 'ok: its list of jobs takes 3 ms']);
  });

  test('that does not: one finding, with the commands; what depends on it says nothing', async () => {
    const found = await look({ facts: { missing: 'scontrol cannot be run: there is no such program' }, config: { slurm: { scontrol: '/opt/slurm/bin/scontrol' } } });
    expect(one(found, 'batch system')).toContain('fail: it does not answer: scontrol cannot be run');
    expect(one(found, 'batch system')).toContain('slurm.scontrol = "/opt/slurm/bin/scontrol"');
    for (const check of ['partition', 'grace', 'epilogue']) expect(about(found, check)).toEqual([]);
  });

  test.each([
    [{ kind: 'unavailable', reason: 'slurmctld is away', tookMs: 1 }, 'fail: it does not say what it runs: slurmctld is away'],
    [{ ...NO_JOBS, tookMs: 9000 }, 'warn: its list takes 9000 ms'],
    [{ ...NO_JOBS, ignored: [{ slotId: null, why: 'a line of 3 fields' }] }, 'warn: its list has 1 entries that cannot be read\na line of 3 fields'],
    [new Error('broken'), 'fail: the check could not be made: broken'],
  ] as const)('listing %j', async (listing, said) => {
    expect(one(await look({ listing: listing as Listing | Error }), 'batch system')).toContain(said);
  });

  test('in greedy-static mode nothing of it is looked at', async () => {
    expect([...new Set((await look({ batch: null, config: { ec2: { listen: '127.0.0.1:0' }, monitoring: { listen: '' } } })).map((f) => f.check))]).toEqual(['service', 'database', 'ports', 'disk space']);
  });
});

describe('grace', () => {
  test.each<[string, Partial<LrmFacts>, object, string]>([
    ['as the batch system gives', {}, {}, 'ok: 30 s, as the batch system gives'],
    ['shorter than given', { graceS: 60 }, { grace: 40 }, 'ok: pilots are told 40 s of the 60 s'],
    ['longer than given', {}, { grace: 60 }, 'fail: pilots are told 60 s (pilot.grace), but the batch system kills after 30 s\nset pilot.grace = 30'],
    ['unreadable', { graceS: null }, {}, 'warn: what the batch system leaves between SIGTERM and SIGKILL cannot be read; pilots are told 30 s'],
    ['very short', { graceS: 5 }, {}, 'warn: pilots have only 5 s'],
  ])('%s', async (_name, facts, pilot, said) => {
    expect(one(await look({ facts, config: { pilot } }), 'grace')).toContain(said);
  });
});

describe('epilogue', () => {
  const config = { pilot: { program: ['/opt/nimbus/workspace-pilot'], config_path: '/etc/nimbus/pilot.conf' } };
  const recover = '/opt/nimbus/workspace-pilot --recover --configpath /etc/nimbus/pilot.conf';

  test('missing fails, with the very lines', async () => {
    const text = one(await look({ facts: { epilogue: null }, config }), 'epilogue');
    expect(text).toMatch(/^fail: none is configured/);
    expect(text).toContain('  Epilog=/etc/slurm/nimbus-epilog');
    expect(text).toContain(`  exec ${recover}`);
  });

  test('each batch system has its own lines', async () => {
    for (const [flavour, said] of [['torque', 'mom_priv/epilogue'], ['openpbs', 'execjob_epilogue'], ['slurm-torque', 'Epilog=']] as const) {
      expect(one(await look({ facts: { lrm: 'pbs', flavour, epilogue: null }, config: { pilot: { ...config.pilot, lrm: 'pbs' } } }), 'epilogue')).toContain(said);
    }
  });

  test('configured, and unreadable', async () => {
    expect(one(await look({ config }), 'epilogue')).toBe(`ok: /etc/slurm/nimbus-epilog is configured; it must run "${recover}" as root on every node`);
    expect(one(await look({ facts: { epilogue: 'unknown' }, config }), 'epilogue')).toMatch(/^note: whether one is configured cannot be read/);
  });
});

describe('pilot program', () => {
  test('of this version', async () => {
    const file = program(`[ "$1" = --version ] && echo "workspace-pilot ${VERSION}"`);
    expect(one(await look({ config: { pilot: { program: [file] } } }), 'pilot program')).toMatch(/^ok: the pilot is version 1\.2\.3, as the service/);
  });

  test.each([
    ['echo workspace-pilot 1.2.2', 'fail: the pilot says "workspace-pilot 1.2.2", the service is version 1.2.3'],
    ['echo "no node here" >&2; exit 127', 'fail: '],
  ])('%s', async (script, said) => {
    expect(one(await look({ config: { pilot: { program: [program(script)] } } }), 'pilot program')).toContain(said);
  });

  test('not on this machine is no failure, and a name without a path is a warning', async () => {
    expect(one(await look({ config: { pilot: { program: [join(root, 'nowhere')] } } }), 'pilot program')).toMatch(/^note: .*nowhere cannot be run on this machine/);
    expect(one(await look({ config: { pilot: { program: ['nimbus-pilot-that-is-not'] } } }), 'pilot program')).toMatch(/^warn: pilot\.program = \["nimbus-pilot-that-is-not"\] is searched/);
  });
});

describe('notification address', () => {
  test('our listener, another program, nothing', async () => {
    const ours = await listener(401, { 'www-authenticate': `Digest realm="${REALM}", qop="auth-int", nonce="0"` });
    const other = await listener(200, {});
    const gone = `http://127.0.0.1:${await freePort('127.0.0.1')}`;
    const found = about(await look({ contacts: [ours, other, gone], facts: { nodes: 1 } }), 'notification address');
    expect(found).toEqual([
      `ok: ${ours} answers as the notification listener`,
      expect.stringMatching(`^fail: another program answers at ${other} \\(status 200\\)`),
      expect.stringMatching(`^fail: pilots are told ${gone}, but nothing answers there: nothing answers there`),
    ]);
  });

  test('loopback leads nowhere from other machines', async () => {
    for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
      expect(one(await look({ contacts: [`http://${host}:1`], serving: false }), 'notification address')).toContain(`warn: http://${host}:1 leads nowhere from other machines`);
    }
    expect(one(await look({ contacts: ['http://10.0.0.1:41999'], serving: false }), 'notification address')).toMatch(/^warn: pilots are told http:\/\/10\.0\.0\.1:41999; nothing listens there while the service is down[^]*run this again$/);
  });

  test('without a service the configuration says it', async () => {
    const contacts = async (pilot: object): Promise<readonly string[]> => (await batchSite(realClock, configSchema.parse({ pilot }), lrm())).contacts;
    expect(await contacts({ listen: '10.1.2.3:41999' })).toEqual(['http://10.1.2.3:41999']);
    expect(await contacts({ listen: '0.0.0.0:1', address: 'https://head.example.org:444' })).toEqual(['https://head.example.org:444']);
    expect(await contacts({ listen: '127.0.0.1:0' })).toEqual([]);
  });
});

describe('jobs of preemptible leases', () => {
  const low = (grace: number | string = 0): object => ({ pilot_spot: { partition: 'low', grace } });
  const spot = (more: object = {}): Partial<LrmFacts> => ({ spot: { nodes: 8, preemptMode: 'CANCEL', graceS: 120, ...more } });
  test.each<[string, Wrong, string]>([
    ['give way in time', { config: low('2m'), facts: spot() }, 'ok: jobs of low give way (CANCEL) within 120 s'],
    ['of a partition that is not there', { config: low(), facts: { spot: null } }, 'fail: low has no nodes, or does not exist: every spot instance is refused\nset pilot_spot.partition'],
    ['that nothing displaces', { config: low(), facts: spot({ preemptMode: 'OFF' }) }, 'warn: nothing displaces jobs of low: its PreemptMode is OFF\nset PreemptMode=CANCEL'],
    ['that stand still', { config: low(), facts: spot({ preemptMode: 'GANG,SUSPEND' }) }, 'warn: jobs of low are suspended (PreemptMode=GANG,SUSPEND)'],
    ['that are told more than they have', { config: low('3m'), facts: spot() }, 'fail: pilots are told 180 s (pilot_spot.grace), but displaced jobs of low have 150 s\nset pilot_spot.grace = 150'],
    ['that have more than they are told', { config: low(), facts: spot() }, 'note: displaced jobs of low have 120 s, of which their pilots are told 30 s\nset pilot_spot.grace = 120'],
    ['by a QOS', { config: { pilot_spot: { qos: 'spare' } } }, 'note: whether jobs of preemptible leases give way to others cannot be read'],
  ])('%s', async (_name, wrong, said) => {
    expect(one(await look(wrong), 'spot')).toContain(said);
  });

  test('are not looked at where there are none', async () => {
    expect(about(await look(), 'spot')).toEqual([]);
  });
});

describe('caps, partition, shared directory, transport', () => {
  test.each<[string, Wrong, string, string]>([
    ['no nodes', { facts: { nodes: 0 }, config: { slurm: { partition: 'grid' } } }, 'partition', 'fail: grid has no nodes, or does not exist\nset slurm.partition'],
    ['nodes unknown', { facts: { nodes: null } }, 'partition', 'warn: how many nodes the default partition or queue has cannot be read'],
    ['nodes', {}, 'partition', 'ok: the default partition or queue has 16 nodes'],
    ['no caps', {}, 'caps', 'warn: leases may take every node of the partition'],
    ['caps that cancel each other', { config: { pilot_caps: { nodes: 4, nodes_per_user: 8 } } }, 'caps', 'warn: pilot_caps.nodes_per_user = 8 is more than pilot_caps.nodes = 4'],
    ['a share of nothing', { config: { pilot_caps: { share: 0.01 } } }, 'caps', 'every lease is refused'],
    ['good caps', { config: { pilot_caps: { nodes: 8 } } }, 'caps', 'ok: the caps leave room'],
    ['several leases on nodes of unknown size', { config: { pilot_caps: { nodes: 8 }, pilot: { leases_per_node: 2 } } }, 'caps', 'pilot.node_memory_mb does not say'],
    ['a time-out below the poll', { config: { pilot_caps: { nodes: 8 }, pilot: { poll: '1h', pending_timeout: '1h' } } }, 'caps', 'warn: pilot.pending_timeout = 1h'],
    ['no shared directory', { config: { pilot: { lrm: 'pbs' } } }, 'shared directory', 'warn: pbsdsh does not hand credentials'],
    ['a shared directory that is not there', { config: { pilot: { lrm: 'pbs' }, pbs: { shared_directory: '/nowhere/shared' } } }, 'shared directory', 'fail: pbs.shared_directory = /nowhere/shared cannot be used: no such file or directory'],
    ['channels', {}, 'transport', 'ok: pilots open the channels themselves'],
    ['known_hosts that is not there', { config: { control: { transport: 'ssh' }, pilot: { ssh_known_hosts: '/nowhere/known' } } }, 'transport', 'fail: pilot.ssh_known_hosts = /nowhere/known cannot be read'],
    ['a login node without its key', { config: { login_node: { host: 'login1', user: 'ops' } } }, 'transport', 'fail: login_node.host_key is empty: login1 could be anyone'],
    ['what only a node tells', {}, 'nodes', '--reserveslot --memory 128 --duration 86460 --graceperiod 30 --slotid sl-000000000000 --evaluate'],
    ['sudo', {}, 'sudo', 'ACCOUNT ALL=(root) NOPASSWD: /usr/sbin/xl list'],
  ])('%s', async (_name, wrong, check, said) => {
    expect(one(await look(wrong), check)).toContain(said);
  });

  test('every failure and warning says how to mend it', async () => {
    const wrongs: Wrong[] = [
      { facts: { missing: 'x' } }, { facts: { nodes: 0, graceS: 5, epilogue: null } }, { config: { pilot_spot: { partition: 'low' } }, facts: { spot: null } }, { config: { pilot_spot: { partition: 'low', grace: 600 } }, facts: { spot: { nodes: 1, preemptMode: 'CANCEL', graceS: 1 } } }, { config: { pilot: { lrm: 'pbs', grace: 600 } }, facts: { graceS: null, nodes: null } },
      { contacts: ['https://127.0.0.1:1'], serving: true }, { config: { pilot: { program: ['/bin/false'] } } },
    ];
    for (const wrong of wrongs) {
      const found = await look(wrong);
      for (const f of found.filter((x) => (x.level === 'fail' || x.level === 'warn') && x.check !== 'database')) expect(f.mend, `${f.check}: ${f.what}`).not.toEqual([]);
    }
  });
});

test('facts that do not come are a sentence, not a failure of the doctor', async () => {
  const config: Config = configSchema.parse({});
  expect((await batchSite(realClock, config, { ...lrm(), facts: () => Promise.reject(new Error('qstat cannot be run')) })).facts).toEqual({ missing: 'qstat cannot be run' });
});
