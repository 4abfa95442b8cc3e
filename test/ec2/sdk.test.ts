import {
  CreateKeyPairCommand, CreateTagsCommand, DeleteKeyPairCommand, DeleteTagsCommand, DescribeAccountAttributesCommand,
  DescribeAddressesCommand, DescribeAvailabilityZonesCommand, DescribeDhcpOptionsCommand, DescribeImagesCommand, DescribeInstancesCommand,
  DescribeInstanceStatusCommand, DescribeInstanceTypesCommand, DescribeKeyPairsCommand, DescribeRegionsCommand,
  DescribeLaunchTemplatesCommand, DescribeNatGatewaysCommand, DescribeNetworkAclsCommand, DescribePlacementGroupsCommand, DescribeSnapshotsCommand, DescribeTagsCommand,
  DescribeVolumesModificationsCommand, DescribeVpcPeeringConnectionsCommand, EC2Client, GetConsoleOutputCommand, ImportKeyPairCommand, RebootInstancesCommand, RunInstancesCommand,
  TerminateInstancesCommand, paginateDescribeInstances,
} from '@aws-sdk/client-ec2';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ALICE, alice, bob, openDoor, type OpenDoor } from './door.ts';
import { behindPort, bridged, lease, onBridge } from './fake-manager.ts';

let door: OpenDoor;
let ec2: EC2Client;
beforeAll(async () => {
  door = await openDoor({ now: Date.now() });
  ec2 = new EC2Client({ endpoint: door.url, region: 'anywhere', credentials: { accessKeyId: ALICE.accessKey, secretAccessKey: ALICE.secret }, maxAttempts: 1 });
});
afterAll(async () => {
  ec2.destroy();
  await door.close();
});
beforeEach(() => {
  door.now = Date.now();
  door.manager.leasesById.clear();
  door.manager.mutations.length = 0;
});

const put = (n: number, change: Parameters<typeof lease>[2] = {}, owner = alice): string => {
  const l = lease(n, owner, change);
  door.manager.leasesById.set(l.id, l);
  return l.id;
};
const ids = async (filters: Array<{ Name: string; Values: string[] }>, more: object = {}): Promise<string[]> => {
  const found = await ec2.send(new DescribeInstancesCommand({ Filters: filters, ...more }));
  return (found.Reservations ?? []).flatMap((r) => (r.Instances ?? []).map((i) => i.InstanceId ?? ''));
};
const refusal = async (sent: Promise<unknown>): Promise<{ name: string; status: number | undefined; message: string }> => {
  const e = await sent.then(() => { throw new Error('was not refused'); }, (x: Error & { $metadata?: { httpStatusCode?: number } }) => x);
  return { name: e.name, status: e.$metadata?.httpStatusCode, message: e.message };
};

describe('RunInstances', () => {
  it('translates every parameter into one request and shows the group', async () => {
    const answer = await ec2.send(new RunInstancesCommand({
      ImageId: 'guest', MinCount: 1, MaxCount: 2, InstanceType: 'm1.large' as 'm1.large', KeyName: 'my key', UserData: Buffer.from('#!/bin/sh\n').toString('base64'),
      Placement: { AvailabilityZone: 'default' }, ClientToken: 'token-1', SecurityGroups: ['default'], EbsOptimized: true, Monitoring: { Enabled: true },
      TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'Name', Value: 'a<b>&"' }, { Key: 'nimbus:duration', Value: '90m' }] }],
    }));
    expect(door.manager.mutations).toEqual([{ what: 'create', caller: expect.objectContaining({ name: 'alice', door: 'ec2', ownerId: '111111111111', requestId: answer.$metadata.requestId }), args: {
      minCount: 1, maxCount: 2, image: 'guest', type: 'm1.large', zone: 'default', keyName: 'my key', userData: Buffer.from('#!/bin/sh\n'),
      durationS: 5400, clientToken: 'token-1', securityGroups: ['default'], tags: { 'Name': 'a<b>&"', 'nimbus:duration': '90m' },
    } }]);
    expect(answer).toMatchObject({ ReservationId: expect.stringMatching(/^r-/), OwnerId: '111111111111' });
    expect(answer.Instances).toHaveLength(2);
    expect(answer.Instances?.[1]).toMatchObject({
      ImageId: 'ami-00000000000000001', State: { Code: 0, Name: 'pending' }, AmiLaunchIndex: 1, InstanceType: 'm1.large', KeyName: 'my key',
      LaunchTime: new Date(Math.floor(door.now / 1000) * 1000), Placement: { AvailabilityZone: 'default', Tenancy: 'default' }, ClientToken: 'token-1',
      Architecture: 'x86_64', RootDeviceType: 'ebs', VirtualizationType: 'hvm', SecurityGroups: [{ GroupId: expect.stringMatching(/^sg-[0-9a-f]{17}$/), GroupName: 'default' }],
      Tags: [{ Key: 'Name', Value: 'a<b>&"' }, { Key: 'nimbus:duration', Value: '90m' }, { Key: 'nimbus:ends', Value: `${new Date(door.now + 5_400_000).toISOString().slice(0, 19)}.000Z` }],
    });
    expect(answer.Instances?.[0]?.PublicIpAddress).toBeUndefined();
  });

  it('says of what cannot be had here what to do instead', async () => {
    for (const [more, message] of [
      [{ LaunchTemplate: { LaunchTemplateName: 'x' } }, 'no launch templates'], [{ InstanceMarketOptions: { MarketType: 'spot', SpotOptions: { BlockDurationMinutes: 60 } } }, 'No time is reserved'],
      [{ NetworkInterfaces: [{ DeviceIndex: 0, NetworkInterfaceId: 'eni-1' }] }, 'come and go with their instances'], [{ PrivateIpAddress: '10.0.0.9' }, 'leased from the site'],
    ] as const) {
      expect(await refusal(ec2.send(new RunInstancesCommand({ ImageId: 'guest', MinCount: 1, MaxCount: 1, ...structuredClone(more) as object }))))
        .toMatchObject({ name: 'UnsupportedOperation', status: 400, message: expect.stringContaining(message) });
    }
    expect(door.manager.mutations).toEqual([]);
  });

  it('answers DryRun with 412 and changes nothing', async () => {
    expect(await refusal(ec2.send(new RunInstancesCommand({ ImageId: 'guest', MinCount: 1, MaxCount: 1, DryRun: true })))).toMatchObject({ name: 'DryRunOperation', status: 412 });
    expect(await refusal(ec2.send(new DescribeInstancesCommand({ DryRun: true })))).toMatchObject({ name: 'DryRunOperation', status: 412 });
    expect(door.manager.mutations).toEqual([]);
  });

  it('passes refusals on with the code, status and reasons', async () => {
    const { Fault } = await import('../../src/lease/faults.ts');
    door.manager.broken = new Fault('NoCapacity', 'No node has room', ['n1: 128 MiB free, 512 needed', 'n2: drained']);
    const told = await refusal(ec2.send(new RunInstancesCommand({ ImageId: 'guest', MinCount: 1, MaxCount: 1 })));
    door.manager.broken = undefined;
    expect(told).toEqual({ name: 'InsufficientInstanceCapacity', status: 500, message: 'No node has room (n1: 128 MiB free, 512 needed; n2: drained)' });
  });
});

describe('DescribeInstances', () => {
  it('shows addresses only where the guest answers', async () => {
    put(1, { reach: onBridge, nics: [bridged] });
    put(2, { reach: behindPort });
    put(3, { reach: null, nics: [bridged] });
    put(4, { state: 'Corrupted', reasonCode: 'Server.InternalError', reason: 'qemu did not start' });
    const shown = (await ec2.send(new DescribeInstancesCommand({}))).Reservations?.flatMap((r) => r.Instances ?? []) ?? [];
    expect(shown[0]).toMatchObject({ PublicIpAddress: '10.20.0.2', PrivateIpAddress: '10.20.0.2', PublicDnsName: '10.20.0.2', State: { Code: 16 } });
    expect(shown[1]).toMatchObject({ PublicIpAddress: '192.0.2.7', PublicDnsName: '' });
    expect(shown[1]?.Tags).toContainEqual({ Key: 'nimbus:ssh', Value: 'ssh -p 42001 root@192.0.2.7' });
    for (const none of [shown[1]?.PrivateIpAddress, shown[2]?.PublicIpAddress, shown[2]?.PrivateIpAddress]) expect(none).toBeUndefined();
    expect(shown[3]).toMatchObject({ State: { Code: 48, Name: 'terminated' }, StateReason: { Code: 'Server.InternalError', Message: 'qemu did not start' } });
  });

  it('groups a reservation and shows no other user\'s lease', async () => {
    put(1, { groupId: 'r-0000000a' });
    put(2, { groupId: 'r-0000000a', launchIndex: 1 });
    const foreign = put(3, {}, bob);
    const { Reservations } = await ec2.send(new DescribeInstancesCommand({}));
    expect(Reservations?.map((r) => [r.ReservationId, r.Instances?.length])).toEqual([['r-0000000a', 2]]);
    expect(await refusal(ec2.send(new DescribeInstancesCommand({ InstanceIds: [foreign] })))).toMatchObject({ name: 'InvalidInstanceID.NotFound', status: 400 });
    expect(await refusal(ec2.send(new DescribeInstancesCommand({ InstanceIds: ['i-xyz'] })))).toMatchObject({ name: 'InvalidInstanceID.Malformed', status: 400 });
  });

  it('filters, with wildcards, by fields and tags, and refuses unknown filters', async () => {
    const a = put(1, { tags: { Name: 'web*1', role: 'web' }, keyName: 'k1' });
    const b = put(2, { tags: { Name: 'web-2' }, state: 'Terminated', type: 'm1.large' });
    expect(await ids([{ Name: 'instance-state-name', Values: ['running', 'pending'] }])).toEqual([a]);
    expect(await ids([{ Name: 'instance-state-code', Values: ['48'] }])).toEqual([b]);
    expect(await ids([{ Name: 'tag:Name', Values: ['web?2', 'nothing'] }])).toEqual([b]);
    expect(await ids([{ Name: 'tag:Name', Values: ['web\\**'] }])).toEqual([a]);
    expect(await ids([{ Name: 'tag-key', Values: ['rol*'] }, { Name: 'key-name', Values: ['k1'] }])).toEqual([a]);
    expect(await ids([{ Name: 'instance-type', Values: ['*.large'] }])).toEqual([b]);
    expect(await ids([{ Name: 'vpc-id', Values: ['*'] }])).toEqual([]);
    expect(await ids([{ Name: 'tag:__proto__', Values: ['*'] }])).toEqual([]);
    for (const Name of ['colour', '__proto__', 'constructor']) {
      expect(await refusal(ids([{ Name, Values: ['x'] }]))).toMatchObject({ name: 'InvalidParameterValue', message: `The filter '${Name}' is invalid` });
    }
    expect(await refusal(ids([{ Name: 'instance-id', Values: Array.from({ length: 201 }, (_, i) => String(i)) }]))).toMatchObject({ name: 'FilterLimitExceeded' });
  });

  it('pages with tokens that it made, also through filters', async () => {
    const all = Array.from({ length: 25 }, (_, i) => put(i + 1, { type: i % 2 === 0 ? 'm1.small' : 'm1.large' }));
    const pages: string[][] = [];
    for await (const p of paginateDescribeInstances({ client: ec2, pageSize: 10 }, {})) pages.push((p.Reservations ?? []).flatMap((r) => (r.Instances ?? []).map((i) => i.InstanceId ?? '')));
    expect(pages.map((p) => p.length)).toEqual([10, 10, 5]);
    expect(pages.flat()).toEqual(all);
    const named: string[] = [];
    for await (const p of paginateDescribeInstances({ client: ec2, pageSize: 10 }, { InstanceIds: all.slice(3) })) named.push(...(p.Reservations ?? []).flatMap((r) => (r.Instances ?? []).map((i) => i.InstanceId ?? '')));
    expect(named).toEqual(all.slice(3));
    const odd: string[] = [];
    for await (const p of paginateDescribeInstances({ client: ec2, pageSize: 5 }, { Filters: [{ Name: 'instance-type', Values: ['m1.large'] }] })) odd.push(...(p.Reservations ?? []).flatMap((r) => (r.Instances ?? []).map((i) => i.InstanceId ?? '')));
    expect(odd).toEqual(all.filter((_, i) => i % 2 === 1));
    for (const NextToken of ['x', Buffer.from('1 DescribeInstances ').toString('base64url'), Buffer.from('1 DescribeTags i-1').toString('base64url'), Buffer.from('1 DescribeInstances ../../x').toString('base64url')]) {
      expect(await refusal(ec2.send(new DescribeInstancesCommand({ NextToken })))).toMatchObject({ name: 'InvalidNextToken' });
    }
  });
});

describe('other instance operations', () => {
  it('terminates and reboots', async () => {
    const id = put(1);
    const { TerminatingInstances } = await ec2.send(new TerminateInstancesCommand({ InstanceIds: [id, id] }));
    expect(TerminatingInstances).toEqual([{ InstanceId: id, CurrentState: { Code: 32, Name: 'shutting-down' }, PreviousState: { Code: 16, Name: 'running' } }]);
    await ec2.send(new RebootInstancesCommand({ InstanceIds: [put(2)] }));
    expect(door.manager.mutations.map((m) => m.what)).toEqual(['end', 'reboot']);
  });

  it('shows the status with the end as a scheduled event, of running leases only unless asked', async () => {
    const [a, b] = [put(1), put(2, { state: 'Terminated' })];
    const running = await ec2.send(new DescribeInstanceStatusCommand({}));
    expect(running.InstanceStatuses).toEqual([{
      InstanceId: a, AvailabilityZone: 'default', InstanceState: { Code: 16, Name: 'running' },
      SystemStatus: { Status: 'ok', Details: [{ Name: 'reachability', Status: 'passed' }] },
      InstanceStatus: { Status: 'ok', Details: [{ Name: 'reachability', Status: 'passed' }] },
      Events: [{ InstanceEventId: expect.any(String), Code: 'instance-retirement', Description: 'The lease ends', NotBefore: new Date(Date.UTC(2026, 10, 23, 14)) }],
    }]);
    const all = await ec2.send(new DescribeInstanceStatusCommand({ IncludeAllInstances: true }));
    expect(all.InstanceStatuses?.map((s) => [s.InstanceId, s.InstanceStatus?.Status, s.Events])).toEqual([[a, 'ok', expect.any(Array)], [b, 'not-applicable', []]]);
  });

  it('gives the console', async () => {
    const id = put(1);
    const { InstanceId, Output, Timestamp } = await ec2.send(new GetConsoleOutputCommand({ InstanceId: id }));
    expect([InstanceId, Buffer.from(Output ?? '', 'base64').toString(), Timestamp?.getTime()]).toEqual([id, `banner of ${id}\r\n`, Math.floor(door.now / 1000) * 1000]);
  });
});

describe('images and keys', () => {
  it('shows own and common images, by id, name, owner and filter', async () => {
    const list = async (q: object): Promise<Array<string | undefined>> => ((await ec2.send(new DescribeImagesCommand(q))).Images ?? []).map((i) => i.Name);
    expect(await list({})).toEqual(['guest', 'mine']);
    expect(await list({ Owners: ['self'] })).toEqual(['mine']);
    expect(await list({ Owners: ['common'] })).toEqual(['guest']);
    expect(await list({ ImageIds: ['ami-00000001'] })).toEqual(['mine']);
    expect(await list({ Filters: [{ Name: 'is-public', Values: ['true'] }, { Name: 'name', Values: ['g*'] }] })).toEqual(['guest']);
    const [mine] = (await ec2.send(new DescribeImagesCommand({ Owners: ['self'] }))).Images ?? [];
    expect(mine).toMatchObject({ ImageId: 'ami-00000001', Description: 'Alice & Bob <img>', Public: false, OwnerId: '111111111111', State: 'available', CreationDate: '2026-01-01T00:00:00.000Z' });
    expect(await refusal(ec2.send(new DescribeImagesCommand({ ImageIds: ['ami-00000002'] })))).toMatchObject({ name: 'InvalidAMIID.NotFound' });
    expect(await refusal(ec2.send(new DescribeImagesCommand({ ImageIds: ['ami-zz'] })))).toMatchObject({ name: 'InvalidAMIID.Malformed' });
  });

  it('makes, imports, shows and deletes key pairs', async () => {
    const made = await ec2.send(new CreateKeyPairCommand({ KeyName: 'k1', KeyType: 'ed25519', TagSpecifications: [{ ResourceType: 'key-pair', Tags: [{ Key: 'a', Value: 'b' }] }] }));
    expect(made).toMatchObject({ KeyName: 'k1', KeyFingerprint: 'aa:bb:cc', KeyMaterial: expect.stringContaining('BEGIN'), KeyPairId: expect.stringMatching(/^key-/), Tags: [{ Key: 'a', Value: 'b' }] });
    await ec2.send(new ImportKeyPairCommand({ KeyName: 'k2', PublicKeyMaterial: Buffer.from('ssh-rsa AAAA x') }));
    expect(door.manager.mutations.at(-1)?.args).toMatchObject({ name: 'k2', publicKey: 'ssh-rsa AAAA x' });
    const both = await ec2.send(new DescribeKeyPairsCommand({ IncludePublicKey: true }));
    expect(both.KeyPairs?.map((k) => [k.KeyName, k.KeyType, k.PublicKey, k.Tags])).toEqual([['k1', 'ed25519', 'ssh-ed25519 AAAA', [{ Key: 'a', Value: 'b' }]], ['k2', 'rsa', 'ssh-rsa AAAA x', []]]);
    expect((await ec2.send(new DescribeKeyPairsCommand({ Filters: [{ Name: 'tag:a', Values: ['b'] }] }))).KeyPairs?.map((k) => [k.KeyName, k.PublicKey])).toEqual([['k1', undefined]]);
    expect(await refusal(ec2.send(new CreateKeyPairCommand({ KeyName: 'k1' })))).toMatchObject({ name: 'InvalidKeyPair.Duplicate', status: 400 });
    expect(await refusal(ec2.send(new CreateKeyPairCommand({ KeyName: 'k3', KeyFormat: 'ppk' })))).toMatchObject({ name: 'UnsupportedOperation' });
    expect(await refusal(ec2.send(new DescribeKeyPairsCommand({ KeyNames: ['none'] })))).toEqual({ name: 'InvalidKeyPair.NotFound', status: 400, message: 'The key pair \'none\' does not exist' });
    expect(await ec2.send(new DeleteKeyPairCommand({ KeyName: 'k1' }))).toMatchObject({ Return: true, KeyPairId: made.KeyPairId });
    expect(await ec2.send(new DeleteKeyPairCommand({ KeyName: 'k1' }))).toMatchObject({ Return: true });
  });
});

describe('tags', () => {
  it('are set, shown by filter, and removed', async () => {
    const id = put(1);
    await ec2.send(new CreateTagsCommand({ Resources: [id], Tags: [{ Key: 'Name', Value: '' }, { Key: 'x', Value: '1' }] }));
    expect((await ec2.send(new DescribeTagsCommand({ Filters: [{ Name: 'resource-id', Values: [id] }, { Name: 'key', Values: ['x', 'y'] }] }))).Tags)
      .toEqual([{ ResourceId: id, ResourceType: 'instance', Key: 'x', Value: '1' }]);
    await ec2.send(new DeleteTagsCommand({ Resources: [id], Tags: [{ Key: 'x', Value: '2' }, { Key: 'Name' }] }));
    expect(door.manager.mutations.at(-1)?.args).toEqual({ ids: [id], remove: [{ key: 'x', value: '2' }, { key: 'Name', value: undefined }] });
    await ec2.send(new DeleteTagsCommand({ Resources: [id] }));
    expect((await ec2.send(new DescribeTagsCommand({}))).Tags?.filter((t) => t.ResourceId === id)).toEqual([]);
  });

  it('move the end of a lease', async () => {
    const id = put(1);
    await ec2.send(new CreateTagsCommand({ Resources: [id], Tags: [{ Key: 'nimbus:duration', Value: '2h' }, { Key: 'Name', Value: 'n' }] }));
    expect(door.manager.mutations.map((m) => m.args)).toEqual([{ ids: [id], set: { 'nimbus:duration': '2h', 'Name': 'n' }, end: { durationS: 7200 } }]);
    await ec2.send(new CreateTagsCommand({ Resources: [id], Tags: [{ Key: 'nimbus:ends', Value: '2026-12-01T00:00:00Z' }] }));
    expect(door.manager.mutations.at(-1)?.args).toEqual({ ids: [id], set: {}, end: { endsAt: Date.UTC(2026, 11, 1) } });
    const tags = async (): Promise<unknown> => (await ec2.send(new DescribeInstancesCommand({ InstanceIds: [id] }))).Reservations?.[0]?.Instances?.[0]?.Tags;
    const ends = { Key: 'nimbus:ends', Value: '2026-12-01T00:00:00.000Z' };
    expect(await tags()).toEqual([{ Key: 'Name', Value: 'n' }, { Key: 'nimbus:duration', Value: '2h' }, ends]);
    await ec2.send(new DeleteTagsCommand({ Resources: [id], Tags: [{ Key: 'nimbus:duration' }] }));
    expect(door.manager.mutations.at(-1)).toMatchObject({ what: 'tags.remove', args: { remove: [{ key: 'nimbus:duration' }] } });
    for (const Tag of [{ Key: 'nimbus:ssh', Value: 'x' }, { Key: 'aws:x', Value: 'x' }, { Key: 'nimbus:duration', Value: 'soon' }, { Key: 'nimbus:ends', Value: 'never' }]) {
      expect(await refusal(ec2.send(new CreateTagsCommand({ Resources: [id], Tags: [Tag] })))).toMatchObject({ name: 'InvalidParameterValue', status: 400 });
    }
    expect(await refusal(ec2.send(new CreateTagsCommand({ Resources: ['ami-00000001'], Tags: [{ Key: 'nimbus:duration', Value: '1h' }] })))).toMatchObject({ name: 'InvalidParameterValue' });
    expect(await refusal(ec2.send(new DeleteTagsCommand({ Resources: [id], Tags: [{ Key: 'nimbus:ends' }] })))).toMatchObject({ name: 'InvalidParameterValue' });
    expect(await refusal(ec2.send(new CreateTagsCommand({ Resources: ['vol-1'], Tags: [{ Key: 'a', Value: 'b' }] })))).toMatchObject({ name: 'InvalidID' });
  });
});

describe('the site', () => {
  it('shows zones, region, types and limits', async () => {
    const zones = await ec2.send(new DescribeAvailabilityZonesCommand({ Filters: [{ Name: 'region-name', Values: ['nimbus'] }, { Name: 'state', Values: ['available'] }] }));
    expect(zones.AvailabilityZones).toMatchObject([{ ZoneName: 'default', State: 'available', RegionName: 'nimbus', Messages: [] }]);
    expect(await refusal(ec2.send(new DescribeAvailabilityZonesCommand({ ZoneNames: ['moon'] })))).toMatchObject({ name: 'InvalidParameterValue' });
    expect((await ec2.send(new DescribeRegionsCommand({ RegionNames: ['nimbus'] }))).Regions).toEqual([{ RegionName: 'nimbus', Endpoint: '127.0.0.1', OptInStatus: 'opt-in-not-required' }]);
    const types = await ec2.send(new DescribeInstanceTypesCommand({ InstanceTypes: ['m1.large'] }));
    expect(types.InstanceTypes).toMatchObject([{
      InstanceType: 'm1.large', MemoryInfo: { SizeInMiB: 512 }, VCpuInfo: { DefaultVCpus: 2, DefaultCores: 2, DefaultThreadsPerCore: 1 }, InstanceStorageInfo: { TotalSizeInGB: 2 },
      ProcessorInfo: { SupportedArchitectures: ['x86_64'] }, BurstablePerformanceSupported: false, NetworkInfo: { MaximumNetworkInterfaces: 2 },
    }]);
    expect(await refusal(ec2.send(new DescribeInstanceTypesCommand({ InstanceTypes: ['t2.micro'] })))).toMatchObject({ name: 'InvalidInstanceType' });
    expect((await ec2.send(new DescribeAccountAttributesCommand({ AttributeNames: ['max-instances' as 'default-vpc'] }))).AccountAttributes)
      .toEqual([{ AttributeName: 'max-instances', AttributeValues: [{ AttributeValue: '10000' }] }]);
  });

  it('answers for what it does not have', async () => {
    expect((await ec2.send(new DescribeVolumesModificationsCommand({}))).VolumesModifications).toEqual([]);
    expect((await ec2.send(new DescribeAddressesCommand({}))).Addresses).toEqual([]);
    expect((await ec2.send(new DescribeSnapshotsCommand({ OwnerIds: ['self'] }))).Snapshots).toEqual([]);
    expect(await refusal(ec2.send(new DescribeVolumesModificationsCommand({ VolumeIds: ['vol-12345678'] })))).toMatchObject({ name: 'InvalidVolumeModification.NotFound' });
    expect(await refusal(ec2.send(new DescribeSnapshotsCommand({ SnapshotIds: ['snap-1'] })))).toMatchObject({ name: 'InvalidSnapshot.NotFound' });
    expect(await refusal(ec2.send(new DescribeAddressesCommand({ PublicIps: ['192.0.2.1'] })))).toMatchObject({ name: 'InvalidAddress.NotFound' });
    expect(await refusal(ec2.send(new DescribeAddressesCommand({ AllocationIds: ['eipalloc-1'] })))).toMatchObject({ name: 'InvalidAllocationID.NotFound' });
    expect((await ec2.send(new DescribeDhcpOptionsCommand({}))).DhcpOptions).toEqual([]);
    expect((await ec2.send(new DescribeNetworkAclsCommand({ Filters: [{ Name: 'default', Values: ['true'] }] }))).NetworkAcls).toEqual([]);
    expect((await ec2.send(new DescribeNatGatewaysCommand({ Filter: [{ Name: 'state', Values: ['available'] }] }))).NatGateways).toEqual([]);
    expect((await ec2.send(new DescribeVpcPeeringConnectionsCommand({}))).VpcPeeringConnections).toEqual([]);
    expect((await ec2.send(new DescribePlacementGroupsCommand({}))).PlacementGroups).toEqual([]);
    expect((await ec2.send(new DescribeLaunchTemplatesCommand({}))).LaunchTemplates).toEqual([]);
    expect(await refusal(ec2.send(new DescribeDhcpOptionsCommand({ DhcpOptionsIds: ['dopt-1'] })))).toMatchObject({ name: 'InvalidDhcpOptionID.NotFound' });
    expect(await refusal(ec2.send(new DescribeNetworkAclsCommand({ NetworkAclIds: ['acl-1'] })))).toMatchObject({ name: 'InvalidNetworkAclID.NotFound' });
    expect(await refusal(ec2.send(new DescribeNatGatewaysCommand({ NatGatewayIds: ['nat-1'] })))).toMatchObject({ name: 'NatGatewayNotFound' });
    expect(await refusal(ec2.send(new DescribeVpcPeeringConnectionsCommand({ VpcPeeringConnectionIds: ['pcx-1'] })))).toMatchObject({ name: 'InvalidVpcPeeringConnectionID.NotFound' });
    expect(await refusal(ec2.send(new DescribePlacementGroupsCommand({ GroupNames: ['near'] })))).toMatchObject({ name: 'InvalidPlacementGroup.Unknown' });
    expect(await refusal(ec2.send(new DescribeLaunchTemplatesCommand({ LaunchTemplateIds: ['lt-1'] })))).toMatchObject({ name: 'InvalidLaunchTemplateId.NotFound' });
    expect(await refusal(ec2.send(new DescribeLaunchTemplatesCommand({ LaunchTemplateNames: ['web'] })))).toMatchObject({ name: 'InvalidLaunchTemplateName.NotFoundException' });
  });
});
