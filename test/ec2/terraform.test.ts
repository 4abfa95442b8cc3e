/**
 * What Terraform's AWS provider asks for aws_key_pair, data.aws_ami, data.aws_availability_zones and aws_instance in plan, apply,
 * refresh, update and destroy, replayed against a service, signed as its SDK signs (aws-sdk-go-v2). After each answer stands what
 * the provider reads of it without asking whether it is there.
 */
import { createHash, createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startServe, type Serve } from '../support/serve.ts';
import { basicTime, reply, type Reply } from './door.ts';
import { all, first } from './site-door.ts';

let serve: Serve;
let key: { accessKey: string; secretKey: string };
beforeAll(async () => {
  serve = await startServe(`[[local_nodes]]
name = "n1"
driver = "simulated"
memory_mb = 4096
cores = 8
[simulated]
start_ms = 20
stop_ms = 0
[types."m1.small"]
memory_mb = 128
cores = 1
[types."m1.large"]
memory_mb = 512
cores = 2
`);
  key = await serve.user('terraform');
});
afterAll(() => serve?.stop());

const hex = (data: string): string => createHash('sha256').update(data).digest('hex');
const hmac = (secret: string | Buffer, data: string): Buffer => createHmac('sha256', secret).update(data).digest();

/** A request as aws-sdk-go-v2 sends it. */
async function send(params: Readonly<Record<string, string>>, service: 'ec2' | 'sts' = 'ec2'): Promise<Reply> {
  const body = new URLSearchParams(Object.entries({ Version: service === 'ec2' ? '2016-11-15' : '2011-06-15', ...params }).sort(([a], [b]) => (a < b ? -1 : 1))).toString();
  const { host } = new URL(serve.ec2);
  const date = basicTime(Date.now());
  const signed: ReadonlyArray<readonly [string, string]> = [
    ['amz-sdk-invocation-id', randomUUID()], ['amz-sdk-request', 'attempt=1; max=25'], ['content-length', String(Buffer.byteLength(body))],
    ['content-type', 'application/x-www-form-urlencoded'], ['host', host], ['x-amz-date', date],
  ];
  const names = signed.map(([n]) => n).join(';');
  const scope = `${date.slice(0, 8)}/nimbus/${service}/aws4_request`;
  const canonical = ['POST', '/', '', ...signed.map(([n, v]) => `${n}:${v}`), '', names, hex(body)].join('\n');
  const derived = scope.split('/').reduce<string | Buffer>((k, part) => hmac(k, part), `AWS4${key.secretKey}`);
  const signature = hmac(derived, `AWS4-HMAC-SHA256\n${date}\n${scope}\n${hex(canonical)}`).toString('hex');
  const answer = await fetch(`${serve.ec2}/`, {
    method: 'POST', body,
    headers: {
      ...Object.fromEntries(signed.filter(([n]) => n !== 'host' && n !== 'content-length')),
      'user-agent': 'APN/1.0 HashiCorp/1.0 Terraform/1.9.8 aws-sdk-go-v2/1.32.2 os/linux lang/go#1.23.2 api/ec2#1.187.0',
      'authorization': `AWS4-HMAC-SHA256 Credential=${key.accessKey}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
    },
  });
  return reply(answer.status, answer.headers, await answer.text());
}

/** Answered, with these elements in it. */
async function ask(params: Readonly<Record<string, string>>, ...elements: readonly string[]): Promise<Reply> {
  const answer = await send(params, params['Action'] === 'GetCallerIdentity' ? 'sts' : 'ec2');
  expect([answer.status, answer.code, answer.message], params['Action'] ?? '').toEqual([200, '', '']);
  for (const name of elements) expect(answer.body, `${params['Action'] ?? ''}: ${name}`).toContain(`<${name}>`);
  return answer;
}

const describeInstance = (id: string): Promise<Reply> => ask({ 'Action': 'DescribeInstances', 'InstanceId.1': id }, 'reservationSet', 'instanceState', 'name');
async function untilState(id: string, wanted: string, passing: readonly string[]): Promise<void> {
  await expect.poll(async () => {
    const state = first(await describeInstance(id), 'name');
    expect([wanted, ...passing]).toContain(state);
    return state;
  }, { timeout: 60_000, interval: 100 }).toBe(wanted);
}

const ATTRIBUTES = ['instanceInitiatedShutdownBehavior', 'disableApiStop', 'disableApiTermination', 'userData'];

/** What each plan, apply and refresh reads of an instance. */
async function readInstance(id: string): Promise<Readonly<Record<string, string>>> {
  const shown = await describeInstance(id);
  for (const name of ['instanceId', 'imageId', 'instanceType', 'placement', 'availabilityZone', 'tenancy', 'monitoring', 'rootDeviceName', 'rootDeviceType', 'ebsOptimized', 'sourceDestCheck', 'groupSet', 'tagSet', 'cpuOptions', 'coreCount', 'threadsPerCore', 'metadataOptions', 'httpEndpoint', 'httpPutResponseHopLimit', 'networkInterfaceSet', 'subnetId', 'vpcId', 'attachment', 'deviceIndex']) {
    expect(shown.body, name).toContain(`<${name}`);
  }
  const type = await ask({ 'Action': 'DescribeInstanceTypes', 'InstanceType.1': first(shown, 'instanceType') }, 'instanceType', 'burstablePerformanceSupported', 'vCpuInfo');
  // Of one that bursts it would ask for credits.
  expect(first(type, 'burstablePerformanceSupported')).toBe('false');
  await ask({ 'Action': 'DescribeTags', 'Filter.1.Name': 'resource-id', 'Filter.1.Value.1': id, 'Filter.2.Name': 'key', 'Filter.2.Value.1': 'aws:ec2launchtemplate:id' });
  expect(all(await ask({ 'Action': 'DescribeVpcs', 'VpcId.1': first(shown, 'vpcId') }, 'vpcSet', 'isDefault'), 'isDefault')).toEqual(['true']);
  const disk = await ask({ 'Action': 'DescribeVolumes', 'Filter.1.Name': 'attachment.instance-id', 'Filter.1.Value.1': id }, 'volumeSet', 'volumeId');
  // The root block device is the one whose name is the instance's; its size and kind are read by its id.
  expect(first(shown, 'deviceName')).toBe(first(shown, 'rootDeviceName'));
  expect(first(shown, 'volumeId')).toBe(first(disk, 'volumeId'));
  const root = await ask({ 'Action': 'DescribeVolumes', 'VolumeId.1': first(shown, 'volumeId') }, 'size', 'volumeType', 'encrypted', 'attachmentSet', 'deleteOnTermination');
  const values: Record<string, string> = {};
  for (const name of ATTRIBUTES) {
    const { body } = await ask({ Action: 'DescribeInstanceAttribute', InstanceId: id, Attribute: name }, 'instanceId', name);
    // The structure is read without asking whether it is there; a missing value of user data means that there are none.
    values[name] = new RegExp(`<${name}><value>([^<]*)</value></${name}>`).exec(body)?.[1] ?? '';
    if (name !== 'userData') expect(values[name], name).not.toBe('');
  }
  return { ...values, type: first(shown, 'instanceType'), tags: String(all({ body: /<tagSet>(.*?)<\/tagSet>/.exec(shown.body)?.[1] ?? '' }, 'key')), subnet: first(shown, 'subnetId'), checked: first(shown, 'sourceDestCheck'), disk: `${first(root, 'size')} ${first(root, 'volumeType')} ${first(root, 'deleteOnTermination')}` };
}

const PUBLIC_KEY = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' }).toString();
const created: Record<string, string> = {};

it('the provider begins: who am I', async () => {
  await ask({ Action: 'GetCallerIdentity' }, 'GetCallerIdentityResult', 'Account', 'Arn', 'UserId');
});

it('data sources: an image by name, the newest; the zones', async () => {
  const images = await ask({ 'Action': 'DescribeImages', 'Owner.1': 'common', 'Filter.1.Name': 'name', 'Filter.1.Value.1': 'nimbus-*', 'IncludeDeprecated': 'false' },
    'imageId', 'imageState', 'imageOwnerId', 'creationDate', 'isPublic', 'architecture', 'imageType', 'name', 'rootDeviceType', 'rootDeviceName', 'virtualizationType', 'hypervisor', 'imageLocation', 'description');
  created['image'] = first(images, 'imageId');
  // It sorts by it, and fails on what is no RFC 3339.
  expect(first(images, 'creationDate')).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  // Its failure is passed over.
  expect((await send({ Action: 'GetInstanceUefiData', InstanceId: 'i-00000000' })).code).toBe('UnsupportedOperation');
  const zones = await ask({ 'Action': 'DescribeAvailabilityZones', 'Filter.1.Name': 'state', 'Filter.1.Value.1': 'available' }, 'zoneName', 'zoneId', 'groupName', 'optInStatus', 'regionName', 'zoneType');
  created['zone'] = first(zones, 'zoneName');
});

it('aws_key_pair is made and read', async () => {
  await ask({
    'Action': 'ImportKeyPair', 'KeyName': 'deployer', 'PublicKeyMaterial': Buffer.from(PUBLIC_KEY).toString('base64'),
    'TagSpecification.1.ResourceType': 'key-pair', 'TagSpecification.1.Tag.1.Key': 'stage', 'TagSpecification.1.Tag.1.Value': 'test',
  }, 'keyName', 'keyFingerprint', 'keyPairId');
  const pair = await ask({ 'Action': 'DescribeKeyPairs', 'KeyName.1': 'deployer', 'IncludePublicKey': 'true' }, 'keyPairId', 'keyFingerprint', 'keyName', 'keyType', 'publicKey', 'tagSet');
  expect([first(pair, 'keyType'), first(pair, 'key')]).toEqual(['rsa', 'stage']);
});

it('aws_instance is applied, and read without a difference', async () => {
  const userData = Buffer.from('#!/bin/sh\necho hello\n').toString('base64');
  const run = {
    'Action': 'RunInstances', 'ClientToken': `terraform-${randomUUID().replaceAll('-', '').slice(0, 26)}`, 'DisableApiStop': 'false', 'DisableApiTermination': 'true', 'EbsOptimized': 'false',
    'ImageId': created['image'] ?? '', 'InstanceInitiatedShutdownBehavior': 'stop', 'InstanceType': 'm1.small', 'KeyName': 'deployer', 'MaxCount': '1', 'MinCount': '1', 'Monitoring.Enabled': 'false',
    'Placement.AvailabilityZone': created['zone'] ?? '', 'UserData': userData,
    'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'Name', 'TagSpecification.1.Tag.1.Value': 'web',
    'TagSpecification.2.ResourceType': 'volume', 'TagSpecification.2.Tag.1.Key': 'Name', 'TagSpecification.2.Tag.1.Value': 'web',
  };
  const id = created['instance'] = first(await ask(run, 'instanceId'), 'instanceId');
  // A lost answer is asked for again, with the same token.
  expect(first(await ask(run), 'instanceId')).toBe(id);
  await untilState(id, 'running', ['pending']);
  // The configuration says source_dest_check = false; its default is true.
  await ask({ 'Action': 'ModifyInstanceAttribute', 'InstanceId': id, 'SourceDestCheck.Value': 'false' });
  expect(await readInstance(id)).toMatchObject({ instanceInitiatedShutdownBehavior: 'stop', disableApiStop: 'false', disableApiTermination: 'true', userData, type: 'm1.small', tags: expect.stringContaining('Name'), checked: 'false', disk: '1 standard true' });
  // A refresh reads the same.
  expect(await readInstance(id)).toEqual(await readInstance(id));
});

it('updates: tags, protection, monitoring, metadata; a type with the instance stopped for it', async () => {
  const id = created['instance'] ?? '';
  await ask({ 'Action': 'CreateTags', 'ResourceId.1': id, 'Tag.1.Key': 'Name', 'Tag.1.Value': 'web-2', 'Tag.2.Key': 'team', 'Tag.2.Value': '' }, 'return');
  await ask({ 'Action': 'DeleteTags', 'ResourceId.1': id, 'Tag.1.Key': 'team' }, 'return');
  await ask({ 'Action': 'ModifyInstanceAttribute', 'InstanceId': id, 'DisableApiStop.Value': 'true' }, 'return');
  expect((await readInstance(id))['disableApiStop']).toBe('true');
  await ask({ 'Action': 'ModifyInstanceAttribute', 'InstanceId': id, 'DisableApiStop.Value': 'false' }, 'return');
  await ask({ 'Action': 'ModifyInstanceAttribute', 'InstanceId': id, 'InstanceInitiatedShutdownBehavior.Value': 'terminate' }, 'return');
  await ask({ 'Action': 'MonitorInstances', 'InstanceId.1': id }, 'monitoring');
  await ask({ 'Action': 'UnmonitorInstances', 'InstanceId.1': id }, 'monitoring');
  await ask({ Action: 'ModifyInstanceMetadataOptions', InstanceId: id, HttpEndpoint: 'disabled' }, 'instanceMetadataOptions', 'state');
  // Other vpc_security_group_ids: the provider changes those of the first interface.
  const group = first(await ask({ Action: 'CreateSecurityGroup', GroupName: 'web', GroupDescription: 'Managed by Terraform' }, 'groupId'), 'groupId');
  const nic = first(await ask({ 'Action': 'DescribeInstances', 'InstanceId.1': id }), 'networkInterfaceId');
  await ask({ 'Action': 'ModifyNetworkInterfaceAttribute', 'NetworkInterfaceId': nic, 'SecurityGroupId.1': group }, 'return');
  expect(first(await ask({ 'Action': 'DescribeInstances', 'InstanceId.1': id }), 'groupId')).toBe(group);
  await ask({ 'Action': 'StopInstances', 'InstanceId.1': id, 'Force': 'false' }, 'currentState');
  await untilState(id, 'stopped', ['stopping']);
  await ask({ 'Action': 'ModifyInstanceAttribute', 'InstanceId': id, 'InstanceType.Value': 'm1.large' }, 'return');
  await ask({ 'Action': 'ModifyInstanceAttribute', 'InstanceId': id, 'UserData.Value': Buffer.from('new').toString('base64') }, 'return');
  await ask({ 'Action': 'StartInstances', 'InstanceId.1': id }, 'currentState');
  await untilState(id, 'running', ['pending', 'stopped']);
  expect(await readInstance(id)).toMatchObject({ type: 'm1.large', disableApiStop: 'false', instanceInitiatedShutdownBehavior: 'terminate', userData: Buffer.from('new').toString('base64') });
});

it('destroy: protection is taken back, the instance ends and stays visible as ended, the key pair goes', async () => {
  const id = created['instance'] ?? '';
  expect((await send({ 'Action': 'TerminateInstances', 'InstanceId.1': id })).code).toBe('OperationNotPermitted');
  await ask({ 'Action': 'ModifyInstanceAttribute', 'InstanceId': id, 'DisableApiTermination.Value': 'false' }, 'return');
  await ask({ 'Action': 'ModifyInstanceAttribute', 'InstanceId': id, 'DisableApiStop.Value': 'false' }, 'return');
  await ask({ 'Action': 'TerminateInstances', 'InstanceId.1': id }, 'currentState');
  await untilState(id, 'terminated', ['shutting-down']);
  await ask({ Action: 'DeleteKeyPair', KeyName: 'deployer' }, 'return');
  expect((await send({ 'Action': 'DescribeKeyPairs', 'KeyName.1': 'deployer', 'IncludePublicKey': 'true' })).code).toBe('InvalidKeyPair.NotFound');
});
