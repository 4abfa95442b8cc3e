/** What clients do beside the session of test/matrix, against the service; VMs real where QEMU is. */
import { execFile } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
  return (await run('/usr/bin/python3', [file, serve.ec2], { env: env(), timeout: 240_000 })).stdout;
}

describe.skipIf(!hasPart('awscli'))('aws command line', () => {
  const aws = async (...args: string[]): Promise<string> =>
    (await run('/usr/bin/aws', ['ec2', ...args, '--endpoint-url', serve.ec2], { env: env(), timeout: 240_000 })).stdout;

  it('sees zones, regions, types, images, key pairs and tags', { timeout: 600_000 }, async () => {
    expect(JSON.parse(await aws('describe-availability-zones'))).toMatchObject({ AvailabilityZones: [{ ZoneName: 'default', State: 'available', RegionName: 'nimbus' }] });
    expect(JSON.parse(await aws('describe-regions'))).toMatchObject({ Regions: [{ RegionName: 'nimbus' }] });
    const types = JSON.parse(await aws('describe-instance-types')) as { InstanceTypes: Array<{ InstanceType: string }> };
    expect(types.InstanceTypes.map((t) => t.InstanceType).sort()).toEqual(['m1.large', 'm1.small', 'm1.xlarge']);
    expect(JSON.parse(await aws('describe-images'))).toMatchObject({ Images: [{ Name: 'nimbus-guest', State: 'available', Public: true }] });
    const made = JSON.parse(await aws('create-key-pair', '--key-name', 'k1')) as { KeyMaterial: string; KeyFingerprint: string };
    expect(made.KeyMaterial).toMatch(/^-----BEGIN RSA PRIVATE KEY-----/);
    expect(JSON.parse(await aws('describe-key-pairs', '--key-names', 'k1'))).toMatchObject({ KeyPairs: [{ KeyName: 'k1', KeyFingerprint: made.KeyFingerprint }] });
    expect(JSON.parse(await aws('describe-volumes'))).toEqual({ Volumes: [] });
    await expect(aws('create-volume', '--availability-zone', 'default', '--size', '1')).rejects.toMatchObject({ stderr: expect.stringMatching(/\(UnsupportedOperation\).*the only volume that an instance has/) });
    await aws('delete-key-pair', '--key-name', 'k1');
    await expect(aws('describe-key-pairs', '--key-names', 'k1')).rejects.toMatchObject({ stderr: expect.stringContaining('(InvalidKeyPair.NotFound)') });
  });
});

describe.skipIf(!hasPart('boto3'))('boto3', () => {
  it('leases through the resource interface and its waiters', { timeout: 360_000 }, async () => {
    const out = await python(`
import sys, boto3
from botocore.exceptions import ClientError
ec2 = boto3.resource('ec2', endpoint_url=sys.argv[1])
[i] = ec2.create_instances(ImageId='nimbus-guest', MinCount=1, MaxCount=1,
    TagSpecifications=[{'ResourceType': 'instance', 'Tags': [{'Key': 'nimbus:duration', 'Value': '15m'}, {'Key': 'Name', 'Value': 'b3'}]}])
i.wait_until_running()
i.reload()
tags = {t['Key']: t['Value'] for t in i.tags}
print(i.state['Name'], tags['Name'], 'nimbus:ends' in tags)
[disk] = i.block_device_mappings
[volume] = i.volumes.all()
print(disk['DeviceName'] == i.root_device_name, disk['Ebs']['VolumeId'] == volume.id, volume.state, volume.size, volume.attachments[0]['InstanceId'] == i.id, volume.availability_zone == i.placement['AvailabilityZone'])
print(ec2.Volume(volume.id).describe_status()['VolumeStatuses'][0]['VolumeStatus']['Status'], volume.describe_attribute(Attribute='autoEnableIO')['AutoEnableIO']['Value'])
i.modify_attribute(BlockDeviceMappings=[{'DeviceName': disk['DeviceName'], 'Ebs': {'DeleteOnTermination': True}}])
for refused in (volume.detach_from_instance, volume.delete, lambda: volume.create_snapshot(),
                lambda: i.modify_attribute(BlockDeviceMappings=[{'DeviceName': disk['DeviceName'], 'Ebs': {'DeleteOnTermination': False}}])):
    try:
        refused()
    except ClientError as e:
        print(e.response['Error']['Code'])
volume.create_tags(Tags=[{'Key': 'a', 'Value': 'b'}])
volume.reload()
print(volume.tags)
i.create_tags(Tags=[{'Key': 'nimbus:duration', 'Value': '1h'}])
i.reboot()
i.wait_until_running()
status = boto3.client('ec2', endpoint_url=sys.argv[1]).describe_instance_status(InstanceIds=[i.id])['InstanceStatuses'][0]
print(status['InstanceStatus']['Status'], status['Events'][0]['Code'])
i.terminate()
i.wait_until_terminated()
i.reload()
print(i.state['Name'], i.block_device_mappings, list(i.volumes.all()))
`);
    expect(out.trim().split('\n')).toEqual([
      'running b3 True', 'True True in-use 1 True True', 'ok False', ...Array<string>(4).fill('UnsupportedOperation'), "[{'Key': 'a', 'Value': 'b'}]", expect.stringMatching(/^(ok|initializing) /), 'terminated [] []',
    ]);
  });
});
