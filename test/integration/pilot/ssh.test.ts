/** `control.transport = "ssh"` on a real Slurm: a real sshd on each node, whose key for the service may only join a pilot's agent. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EC2Client, RunInstancesCommand } from '@aws-sdk/client-ec2';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NodeView } from '../../../src/manager/admin-types.ts';
import { sshdSet, type Sshd, type SshdSet } from '../../fixtures/sshd.ts';
import { hasPart } from '../../parts.ts';
import { freePort } from '../../support/ports.ts';
import { eventually } from '../../support/slurm.ts';
import { PILOT, startCluster, type Cluster, type ClusterOptions } from './cluster.ts';

const NODES = 2;
const ECDSA = '/etc/ssh/ssh_host_ecdsa_key';
let set: SshdSet;
let sshds: Sshd[];
let c: Cluster | undefined;
beforeEach(() => { set = sshdSet(); });
afterEach(async () => {
  await c?.stop();
  c = undefined;
  await set.close();
});
const here = (): Cluster => {
  if (c === undefined) throw new Error('no cluster was started');
  return c;
};

/** A site whose nodes are reached at 127.0.1.1, 127.0.1.2, …; `known` makes the site's known_hosts of their real keys. */
async function startSite(known: ((sshd: Sshd, at: number) => string) | null, options: { sshd?: readonly string[]; toml?: ClusterOptions; startsWithinS?: number } = {}): Promise<void> {
  const port = await freePort('127.0.1.1');
  sshds = [];
  for (let n = 1; n <= NODES; n += 1) sshds.push(await set.make({ host: `127.0.1.${n}`, port, config: options.sshd ?? [] }));
  const file = join(set.dir, 'known_hosts');
  writeFileSync(file, sshds.map((s, at) => (known === null ? '' : `[${s.host}]:${port} ${known(s, at)}\n`)).join(''));
  c = await startCluster({
    slurm: { nodes: NODES }, toml: `[control]\ntransport = "ssh"\nreconnect_max_ms = 500\n${options.startsWithinS === undefined ? '' : `start_deadline_ms = ${options.startsWithinS}000\n`}`,
    pilot: `ssh_port = ${port}\nssh_address = "127.0.1.{number}"\n${known === null ? '' : `ssh_known_hosts = ${JSON.stringify(file)}\n`}`, ...options.toml,
  });
  const [, conf = ''] = /^config_path = "(.*)"$/m.exec(c.toml) ?? [];
  const key = readFileSync(join(c.serve.dataDir, 'keys', 'operate_ed25519.pub'), 'utf8').trim();
  for (const s of sshds) writeFileSync(s.authorizedKeys, `restrict,command="${process.execPath} ${PILOT} control --configpath ${conf}" ${key}\n`, { mode: 0o600 });
}
async function lease(count: number): Promise<string[]> {
  const { serve } = here();
  const { accessKey: accessKeyId, secretKey: secretAccessKey } = await serve.user('ada');
  const client = new EC2Client({ endpoint: serve.ec2, region: 'nimbus', credentials: { accessKeyId, secretAccessKey } });
  try {
    const { Instances } = await client.send(new RunInstancesCommand({ ImageId: 'nimbus-guest', MinCount: count, MaxCount: count }));
    return (Instances ?? []).map((i) => i.InstanceId ?? '');
  } finally {
    client.destroy();
  }
}
const nodes = (): Promise<NodeView[]> => here().serve.admin<NodeView[]>('node', 'list');

describe.skipIf(!hasPart('slurm') || !hasPart('sshd'))('agents on borrowed nodes, over SSH', () => {
  it('a group of two is leased, used and ended; an sshd that is killed meanwhile is reached again', { timeout: 480_000 }, async () => {
    await startSite((s) => s.hostKey, { toml: { driver: hasPart('qemu') ? 'qemu' : 'simulated' } });
    const ids = await lease(2);
    await here().all('Running');
    expect((await nodes()).map((n) => [n.reachable, n.address.replace(/^.*@/, '').replace(/:\d+$/, '')]).sort()).toEqual([[true, '127.0.1.1'], [true, '127.0.1.2']]);

    const [first] = sshds;
    await first?.stop();
    await eventually('a node that is not reached', async () => (await nodes()).find((n) => !n.reachable && (n.lastError ?? '').includes('nothing listens on the port')));
    await first?.start();
    await eventually('both nodes reached', async () => ((await nodes()).every((n) => n.reachable) ? true : undefined));
    expect((await here().leases()).map((l) => l.state)).toEqual(['Running', 'Running']);
    for (const id of ids) await expect.poll(() => here().serve.admin<{ text: string }>('lease', 'console', id).then((r) => JSON.stringify(r)), { timeout: 60_000 }).toContain(id);

    await here().serve.admin('lease', 'destroy', ...ids);
    await here().all('Terminated');
    await here().clean();
    expect((await here().slots()).map((s) => s.nodes.map((n) => n.state))).toEqual([['Returned', 'Returned']]);
  });

  it('a node that shows another key than the site knows is not spoken to: its lease says so, and its slot can be given back', { timeout: 360_000 }, async () => {
    const wrong = set.key('other').publicLine;
    // The other node's lease runs before that is over.
    await startSite((s, at) => (at === 0 ? wrong : s.hostKey), { startsWithinS: 30 });
    await lease(2);
    const refused = await eventually('a refused node', async () => (await nodes()).find((n) => (n.lastError ?? '').includes('the host key is not known')));
    expect(refused.lastError).toMatch(/127\.0\.1\.1:\d+: the host key is not known: known SHA256:.* shown SHA256:.*pilot\.ssh_known_hosts/);
    const failed = await eventually('the end of its start', async () => (await here().leases()).find((l) => l.state === 'Corrupted'), 120_000);
    expect([failed.node, failed.reasonCode, failed.reason]).toEqual([refused.name, 'Server.NodeUnreachable', expect.stringContaining('the host key is not known')]);
    expect((await here().leases()).filter((l) => l.state === 'Running'), 'the other node’s lease').toHaveLength(1);
    await here().serve.admin('slot', 'kill', failed.slot ?? '');
    await here().all('Terminated');
    await here().clean();
  });

  it('a node that the site’s known_hosts has not: nobody is let onto it, and the whole group says why', { timeout: 360_000 }, async () => {
    await startSite((s, at) => (at === 0 ? `${s.hostKey}` : '# nothing'));
    await lease(2);
    const why = 'the agent on node2 cannot be reached over SSH: no host key of 127.0.1.2 is known; add it to pilot.ssh_known_hosts';
    for (const l of await here().all('Terminated')) expect([l.reasonCode, l.reason]).toEqual(['Server.NodeUnreachable', expect.stringContaining(why)]);
    await here().clean();
  });

  it.skipIf(!hasPart('root') || !existsSync(ECDSA))('without known_hosts the node’s own keys count, as its pilot told them', { timeout: 360_000 }, async () => {
    await startSite(null, { sshd: [`HostKey ${ECDSA}`, 'HostKeyAlgorithms ecdsa-sha2-nistp256'] });
    const ids = await lease(1);
    await here().all('Running');
    await here().serve.admin('lease', 'destroy', ...ids);
    await here().all('Terminated');
    await here().clean();
  });
});
