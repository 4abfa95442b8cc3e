/** Leases on nodes of a real Slurm, through the AWS command line; what happens when something is killed. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { hasPart } from '../../parts.ts';
import { ask, eventually } from '../../support/slurm.ts';
import { startCluster, type Cluster } from './cluster.ts';

const run = promisify(execFile);
let c: Cluster | undefined;
afterEach(async () => { await c?.stop(); c = undefined; });

const here = (): Cluster => {
  if (c === undefined) throw new Error('no cluster was started');
  return c;
};

async function aws(...args: string[]): Promise<string> {
  const { serve } = here();
  keys ??= await serve.user('ada');
  const env = { PATH: '/usr/bin:/bin', HOME: serve.root, AWS_ACCESS_KEY_ID: keys.accessKey, AWS_SECRET_ACCESS_KEY: keys.secretKey, AWS_DEFAULT_REGION: 'nimbus', AWS_EC2_METADATA_DISABLED: 'true' };
  return (await run('/usr/bin/aws', ['ec2', ...args, '--endpoint-url', serve.ec2, '--output', 'text'], { env, timeout: 240_000 })).stdout.trim();
}
let keys: { accessKey: string; secretKey: string } | undefined;
afterEach(() => { keys = undefined; });

const runInstances = async (count: number): Promise<string[]> =>
  (await aws('run-instances', '--image-id', 'nimbus-guest', '--count', String(count), '--query', 'Instances[].InstanceId')).split(/\s+/);

/** Leases that cost something. */
const charged = async (): Promise<string[]> =>
  (await here().serve.admin<Array<{ lease: string; chargedMinutes: number }>>('usage')).filter((u) => u.chargedMinutes > 0).map((u) => u.lease).sort();

describe.skipIf(!hasPart('slurm') || !hasPart('awscli'))('a group of four', () => {
  const adapters = [['slurm', 'simulated'], ['pbs', 'simulated'], ['slurm', 'qemu']] as const;
  const here = adapters.filter(([lrm, driver]) => (lrm !== 'pbs' || hasPart('slurm-torque')) && (driver !== 'qemu' || hasPart('qemu')));
  it.each(here)('is leased, used and ended by the AWS command line through the adapter %s, VMs %s', { timeout: 480_000 }, async (lrm, driver) => {
    c = await startCluster({ lrm, driver, slurm: { nodes: 4 } });
    const ids = await runInstances(4);
    expect(ids).toHaveLength(4);
    await aws('wait', 'instance-running', '--instance-ids', ...ids);
    const nodes = (await c.leases()).map((l) => l.node?.split('.')[0]);
    expect(new Set(nodes).size, 'each on a node of its own').toBe(4);
    if (driver === 'qemu') {
      for (const id of ids) await expect.poll(() => aws('get-console-output', '--instance-id', id), { timeout: 60_000 }).toContain(id);
    }
    await aws('terminate-instances', '--instance-ids', ...ids);
    await aws('wait', 'instance-terminated', '--instance-ids', ...ids);
    await c.clean();
    expect((await c.slots()).map((s) => s.reasonCode)).toEqual([null]);
    expect(await charged()).toEqual([...ids].sort());
  });
});

describe.skipIf(!hasPart('slurm') || !hasPart('awscli'))('behind our back', () => {
  it('scancel while the VMs run: they end in order, with the reason, and the nodes are clean', { timeout: 360_000 }, async () => {
    c = await startCluster({ driver: hasPart('qemu') ? 'qemu' : 'simulated', slurm: { nodes: 2 } });
    await runInstances(2);
    await c.all('Running');
    const [slot] = await c.slots();
    await ask(c.slurm, ['scancel', slot?.jobId ?? '']);
    const ended = await c.all('Terminated');
    expect(ended.map((l) => l.reasonCode)).toEqual(['Server.BatchSystemPreempted', 'Server.BatchSystemPreempted']);
    await c.clean();
    expect(await charged()).toEqual(ended.map((l) => l.id).sort());
  });

  it.skipIf(!hasPart('qemu'))('a disk that is to be saved outlives its node, and a VM runs from it', { timeout: 480_000 }, async () => {
    c = await startCluster({ driver: 'qemu', slurm: { nodes: 2 } });
    const tag = 'ResourceType=instance,Tags=[{Key=nimbus:on-preempt,Value=save}]';
    const first = await aws('run-instances', '--image-id', 'nimbus-guest', '--tag-specifications', tag, '--query', 'Instances[].InstanceId');
    await aws('wait', 'instance-running', '--instance-ids', first);
    const [slot] = await c.slots();
    await ask(c.slurm, ['scancel', slot?.jobId ?? '']);
    await aws('wait', 'instance-terminated', '--instance-ids', first);
    const image = await aws('describe-images', '--filters', `Name=name,Values=saved-${first}`, '--query', 'Images[].ImageId');
    expect(await aws('describe-instances', '--instance-ids', first, '--query', 'Reservations[].Instances[].StateReason.Message')).toContain(`saved as image ${image}`);
    await c.clean();
    const second = await aws('run-instances', '--image-id', image, '--query', 'Instances[].InstanceId');
    await aws('wait', 'instance-running', '--instance-ids', second);
    await expect.poll(() => aws('get-console-output', '--instance-id', second), { timeout: 60_000 }).toContain(second);
    await aws('terminate-instances', '--instance-ids', second);
    await aws('wait', 'instance-terminated', '--instance-ids', second);
    await c.clean();
  });

  it('scancel while it waits: the leases end with the batch system’s word', { timeout: 360_000 }, async () => {
    c = await startCluster({ slurm: { nodes: 2 } });
    for (const node of c.slurm.nodes) await c.slurm.setNode(node, 'drain', 'maintenance');
    await runInstances(2);
    const waiting = await eventually('the batch system’s reason', async () => (await here().leases()).find((l) => (l.waiting?.reason ?? 'not submitted yet') !== 'not submitted yet'));
    expect(waiting.waiting?.jobId).not.toBeNull();
    expect(await aws('describe-instances', '--query', 'Reservations[].Instances[].State.Name')).toBe('pending\tpending');
    await ask(c.slurm, ['scancel', waiting.waiting?.jobId ?? '']);
    const ended = await c.all('Terminated');
    expect(ended.map((l) => l.reasonCode)).toEqual(['Server.BatchJobCancelled', 'Server.BatchJobCancelled']);
    await c.clean();
    expect(await charged(), 'what waited costs nothing').toEqual([]);
  });

  it('kill -9 of a pilot: the epilogue cleans its node, the others’ leases go on', { timeout: 360_000 }, async () => {
    c = await startCluster({ driver: hasPart('qemu') ? 'qemu' : 'simulated', slurm: { nodes: 2 }, silence: '20s' });
    await runInstances(2);
    const running = await c.all('Running');
    const [host, pid] = [...c.pilots()][0] ?? ['', 0];
    expect(pid).toBeGreaterThan(0);
    process.kill(pid, 'SIGKILL');
    const lost = running.find((l) => l.node?.startsWith(`${host}.`));
    const other = running.find((l) => l.id !== lost?.id);
    const gone = await eventually('the end of its lease', async () => (await here().leases(true)).find((l) => l.id === lost?.id && l.state === 'Terminated'), 120_000);
    expect([gone.reasonCode, gone.reason]).toEqual(['Server.PilotLost', expect.stringContaining(host)]);
    expect((await c.leases()).map((l) => [l.id, l.state])).toEqual([[other?.id, 'Running']]);
    await aws('terminate-instances', '--instance-ids', other?.id ?? '');
    await c.all('Terminated', 180_000);
    await c.clean();
    expect((await c.slots()).flatMap((s) => s.nodes.map((n) => [n.host === host, n.state])).sort()).toEqual([[false, 'Returned'], [true, 'Lost']]);
    expect(await charged()).toEqual(running.map((l) => l.id).sort());
  });
});

describe.skipIf(!hasPart('slurm') || !hasPart('awscli'))('kill -9 of the service', () => {
  it('while the job waits: it is found again, runs, and ends', { timeout: 360_000 }, async () => {
    c = await startCluster({ slurm: { nodes: 2 } });
    for (const node of c.slurm.nodes) await c.slurm.setNode(node, 'drain', 'maintenance');
    await runInstances(2);
    await eventually('a job id', async () => (await here().slots())[0]?.jobId ?? undefined);
    await c.serve.kill();
    await c.restart();
    for (const node of c.slurm.nodes) await c.slurm.setNode(node, 'resume', '');
    const leases = await c.all('Running');
    await c.serve.admin('lease', 'destroy', ...leases.map((l) => l.id));
    await c.all('Terminated');
    await c.clean();
  });

  it('while the VMs run: pilots come back to the next one, leases go on and end', { timeout: 360_000 }, async () => {
    c = await startCluster({ driver: hasPart('qemu') ? 'qemu' : 'simulated', slurm: { nodes: 2 } });
    await runInstances(2);
    const before = await c.all('Running');
    await c.serve.kill();
    await c.restart();
    const after = await c.all('Running');
    expect(after.map((l) => [l.id, l.node, l.endsAt])).toEqual(before.map((l) => [l.id, l.node, l.endsAt]));
    await c.serve.admin('lease', 'destroy', ...after.map((l) => l.id));
    await c.all('Terminated');
    await c.clean();
  });

  it('while the nodes are given back: they are', { timeout: 360_000 }, async () => {
    c = await startCluster({ slurm: { nodes: 2 } });
    await runInstances(2);
    const leases = await c.all('Running');
    await c.serve.admin('lease', 'destroy', ...leases.map((l) => l.id));
    await c.serve.kill();
    await c.restart();
    await c.all('Terminated', 180_000);
    await c.clean();
  });
});
