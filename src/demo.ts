/**
 * `npm run demo`: the whole story on this machine. Starts the service with a private PostgreSQL and two VMM nodes in a
 * directory of its own, leases a group of two VMs through the AWS SDK, shows what happens, ends them, prints the usage
 * records, and leaves nothing behind.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  CreateKeyPairCommand, DescribeInstancesCommand, EC2Client, GetConsoleOutputCommand, RunInstancesCommand, TerminateInstancesCommand,
  type Instance,
} from '@aws-sdk/client-ec2';
import { createAdminClient, type AdminClient } from './cli/client.ts';
import { breakdown } from './lease/phases.ts';
import type { EventView, LeaseView } from './manager/types.ts';
import { sleep } from './platform/deadline.ts';
import { realClock } from './platform/real.ts';

const CONFIG = `[ec2]
listen = "127.0.0.1:0"

[[local_nodes]]
name = "node-a"
memory_mb = 1024
cores = 4

[[local_nodes]]
name = "node-b"
memory_mb = 1024
cores = 4

[scheduler]
strategy = "round-robin"
`;
const READY_MS = 60_000;
const STATE_MS = 60_000;
const END_MS = 15_000;
const POLL_MS = 50;

/** Ctrl-C, a signal, or a reader that went away: everything is taken down in order, as at the end. */
class Interrupted extends Error {}
let interrupted = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => { interrupted = true; });
process.stdout.on('error', () => { interrupted = true; });

const startedAt = realClock.monotonic();
const seconds = (): string => `${((realClock.monotonic() - startedAt) / 1000).toFixed(2).padStart(6)} s`;
const say = (text: string): void => console.log(text);
const step = (text: string): void => say(`${seconds()}  ${text}`);

async function until<T>(what: string, ms: number, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const deadline = realClock.monotonic() + ms;
  for (;;) {
    if (interrupted) throw new Interrupted();
    const found = await look();
    if (found !== undefined) return found;
    if (realClock.monotonic() > deadline) throw new Error(`${what} did not happen within ${ms / 1000} s`);
    await sleep(realClock, POLL_MS);
  }
}

interface Site {
  readonly ec2: string;
  readonly dataDir: string;
}

async function startSite(root: string, onChild: (child: ChildProcess) => void): Promise<Site> {
  const [config, dataDir, readyFile] = [join(root, 'nimbus.toml'), join(root, 'data'), join(root, 'ready.json')];
  writeFileSync(config, `${CONFIG}[log]\nfile = "${join(root, 'service.log')}"\n`);
  const program = fileURLToPath(new URL('nimbus.mjs', import.meta.url));
  const child = spawn(process.execPath, [program, 'serve', '--config', config, '--data', dataDir, '--ready-file', readyFile], { stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  onChild(child);
  const ready = await until('the service’s start', READY_MS, () => {
    if (child.exitCode !== null) throw new Error(`the service ended with exit code ${child.exitCode}`);
    return existsSync(readyFile) ? (JSON.parse(readFileSync(readyFile, 'utf8')) as { ec2: string; version: string }) : undefined;
  });
  step(`service ${ready.version} answers at ${ready.ec2} (pid ${child.pid ?? '?'})`);
  return { ec2: ready.ec2, dataDir };
}

/** Prints events of the leases as they are written, until `done` says so. */
async function follow(admin: AdminClient, ids: readonly string[], done: (leases: readonly LeaseView[]) => boolean, shown: Map<string, number>): Promise<readonly LeaseView[]> {
  return until('the change of state', STATE_MS, async () => {
    const shows = await Promise.all(ids.map((id) => admin.get<LeaseView & { events: EventView[] }>(`/v1/leases/${id}`)));
    for (const lease of shows) {
      for (const e of lease.events.filter((x) => x.seq > (shown.get(lease.id) ?? 0))) {
        step(`  ${lease.id}  ${(e.from ?? '').padEnd(12)} → ${e.to.padEnd(12)} ${e.who}${e.why === '' ? '' : `: ${e.why}`}`);
        shown.set(lease.id, e.seq);
      }
    }
    return done(shows) ? shows : undefined;
  });
}

async function sayNodes(admin: AdminClient): Promise<boolean> {
  const nodes = await admin.get<Array<{ name: string; driver: string | null; memoryMb: number; cores: number }>>('/v1/nodes');
  for (const n of nodes) step(`VMM node ${n.name}: ${n.memoryMb} MiB, ${n.cores} cores, ${n.driver ?? 'unknown'} VMs`);
  const real = nodes.every((n) => n.driver === 'qemu');
  if (!real) step('QEMU is not on this machine, so the VMs are simulated; install qemu-system-x86 and qemu-utils for real ones');
  return real;
}

function sayAddresses(instances: readonly Instance[], real: boolean): void {
  for (const i of instances) {
    const ssh = i.Tags?.find((t) => t.Key === 'nimbus:ssh')?.Value;
    const at = i.PublicIpAddress ?? (real ? 'no address' : 'no address (a simulated VM cannot be reached)');
    step(`  ${i.InstanceId}  ${at}${ssh === undefined ? '' : `, guest’s SSH port: ${ssh}`}`);
  }
}

async function sayConsoles(client: EC2Client, ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const text = await until('the guest’s banner', STATE_MS, async () => {
      const { Output } = await client.send(new GetConsoleOutputCommand({ InstanceId: id }));
      const console = Buffer.from(Output ?? '', 'base64').toString('latin1');
      return console.includes(id) ? console : undefined;
    });
    const lines = text.split(/\r?\n/).filter((l) => l.includes('nimbus'));
    for (const line of lines) step(`  ${id}  | ${line.replace(/[^\x20-\x7e]/g, '')}`);
  }
}

async function story(site: Site, admin: AdminClient): Promise<void> {
  const real = await sayNodes(admin);
  const user = await admin.post<{ accessKey: string; secretKey: string }>('/v1/users', { name: 'demo' });
  step(`user demo has access key ${user.accessKey}`);
  const client = new EC2Client({ endpoint: site.ec2, region: 'nimbus', credentials: { accessKeyId: user.accessKey, secretAccessKey: user.secretKey } });
  await client.send(new CreateKeyPairCommand({ KeyName: 'demo', KeyType: 'ed25519' }));
  step('RunInstances: a group of two VMs for ten minutes');
  const run = await client.send(new RunInstancesCommand({
    ImageId: 'nimbus-guest', InstanceType: 'm1.small', MinCount: 2, MaxCount: 2, KeyName: 'demo',
    TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'nimbus:duration', Value: '10m' }, { Key: 'Name', Value: 'demo' }] }],
  }));
  const ids = (run.Instances ?? []).map((i) => i.InstanceId ?? '');
  const shown = new Map<string, number>();
  const running = await follow(admin, ids, (leases) => leases.every((l) => l.state === 'Running'), shown);
  step('addresses');
  const described = await client.send(new DescribeInstancesCommand({ InstanceIds: ids }));
  sayAddresses((described.Reservations ?? []).flatMap((r) => r.Instances ?? []), real);
  step('console output of the guests');
  await sayConsoles(client, ids);
  step('where the time went, ms');
  for (const lease of running) {
    step(`  ${lease.id} on ${lease.node ?? '?'}: ${breakdown(lease.phases).map((b) => `${b.name} ${Math.round(b.ms)}`).join(', ')}`);
  }
  step('TerminateInstances');
  await client.send(new TerminateInstancesCommand({ InstanceIds: ids }));
  await follow(admin, ids, (leases) => leases.every((l) => l.state === 'Terminated'), shown);
  step('usage records');
  for (const u of await admin.get<Array<{ lease: string; user: string; chargedMinutes: number; intervals: Array<{ node: string; start: number; stop: number | null }> }>>('/v1/usage')) {
    const ms = u.intervals.reduce((sum, i) => sum + ((i.stop ?? i.start) - i.start), 0);
    step(`  ${u.lease}  ${u.user}  on ${u.intervals.map((i) => i.node).join(', ')} for ${(ms / 1000).toFixed(1)} s, charged ${u.chargedMinutes} min`);
  }
  client.destroy();
}

/** Ends what runs, also when the story broke off: VMs would outlive their service. */
async function takeDown(child: ChildProcess, admin: AdminClient): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const live = await admin.get<LeaseView[]>('/v1/leases', { live: 'true' }).catch(() => []);
    for (const lease of live) await admin.post(`/v1/leases/${lease.id}/destroy`, { why: 'the demo ends' });
    const deadline = realClock.monotonic() + END_MS;
    while (live.length > 0 && realClock.monotonic() < deadline) {
      if ((await admin.get<LeaseView[]>('/v1/leases', { live: 'true' })).length === 0) break;
      await sleep(realClock, POLL_MS);
    }
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
  step('service stopped');
}

async function demo(root: string): Promise<void> {
  let child: ChildProcess | undefined;
  const admin = createAdminClient(join(root, 'data'));
  try {
    await story(await startSite(root, (started) => { child = started; }), admin);
  } finally {
    if (child !== undefined) await takeDown(child, admin);
  }
}

// The SDK says on every start that its versions of 2027 will want a newer Node; the lockfile holds one that does not.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] = 'true';
const root = mkdtempSync(join(tmpdir(), 'nimbus-demo-'));
try {
  await demo(root);
  rmSync(root, { recursive: true, force: true });
  step('nothing is left behind');
} catch (e) {
  if (e instanceof Interrupted) {
    rmSync(root, { recursive: true, force: true });
    process.exit(130);
  }
  console.error(`demo: ${(e as Error).message}\nIts files are kept in ${root}; service.log there says more.`);
  process.exitCode = 1;
}
