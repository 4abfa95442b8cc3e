/**
 * From a request to N running VMs on nodes of a real Slurm, N = 1, 4, 16, beside what the parts cost: (a) sbatch to N running
 * `sh`; (b) sbatch to N idle Node processes; (c) N SSH connections, each of which starts an idle Node process; (d) the request
 * to N running simulated VMs. Target: d ≤ b + c + 500 ms, and at most 40 ms of the service's own CPU per node. Then how the
 * pilots' own part of it grows with N. Medians of 7, all in one run. Slurm, sshd, service and nodes share this machine.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EC2Client, RunInstancesCommand } from '@aws-sdk/client-ec2';
import { createAdminClient } from '../src/cli/client.ts';
import { startPrivateSlurm, type PrivateSlurm } from '../src/demo/slurm/index.ts';
import type { LeaseView } from '../src/manager/types.ts';
import { sshdSet } from '../test/fixtures/sshd.ts';
import { connectPrivate } from '../test/support/contents.ts';
import { startServe } from '../test/support/serve.ts';
import { cpuMs, median } from './support/service.ts';

const SIZES = [1, 4, 16];
const ROUNDS = 7;
const CPU_PER_NODE_MS = 40;
const root = mkdtempSync(join(tmpdir(), 'bp-'));
const PILOT = join(process.cwd(), 'dist', 'workspace-pilot.cjs');

/** Counts one-byte reports of processes that run; `idle` is how each of them is written. */
const beacon = createServer();
beacon.listen(0, '127.0.0.1');
await once(beacon, 'listening');
const port = (beacon.address() as AddressInfo).port;
const idleNode = `require("net").connect(${port},"127.0.0.1").on("error",()=>{});setTimeout(()=>{},60000)`;
writeFileSync(join(root, 'idle.cjs'), idleNode);

function reports(count: number): Promise<void> {
  return new Promise((resolve) => {
    let left = count;
    const onConnection = (): void => {
      left -= 1;
      if (left > 0) return;
      beacon.off('connection', onConnection);
      resolve();
    };
    beacon.on('connection', onConnection);
  });
}

const slurm = await startPrivateSlurm({ dir: join(root, 's'), nodes: 16, killWaitS: 5 });

async function emptyQueue(s: PrivateSlurm): Promise<void> {
  await s.run(['scancel', '--signal=KILL', '--full', '--user', String(process.getuid?.() ?? 0)]);
  await s.run(['scancel', '--user', String(process.getuid?.() ?? 0)]);
  for (;;) {
    const [jobs, nodes] = await Promise.all([s.run(['squeue', '--noheader']), s.run(['sinfo', '--noheader', '--format=%t'])]);
    if (jobs.stdout.trim() === '' && nodes.stdout.trim() === 'idle') return;
  }
}

/** (a), (b): sbatch until each task of the job's step has reported. */
async function job(n: number, command: string): Promise<number> {
  const running = reports(n);
  const began = performance.now();
  await slurm.run(['sbatch', '--parsable', '--exclusive', '--mem=0', `--nodes=${n}`, '--output=/dev/null', '--time=5'], `#!/bin/sh\nexec srun --nodes=${n} --ntasks-per-node=1 ${command}\n`);
  await running;
  const took = performance.now() - began;
  await emptyQueue(slurm);
  return took;
}

const set = sshdSet();
const sshd = await set.make({ config: ['MaxStartups 100', 'MaxSessions 100'] });
const key = set.key('bench');
writeFileSync(sshd.authorizedKeys, `${key.publicLine}\n`);
writeFileSync(join(root, 'known_hosts'), `[${sshd.host}]:${sshd.port} ${sshd.hostKey}\n`);
const sshArgs = ['-i', key.privateFile, '-p', String(sshd.port), '-o', `UserKnownHostsFile=${root}/known_hosts`, '-o', 'BatchMode=yes', '-F', '/dev/null', `${sshd.user}@${sshd.host}`];
/** (c) */
async function connections(n: number): Promise<number> {
  const running = reports(n);
  const began = performance.now();
  const clients = Array.from({ length: n }, () => spawn('ssh', [...sshArgs, process.execPath, join(root, 'idle.cjs')], { stdio: 'ignore' }));
  await running;
  const took = performance.now() - began;
  for (const c of clients) c.kill('SIGKILL');
  for (const c of clients) if (c.exitCode === null && c.signalCode === null) await once(c, 'exit');
  spawn('pkill', ['-KILL', '-f', join(root, 'idle.cjs')]);
  return took;
}

writeFileSync(join(root, 'pilot.conf'), `[memory]\nmechanism: none\n[systempaths]\nsudo: /usr/bin/sudo\n[other]\nearlywaitratio: 0.5\nlockfile: ${root}/lock-%h\nstatedir: ${root}/state\ndriver: simulated\n`);
const serve = await startServe(
  `[scheduler]\nmode = "pilot"\n[pilot]\nprogram = ["${process.execPath}", "${PILOT}"]\nconfig_path = "${root}/pilot.conf"\nlisten = "127.0.0.1:0"\n[simulated]\nstart_ms = 0\nstop_ms = 0\n`,
  join(root), ['env', ...Object.entries(slurm.env).map(([k, v]) => `${k}=${v}`)],
);
const database = await connectPrivate(serve.dataDir);
const admin = createAdminClient(serve.dataDir);
const keys = await serve.user('bench');
const client = new EC2Client({ endpoint: serve.ec2, region: 'nimbus', credentials: { accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey } });

interface Lease { readonly tookMs: number; readonly cpu: number; readonly phases: ReadonlyArray<Readonly<Record<string, number | undefined>>> }

/** (d) */
async function lease(n: number): Promise<Lease> {
  const cpu = cpuMs(serve.pid);
  const began = Date.now();
  const { Instances } = await client.send(new RunInstancesCommand({ ImageId: 'nimbus-guest', MinCount: n, MaxCount: n }));
  const ids = (Instances ?? []).map((i) => i.InstanceId);
  // Looked at in the database, so that looking is no work of the service's.
  const running = async (): Promise<number> => Number((await database.query<{ n: string }>('SELECT count(*) AS n FROM lease WHERE id = ANY($1) AND running_at IS NOT NULL', [ids])).rows[0]?.n);
  while ((await running()) < n) await new Promise((resolve) => setTimeout(resolve, 50));
  const used = cpuMs(serve.pid) - cpu;
  const leases = (await admin.get<LeaseView[]>('/v1/leases')).filter((l) => ids.includes(l.id));
  const tookMs = Math.max(...leases.map((l) => l.phases.recorded ?? l.runningAt ?? 0)) - began;
  for (const l of leases) await admin.post(`/v1/leases/${l.id}/destroy`, {});
  for (;;) {
    const live = await admin.get<unknown[]>('/v1/slots');
    if (live.length === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  await emptyQueue(slurm);
  return { tookMs, cpu: used / n, phases: leases.map((l) => l.phases as Record<string, number | undefined>) };
}

try {
  const pilotMs: Array<[number, number, number]> = [];
  for (const n of SIZES) {
    const [a, b, c, d]: [number[], number[], number[], Lease[]] = [[], [], [], []];
    for (let round = 0; round < ROUNDS; round += 1) {
      a.push(await job(n, `sh -c 'exec 3<>/dev/tcp/127.0.0.1/${port}; sleep 60'`.replace('sh -c', 'bash -c')));
      b.push(await job(n, `${process.execPath} ${join(root, 'idle.cjs')}`));
      c.push(await connections(n));
      d.push(await lease(n));
    }
    const [ma, mb, mc, md] = [median(a), median(b), median(c), median(d.map((x) => x.tookMs))];
    const cpu = median(d.map((x) => x.cpu));
    const good = md <= mb + mc + 500 && cpu <= CPU_PER_NODE_MS;
    console.log(`pilots: N = ${n}: sh ${ma.toFixed(0)} ms, Node ${mb.toFixed(0)} ms, ssh ${mc.toFixed(0)} ms, leases ${md.toFixed(0)} ms = ${(md / (mb + mc)).toFixed(2)} of (Node + ssh), allowed ${(mb + mc + 500).toFixed(0)} ms; service ${cpu.toFixed(1)} ms CPU per node (at most ${CPU_PER_NODE_MS})`);
    if (!good) process.exitCode = 1;
    const span = (from: string, to: string): number[] => d.flatMap((x) => x.phases.map((p) => (p[to] ?? NaN) - (p[from] ?? NaN)).filter(Number.isFinite));
    pilotMs.push([n, median(span('pilot-start', 'notify')), median(span('submit-begun', 'pilot-start'))]);
  }
  console.log('\npilots: how a pilot’s own time (start to ready to report) grows with N, all nodes on this machine');
  const most = Math.max(...pilotMs.map(([, ms]) => ms));
  for (const [n, ms, torque] of pilotMs) console.log(`  N = ${String(n).padStart(2)}  ${'#'.repeat(Math.round((ms / most) * 50)).padEnd(50)} pilot ${ms.toFixed(0)} ms, submission to pilot’s start ${torque.toFixed(0)} ms`);
} finally {
  client.destroy();
  await database.end();
  await serve.stop({ keep: true });
  await set.close();
  await slurm.stop();
  beacon.close();
  rmSync(root, { recursive: true, force: true });
}
