/** Spot instances on nodes of a real Slurm: a job that stands above takes the node, and the AWS command line sees what EC2 would say. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { hasPart } from '../../parts.ts';
import { ask, eventually, reaches, submit } from '../../support/slurm.ts';
import { startCluster, type Cluster } from './cluster.ts';

const run = promisify(execFile);
/** Slurm looks for jobs to preempt now and then only. */
const PREEMPTION_MS = 90_000;
let c: Cluster | undefined;
afterEach(async () => { await c?.stop(); c = undefined; });

describe.skipIf(!hasPart('slurm') || !hasPart('awscli'))('a spot instance on a borrowed node', () => {
  it('gives way to a normal job, says so, and comes again when that is over', { timeout: 600_000 }, async () => {
    const cluster = c = await startCluster({
      slurm: { nodes: 1, preempt: { graceS: 10 } }, toml: '[slurm]\npartition = "high"\n[pilot_spot]\npartition = "low"\ngrace = "10s"\n',
    });
    const { serve, slurm } = cluster;
    const keys = await serve.user('ada');
    const env = { PATH: '/usr/bin:/bin', HOME: serve.root, AWS_ACCESS_KEY_ID: keys.accessKey, AWS_SECRET_ACCESS_KEY: keys.secretKey, AWS_DEFAULT_REGION: 'nimbus', AWS_EC2_METADATA_DISABLED: 'true' };
    const aws = async (...args: string[]): Promise<string> =>
      (await run('/usr/bin/aws', ['ec2', ...args, '--endpoint-url', serve.ec2, '--output', 'text'], { env, timeout: 240_000 })).stdout.trim();
    const standing = (id: string): Promise<string> => aws('describe-spot-instance-requests', '--spot-instance-request-ids', id, '--query', 'SpotInstanceRequests[].[State,Status.Code,InstanceId]');

    const id = await aws('request-spot-instances', '--spot-price', '1', '--type', 'persistent', '--launch-specification', 'ImageId=nimbus-guest', '--query', 'SpotInstanceRequests[].SpotInstanceRequestId');
    await aws('wait', 'spot-instance-request-fulfilled', '--spot-instance-request-ids', id);
    const first = (await standing(id)).split('\t')[2] ?? '';
    await aws('wait', 'instance-running', '--instance-ids', first);

    const job = await submit(slurm, '#!/bin/sh\nexec sleep 600\n', ['--partition', slurm.highPartition ?? '', '--exclusive']);
    await eventually('the end of the spot instance', async () => (await cluster.leases(true)).find((l) => l.id === first && l.state === 'Terminated'), PREEMPTION_MS);
    await reaches(slurm, job, 'RUNNING', PREEMPTION_MS);
    const [reason = ''] = (await aws('describe-instances', '--instance-ids', first, '--query', 'Reservations[].Instances[].StateReason.Code')).split('\n');
    expect(reason).toBe('Server.SpotInstanceTermination');
    const again = await eventually('another instance in the queue', async () => (await cluster.leases()).find((l) => l.state === 'Pending'));
    expect(again).toMatchObject({ spotRequestId: id });
    expect(await standing(id)).toBe('open\tpending-fulfillment\tNone');

    await ask(slurm, ['scancel', job]);
    await aws('wait', 'spot-instance-request-fulfilled', '--spot-instance-request-ids', id);
    expect(await standing(id)).toBe(`active\tfulfilled\t${again.id}`);
    await aws('cancel-spot-instance-requests', '--spot-instance-request-ids', id);
    await aws('wait', 'instance-running', '--instance-ids', again.id);
    await aws('terminate-instances', '--instance-ids', again.id);
    await cluster.all('Terminated');
    await cluster.clean();
  });
});
