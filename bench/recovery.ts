/**
 * Recovery: a service with 10,000 live leases on 200 nodes with simulated VMs behind SSH is killed with SIGKILL, once with its
 * PostgreSQL left alive and once with that killed as well, and started again. From the start of the process to its ready
 * file, which stands for: every node has said what it has, and all of it is compared. At most 5 s.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServe, type Serve } from '../test/support/serve.ts';
import { createSignedClient } from './support/signed.ts';
import { cpuMs, median } from './support/service.ts';
import { serveIfChild, startSshNodes } from './support/ssh-nodes.ts';

const [NODES, LEASES, GROUP, ROUNDS] = [200, Number(process.argv[2] ?? 10_000), 100, 3];
const TARGET_S = 5;
const TOML = 'local_nodes = []\n[lease]\nmax_per_user = 100000\n[types."m1.small"]\nmemory_mb = 1\ncores = 1\n';

await serveIfChild();

interface NodeLine { readonly reachable: boolean; readonly leases: number }

function addNode(socket: string, name: string, port: number, hostKey: string): Promise<void> {
  const room = Math.ceil(LEASES / NODES);
  const body = JSON.stringify({ name, memoryMb: room, cores: room, access: { transport: 'ssh', host: '127.0.0.1', port, user: 'nimbus', hostKey } });
  return new Promise((resolve, reject) => {
    const req = request({ socketPath: socket, method: 'POST', path: '/v1/nodes', headers: { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) } }, (res) => {
      res.resume().on('end', () => (res.statusCode === 200 ? resolve() : reject(new Error(`node ${name} was refused: ${res.statusCode}`))));
    });
    req.on('error', reject);
    req.end(body);
  });
}

async function settled(serve: Serve): Promise<string> {
  const lines = await serve.admin<NodeLine[]>('node', 'list');
  const states = new Map<string, number>();
  for (const l of await serve.admin<Array<{ state: string }>>('lease', 'list')) states.set(l.state, (states.get(l.state) ?? 0) + 1);
  return `${lines.filter((n) => n.reachable).length} of ${lines.length} nodes there, leases ${[...states].map(([s, n]) => `${n} ${s}`).join(', ')}`;
}

const postgres = (serve: Serve): number => Number(readFileSync(join(serve.dataDir, 'pg/postmaster.pid'), 'utf8').split('\n')[0]);

const root = mkdtempSync(join(tmpdir(), 'bench-recovery-'));
mkdirSync(join(root, 'service'));
const nodes = await startSshNodes(root, NODES);
let serve = await startServe(TOML, join(root, 'service'));
try {
  for (const [i, port] of nodes.ports.entries()) await addNode(join(serve.dataDir, 'run/admin.sock'), `n${i + 1}`, port, nodes.hostKey);
  while ((await serve.admin<NodeLine[]>('node', 'list')).some((n) => !n.reachable)) await new Promise((resolve) => setTimeout(resolve, 200));
  const client = createSignedClient(serve.ec2, await serve.user('bench'), 8);
  for (let made = 0; made < LEASES; made += GROUP) {
    const { status, body } = await client.call({ Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: String(GROUP), MaxCount: String(GROUP), ClientToken: `g-${made}` });
    if (status !== 200) throw new Error(body);
  }
  client.close();
  while ((await serve.admin<Array<{ state: string }>>('lease', 'list')).some((l) => l.state !== 'Running')) await new Promise((resolve) => setTimeout(resolve, 500));
  for (const [what, withDatabase] of [['service', false], ['service and PostgreSQL', true]] as const) {
    const [seconds, cpu]: [number[], number[]] = [[], []];
    for (let i = 0; i < ROUNDS; i += 1) {
      const pid = postgres(serve);
      await serve.kill();
      if (withDatabase) process.kill(pid, 'SIGKILL');
      const begun = performance.now();
      serve = await startServe(TOML, join(root, 'service'));
      seconds.push((performance.now() - begun) / 1000);
      cpu.push(cpuMs(serve.pid) / 1000);
    }
    const middle = median(seconds);
    console.log(`${what.padEnd(24)} ready ${middle.toFixed(2)} s after its start (${seconds.map((s) => s.toFixed(2)).join(', ')}; target ${TARGET_S} s; ${median(cpu).toFixed(1)} s of its CPU); ${await settled(serve)}`);
    if (middle > TARGET_S) process.exitCode = 1;
  }
} finally {
  await serve.stop();
  nodes.process.kill();
  rmSync(root, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}
