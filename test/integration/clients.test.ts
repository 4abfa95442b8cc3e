/** Unmodified clients against the service, VMs real where QEMU is. */
import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  DescribeInstancesCommand, EC2Client, GetConsoleOutputCommand, RunInstancesCommand, TerminateInstancesCommand,
  waitUntilInstanceRunning, waitUntilInstanceTerminated,
} from '@aws-sdk/client-ec2';
import { hasPart } from '../parts.ts';
import { startServe, type Serve } from '../support/serve.ts';

const run = promisify(execFile);
let serve: Serve;
let keys: { accessKey: string; secretKey: string };

beforeAll(async () => {
  serve = await startServe('');
  keys = await serve.user('ada');
});
afterAll(async () => { expect(await serve.stop()).toBe(0); });

const env = (): NodeJS.ProcessEnv => ({
  PATH: '/usr/bin:/bin', HOME: serve.root, AWS_ACCESS_KEY_ID: keys.accessKey, AWS_SECRET_ACCESS_KEY: keys.secretKey, AWS_DEFAULT_REGION: 'nimbus',
  AWS_EC2_METADATA_DISABLED: 'true',
});

/** Debian's own Python programs, with a script of the test's. */
async function python(script: string): Promise<string> {
  const file = join(mkdtempSync(join(tmpdir(), 'py-')), 'script.py');
  writeFileSync(file, script);
  return (await run('/usr/bin/python3', [file, serve.ec2], { env: env(), timeout: 110_000 })).stdout;
}

describe.skipIf(!hasPart('awscli'))('aws command line', () => {
  const aws = async (...args: string[]): Promise<string> =>
    (await run('/usr/bin/aws', ['ec2', ...args, '--endpoint-url', serve.ec2], { env: env(), timeout: 110_000 })).stdout;

  it('runs, waits, reads the console, terminates, waits', { timeout: 120_000 }, async () => {
    const id = (await aws('run-instances', '--image-id', 'nimbus-guest', '--instance-type', 'm1.small', '--query', 'Instances[0].InstanceId', '--output', 'text')).trim();
    expect(id).toMatch(/^i-[0-9a-f]{17}$/);
    await aws('wait', 'instance-running', '--instance-ids', id);
    await expect.poll(() => aws('get-console-output', '--instance-id', id, '--output', 'text'), { timeout: 20_000 }).toContain(id);
    await aws('terminate-instances', '--instance-ids', id);
    await aws('wait', 'instance-terminated', '--instance-ids', id);
    const state = await aws('describe-instances', '--instance-ids', id, '--query', 'Reservations[0].Instances[0].State.Name', '--output', 'text');
    expect(state.trim()).toBe('terminated');
  });

  it('tells errors as AWS does', { timeout: 60_000 }, async () => {
    await expect(aws('describe-instances', '--instance-ids', 'i-00000000000000000')).rejects.toMatchObject({ stderr: expect.stringContaining('(InvalidInstanceID.NotFound)') });
    await expect(aws('run-instances', '--image-id', 'ami-00000000000000000')).rejects.toMatchObject({ stderr: expect.stringContaining('(InvalidAMIID.NotFound)') });
    await expect(aws('run-instances', '--image-id', 'nimbus-guest', '--dry-run')).rejects.toMatchObject({ stderr: expect.stringContaining('(DryRunOperation)') });
  });

  it('sees zones, regions, types, images, key pairs and tags', { timeout: 60_000 }, async () => {
    expect(JSON.parse(await aws('describe-availability-zones'))).toMatchObject({ AvailabilityZones: [{ ZoneName: 'default', State: 'available', RegionName: 'nimbus' }] });
    expect(JSON.parse(await aws('describe-regions'))).toMatchObject({ Regions: [{ RegionName: 'nimbus' }] });
    const types = JSON.parse(await aws('describe-instance-types')) as { InstanceTypes: Array<{ InstanceType: string }> };
    expect(types.InstanceTypes.map((t) => t.InstanceType).sort()).toEqual(['m1.large', 'm1.small', 'm1.xlarge']);
    expect(JSON.parse(await aws('describe-images'))).toMatchObject({ Images: [{ Name: 'nimbus-guest', State: 'available', Public: true }] });
    const made = JSON.parse(await aws('create-key-pair', '--key-name', 'k1')) as { KeyMaterial: string; KeyFingerprint: string };
    expect(made.KeyMaterial).toMatch(/^-----BEGIN RSA PRIVATE KEY-----/);
    expect(JSON.parse(await aws('describe-key-pairs', '--key-names', 'k1'))).toMatchObject({ KeyPairs: [{ KeyName: 'k1', KeyFingerprint: made.KeyFingerprint }] });
    await aws('delete-key-pair', '--key-name', 'k1');
    await expect(aws('describe-key-pairs', '--key-names', 'k1')).rejects.toMatchObject({ stderr: expect.stringContaining('(InvalidKeyPair.NotFound)') });
  });
});

describe.skipIf(!hasPart('boto3'))('boto3', () => {
  it('leases through the resource interface and its waiters', { timeout: 120_000 }, async () => {
    const out = await python(`
import sys, boto3
ec2 = boto3.resource('ec2', endpoint_url=sys.argv[1])
[i] = ec2.create_instances(ImageId='nimbus-guest', MinCount=1, MaxCount=1,
    TagSpecifications=[{'ResourceType': 'instance', 'Tags': [{'Key': 'nimbus:duration', 'Value': '15m'}, {'Key': 'Name', 'Value': 'b3'}]}])
i.wait_until_running()
i.reload()
tags = {t['Key']: t['Value'] for t in i.tags}
print(i.state['Name'], tags['Name'], 'nimbus:ends' in tags)
i.create_tags(Tags=[{'Key': 'nimbus:duration', 'Value': '1h'}])
i.reboot()
i.wait_until_running()
status = boto3.client('ec2', endpoint_url=sys.argv[1]).describe_instance_status(InstanceIds=[i.id])['InstanceStatuses'][0]
print(status['InstanceStatus']['Status'], status['Events'][0]['Code'])
i.terminate()
i.wait_until_terminated()
i.reload()
print(i.state['Name'])
`);
    expect(out.trim().split('\n')).toEqual(['running b3 True', expect.stringMatching(/^(ok|initializing) /), 'terminated']);
  });
});

describe.skipIf(!hasPart('boto2'))('boto 2.49', () => {
  it('leases, polls and terminates', { timeout: 120_000 }, async () => {
    const out = await python(`
import sys, time, base64
from urllib.parse import urlparse
from boto.ec2.connection import EC2Connection
from boto.ec2.regioninfo import RegionInfo
url = urlparse(sys.argv[1])
c = EC2Connection(region=RegionInfo(name='nimbus', endpoint=url.hostname), port=url.port, is_secure=False, path='/')
r = c.run_instances('nimbus-guest')
i = r.instances[0]
def wait(state):
    end = time.time() + 60
    while i.update() != state:
        if time.time() > end: raise SystemExit('no ' + state + ': ' + i.state)
        time.sleep(0.1)
wait('running')
print(i.state, len(c.get_all_instances()) > 0, [z.name for z in c.get_all_zones()])
end = time.time() + 30
while i.id not in c.get_console_output(i.id).output.decode():
    if time.time() > end: raise SystemExit('no banner')
    time.sleep(0.1)
i.terminate()
wait('terminated')
print(i.state)
`);
    expect(out.trim().split('\n')).toEqual(["running True ['default']", 'terminated']);
  });
});

describe('AWS SDK for JavaScript v3', () => {
  it('leases a group of two with the SDK’s waiters', { timeout: 120_000 }, async () => {
    const client = new EC2Client({ endpoint: serve.ec2, region: 'nimbus', credentials: { accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey } });
    const made = await client.send(new RunInstancesCommand({ ImageId: 'nimbus-guest', MinCount: 2, MaxCount: 2 }));
    const InstanceIds = (made.Instances ?? []).map((i) => i.InstanceId ?? '');
    expect(new Set(InstanceIds).size).toBe(2);
    expect((made.Instances ?? []).map((i) => i.AmiLaunchIndex)).toEqual([0, 1]);
    await waitUntilInstanceRunning({ client, maxWaitTime: 60, minDelay: 1, maxDelay: 2 }, { InstanceIds });
    const seen = await client.send(new DescribeInstancesCommand({ InstanceIds }));
    expect(seen.Reservations).toHaveLength(1);
    await expect.poll(async () => Buffer.from((await client.send(new GetConsoleOutputCommand({ InstanceId: InstanceIds[1] }))).Output ?? '', 'base64').toString(), { timeout: 20_000 })
      .toContain(InstanceIds[1]);
    await client.send(new TerminateInstancesCommand({ InstanceIds }));
    await waitUntilInstanceTerminated({ client, maxWaitTime: 60, minDelay: 1, maxDelay: 2 }, { InstanceIds });
    client.destroy();
  });
});

describe.skipIf(!hasPart('awssdk2'))('AWS SDK for JavaScript v2', () => {
  it.each(['v4', 'v2'])('leases a group of two with its waiters, signature %s', { timeout: 120_000 }, async (signature) => {
    const script = join(import.meta.dirname, '../clients/session.mjs');
    const { stdout } = await run(process.execPath, [script, serve.ec2, 'nimbus-guest', signature], { env: env(), timeout: 110_000 });
    expect(JSON.parse(stdout)).toEqual({
      states: ['running', 'running'], launched: true, refused: ['InvalidInstanceID.NotFound', 400, 36],
      tags: [{ Key: 'Name', Value: 'a b+c*~/é' }, { Key: 'nimbus:duration', Value: '1h' }],
    });
  });
});
