/**
 * Invoke: what it costs to have N nodes do something. One group operation over warm channels (a request to each of N real
 * agents behind N sshds on loopback, until the last answer) against N parallel `ssh node true`, a new connection each.
 * Medians of 7, both sides in one run.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createControlClient } from '../src/control/client/client.ts';
import { createTransports } from '../src/control/client/transports.ts';
import { operatingKey } from '../src/control/ssh/keys.ts';
import { operateLine } from '../src/control/ssh/authorized-keys.ts';
import type { ControlClient, NodeRef } from '../src/control/types.ts';
import type { Context, Log } from '../src/platform/context.ts';
import { realClock, realRandom } from '../src/platform/real.ts';
import { program, sshdSet, type Sshd } from '../test/fixtures/sshd.ts';
import { median } from './support/service.ts';

const SIZES = [1, 16, 64];
const ROUNDS = 7;
const TARGET = 50;

const log: Log = { debug() {}, info() {}, warn: console.error, error: console.error, debugging: false, child: () => log };
const ctx: Context = { clock: realClock, random: realRandom, log };
const agentProgram = join(process.cwd(), 'dist/workspace-control.cjs');
const set = sshdSet();
const operating = operatingKey(join(set.dir, 'keys'));
const admin = set.key('admin');
const knownHosts = join(set.dir, 'known_hosts');

async function makeNodes(count: number): Promise<Sshd[]> {
  const nodes: Sshd[] = [];
  for (let i = 0; i < count; i += 1) {
    const node = await set.make();
    const command = [process.execPath, agentProgram, 'serve', '--state', join(node.home, 'control'), '--driver', 'simulated'];
    writeFileSync(node.authorizedKeys, `${admin.publicLine}\n${operateLine({ command, publicLine: operating.publicLine })}\n`);
    nodes.push(node);
  }
  writeFileSync(knownHosts, nodes.map((n) => `[${n.host}]:${n.port} ${n.hostKey}\n`).join(''));
  return nodes;
}

async function warmClient(nodes: readonly Sshd[]): Promise<ControlClient> {
  const refs = nodes.map((n, id): NodeRef => ({ id, name: `node${id}`, access: { transport: 'ssh', host: n.host, port: n.port, user: n.user, hostKey: n.hostKey } }));
  const client = createControlClient(ctx, {
    transport: createTransports(ctx, { agentProgram, privateKeyFile: operating.privateFile }),
    imageSource: () => { throw new Error('no images here'); },
    silenceMs: 120_000, reconnectMaxMs: 1_000, connectMs: 120_000, helloMs: 120_000,
  });
  const up = new Promise<void>((resolve) => {
    client.onState(() => { if (refs.every((r) => client.state(r.id).up)) resolve(); });
  });
  client.setNodes(refs);
  await up;
  return client;
}

let ids = 0;
async function groupOperation(client: ControlClient, count: number): Promise<number> {
  const calls = Array.from({ length: count }, (_, nodeId) => ({ nodeId, requests: [{ op: 'list' as const, id: `bench-${++ids}`, deadlineMs: 60_000 }] }));
  let good = 0;
  const started = performance.now();
  await client.call(calls, { onAnswer: (a) => { if ('done' in a && a.done.ok) good += 1; } });
  const ms = performance.now() - started;
  if (good !== count) throw new Error(`${good} of ${count} nodes answered`);
  return ms;
}

async function freshConnections(nodes: readonly Sshd[]): Promise<number> {
  const started = performance.now();
  await Promise.all(nodes.map(async (n) => {
    const args = ['-F', 'none', '-n', '-T', '-i', admin.privateFile, '-o', 'BatchMode=yes', '-o', 'IdentitiesOnly=yes', '-o', `UserKnownHostsFile="${knownHosts}"`, '-p', String(n.port), `${n.user}@${n.host}`, 'true'];
    const child = spawn(program('ssh'), args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const [code] = (await once(child, 'exit')) as [number];
    if (code !== 0) throw new Error(`ssh ended with ${code}`);
  }));
  return performance.now() - started;
}

let missed = false;
const nodes = await makeNodes(Math.max(...SIZES));
const client = await warmClient(nodes);
try {
  console.log('nodes   group operation   parallel ssh   ratio');
  for (const size of SIZES) {
    const [ours, theirs]: [number[], number[]] = [[], []];
    for (let i = 0; i < 20; i += 1) await groupOperation(client, size);
    for (let i = 0; i < ROUNDS; i += 1) {
      ours.push(await groupOperation(client, size));
      theirs.push(await freshConnections(nodes.slice(0, size)));
    }
    const [a, b] = [median(ours), median(theirs)];
    console.log(`${String(size).padStart(5)} ${a.toFixed(2).padStart(14)} ms ${b.toFixed(0).padStart(11)} ms   1/${(b / a).toFixed(0)}`);
    missed = size === Math.max(...SIZES) && b / a < TARGET;
  }
  console.log(`target: at most 1/${TARGET} at ${Math.max(...SIZES)} nodes: ${missed ? 'MISSED' : 'met'}`);
} finally {
  await client.close();
  await set.close();
}
if (missed) process.exitCode = 1;
