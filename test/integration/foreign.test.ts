/** One user never sees or touches what is another's: every operation of the EC2 door, tried with the other's ids. */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { OPERATIONS } from '../../src/ec2/operations/index.ts';
import { openContents, type Contents } from '../support/contents.ts';
import { askAs, newUser, type Ask } from '../support/query.ts';
import { startServe, type Serve } from '../support/serve.ts';

const SITE = '[[local_nodes]]\nname = "n1"\ndriver = "simulated"\nmemory_mb = 4096\ncores = 32\n';
const SSH = { 'IpPermissions.1.IpProtocol': 'tcp', 'IpPermissions.1.FromPort': '22', 'IpPermissions.1.ToPort': '22', 'IpPermissions.1.IpRanges.1.CidrIp': '10.0.0.0/8' };
const RUN = { Action: 'RunInstances', ImageId: 'nimbus-guest', MinCount: '1', MaxCount: '1' };
/** Operations that show the site, which is everyone's, and take no id of a user's. */
const OF_THE_SITE = [
  'DescribeAvailabilityZones', 'DescribeRegions', 'DescribeInstanceTypes', 'DescribeInstanceTypeOfferings', 'DescribeAccountAttributes',
  'DescribeVpcs', 'DescribeVpcAttribute', 'DescribeSubnets', 'DescribeRouteTables', 'DescribeInternetGateways', 'DescribeVolumesModifications', 'DescribeSnapshots', 'DescribeAddresses',
  'DescribeDhcpOptions', 'DescribeNetworkAcls', 'DescribeNatGateways', 'DescribeVpcPeeringConnections', 'DescribePlacementGroups', 'DescribeLaunchTemplates', 'DescribeSpotPriceHistory',
];
/** Operations that make things and take names only; below they take the first user's. */
const MAKING = ['CreateKeyPair', 'ImportKeyPair', 'CreateSecurityGroup', 'RequestSpotInstances', 'RegisterImage'];

let serve: Serve;
let contents: Contents;
let alice: Ask;
let mallory: Ask;
/** Alice's. */
const own = { lease: '', group: '', image: '', keyId: '', page: '', firewall: '', spot: '', nic: '', volume: '' };

const first = (body: string, element: string): string => new RegExp(`<${element}>([^<]+)`).exec(body)?.[1] ?? '';

beforeAll(async () => {
  serve = await startServe(SITE);
  alice = askAs(serve, await newUser(serve, 'alice'));
  mallory = askAs(serve, await newUser(serve, 'mallory'));
  own.keyId = first((await alice({ Action: 'CreateKeyPair', KeyName: 'alices-key' })).body, 'keyPairId');
  const disk = `${serve.root}/disk.raw`;
  writeFileSync(disk, Buffer.alloc(1024 * 1024));
  own.image = (await serve.admin<{ id: string }>('image', 'add', 'alices-disk', disk, '--owner', 'alice')).id;
  const run = (await alice({ ...RUN, MinCount: '6', MaxCount: '6', KeyName: 'alices-key', ClientToken: 'alices-token' })).body;
  [own.lease, own.group] = [first(run, 'instanceId'), first(run, 'reservationId')];
  own.firewall = first((await alice({ Action: 'CreateSecurityGroup', GroupName: 'alices-group', GroupDescription: 'alices-' })).body, 'groupId');
  await alice({ Action: 'AuthorizeSecurityGroupIngress', GroupId: own.firewall, ...SSH });
  own.spot = first((await alice({ 'Action': 'RequestSpotInstances', 'SpotPrice': '0.5', 'LaunchSpecification.ImageId': 'nimbus-guest', 'ValidFrom': '2099-01-01T00:00:00Z' })).body, 'spotInstanceRequestId');
  own.nic = first((await alice({ Action: 'DescribeNetworkInterfaces' })).body, 'networkInterfaceId');
  own.volume = first((await alice({ Action: 'DescribeVolumes' })).body, 'volumeId');
  for (const [what, id] of Object.entries(own)) if (what !== 'page') expect(id, what).not.toBe('');
  await alice({ 'Action': 'CreateTags', 'ResourceId.1': own.lease, 'Tag.1.Key': 'secret-plan', 'Tag.1.Value': 'x' });
  await vi.waitFor(async () => {
    expect((await alice({ Action: 'DescribeInstances' })).body.split('<name>running<')).toHaveLength(7);
  }, { timeout: 60_000 });
  own.page = first((await alice({ Action: 'DescribeInstances', MaxResults: '5' })).body, 'nextToken');
  contents = await openContents(serve.dataDir);
});
afterAll(async () => {
  await contents?.close();
  await serve?.stop();
});

/** Operation → requests of Mallory's with the codes of their refusals; '' = answered, and nothing of Alice's is in it. */
const attempts = (): Record<string, ReadonlyArray<readonly [params: Record<string, string>, code: string]>> => {
  const { lease, group, image, keyId, page, firewall, spot, nic, volume } = own;
  const onLease = (params: Record<string, string> = {}) => [[{ InstanceId: lease, ...params }, 'InvalidInstanceID.NotFound']] as const;
  const onLeases = (params: Record<string, string> = {}) => [[{ 'InstanceId.1': lease, ...params }, 'InvalidInstanceID.NotFound']] as const;
  const onImage = (params: Record<string, string> = {}) => [[{ ImageId: image, ...params }, 'InvalidAMIID.NotFound']] as const;
  const onRules = [[{ GroupId: firewall, ...SSH }, 'InvalidGroup.NotFound']] as const;
  return {
    StartInstances: onLeases(), StopInstances: onLeases(), MonitorInstances: onLeases(), UnmonitorInstances: onLeases(), DescribeInstanceCreditSpecifications: onLeases(),
    GetPasswordData: onLease(), DescribeInstanceAttribute: onLease({ Attribute: 'userData' }), ModifyInstanceAttribute: onLease({ 'DisableApiTermination.Value': 'true' }),
    ResetInstanceAttribute: onLease({ Attribute: 'sourceDestCheck' }), ModifyInstanceMetadataOptions: onLease({ HttpEndpoint: 'disabled' }), CreateImage: onLease({ Name: 'stolen' }),
    DeregisterImage: onImage(), DescribeImageAttribute: onImage({ Attribute: 'launchPermission' }), ResetImageAttribute: onImage({ Attribute: 'launchPermission' }),
    ModifyImageAttribute: onImage({ 'LaunchPermission.Add.1.Group': 'all' }),
    DescribeSecurityGroups: [[{}, ''], [{ 'GroupId.1': firewall }, 'InvalidGroup.NotFound'], [{ 'GroupName.1': 'alices-group' }, 'InvalidGroup.NotFound']],
    DescribeSecurityGroupRules: [[{}, ''], [{ 'Filter.1.Name': 'group-id', 'Filter.1.Value.1': firewall }, '']],
    DeleteSecurityGroup: [[{ GroupId: firewall }, 'InvalidGroup.NotFound']],
    AuthorizeSecurityGroupIngress: onRules, AuthorizeSecurityGroupEgress: onRules, RevokeSecurityGroupIngress: onRules, RevokeSecurityGroupEgress: onRules,
    DescribeNetworkInterfaces: [[{}, ''], [{ 'NetworkInterfaceId.1': nic }, 'InvalidNetworkInterfaceID.NotFound']],
    ModifyNetworkInterfaceAttribute: [[{ 'NetworkInterfaceId': nic, 'SourceDestCheck.Value': 'false' }, 'InvalidNetworkInterfaceID.NotFound']],
    DescribeVolumes: [
      [{}, ''], [{ 'VolumeId.1': volume }, 'InvalidVolume.NotFound'], [{ 'Filter.1.Name': 'attachment.instance-id', 'Filter.1.Value.1': lease }, ''],
      [{ 'Filter.1.Name': 'volume-id', 'Filter.1.Value.1': volume }, ''],
    ],
    DescribeVolumeStatus: [[{}, ''], [{ 'VolumeId.1': volume }, 'InvalidVolume.NotFound']],
    DescribeVolumeAttribute: [[{ VolumeId: volume, Attribute: 'autoEnableIO' }, 'InvalidVolume.NotFound']],
    DescribeSpotInstanceRequests: [[{}, ''], [{ 'SpotInstanceRequestId.1': spot }, 'InvalidSpotInstanceRequestID.NotFound']],
    CancelSpotInstanceRequests: [[{ 'SpotInstanceRequestId.1': spot }, 'InvalidSpotInstanceRequestID.NotFound']],
    DescribeInstances: [
      [{}, ''], [{ 'InstanceId.1': lease }, 'InvalidInstanceID.NotFound'], [{ NextToken: page, MaxResults: '5' }, ''],
      [{ 'Filter.1.Name': 'instance-id', 'Filter.1.Value.1': lease }, ''], [{ 'Filter.1.Name': 'reservation-id', 'Filter.1.Value.1': group }, ''],
      [{ 'Filter.1.Name': 'tag-key', 'Filter.1.Value.1': 'secret-plan' }, ''], [{ 'Filter.1.Name': 'key-name', 'Filter.1.Value.1': '*' }, ''],
    ],
    DescribeInstanceStatus: [[{}, ''], [{ 'InstanceId.1': lease }, 'InvalidInstanceID.NotFound']],
    TerminateInstances: [[{ 'InstanceId.1': lease }, 'InvalidInstanceID.NotFound'], [{ 'InstanceId.1': lease, DryRun: 'true' }, 'InvalidInstanceID.NotFound']],
    RebootInstances: [[{ 'InstanceId.1': lease }, 'InvalidInstanceID.NotFound']],
    GetConsoleOutput: [[{ InstanceId: lease }, 'InvalidInstanceID.NotFound']],
    DescribeImages: [
      [{}, ''], [{ 'ImageId.1': image }, 'InvalidAMIID.NotFound'], [{ 'Filter.1.Name': 'name', 'Filter.1.Value.1': 'alices-disk' }, ''], [{ 'Owner.1': 'all' }, ''],
    ],
    RunInstances: [
      [{ ...RUN, ImageId: image }, 'InvalidAMIID.NotFound'], [{ ...RUN, ImageId: 'alices-disk' }, 'InvalidAMIID.NotFound'],
      [{ ...RUN, KeyName: 'alices-key' }, 'InvalidKeyPair.NotFound'],
    ],
    DescribeKeyPairs: [[{}, ''], [{ 'KeyName.1': 'alices-key' }, 'InvalidKeyPair.NotFound'], [{ 'KeyPairId.1': keyId }, 'InvalidKeyPair.NotFound']],
    // AWS answers a deletion of what is not there with success.
    DeleteKeyPair: [[{ KeyName: 'alices-key' }, ''], [{ KeyPairId: keyId }, '']],
    CreateTags: [
      [{ 'ResourceId.1': lease, 'Tag.1.Key': 'a', 'Tag.1.Value': 'b' }, 'InvalidInstanceID.NotFound'],
      [{ 'ResourceId.1': lease, 'Tag.1.Key': 'nimbus:duration', 'Tag.1.Value': '1m' }, 'InvalidInstanceID.NotFound'],
      [{ 'ResourceId.1': image, 'Tag.1.Key': 'a', 'Tag.1.Value': 'b' }, 'InvalidAMIID.NotFound'],
      [{ 'ResourceId.1': keyId, 'Tag.1.Key': 'a', 'Tag.1.Value': 'b' }, 'InvalidKeyPair.NotFound'],
    ],
    DeleteTags: [[{ 'ResourceId.1': lease, 'Tag.1.Key': 'secret-plan' }, 'InvalidInstanceID.NotFound'], [{ 'ResourceId.1': lease }, 'InvalidInstanceID.NotFound']],
    DescribeTags: [[{}, ''], [{ 'Filter.1.Name': 'resource-id', 'Filter.1.Value.1': lease }, ''], [{ 'Filter.1.Name': 'key', 'Filter.1.Value.1': 'secret-plan' }, '']],
  };
};

describe('another user', () => {
  it('is refused as if the things were not there, sees nothing of them, and changes nothing', async () => {
    const before = await contents.read();
    for (const [Action, tries] of Object.entries(attempts())) {
      for (const [params, code] of tries) {
        const r = await mallory({ Action, ...params });
        const what = `${Action} ${JSON.stringify(params)}: ${r.body}`;
        expect(r.code, what).toBe(code);
        // An answer may repeat what was asked, and nothing more.
        if (code === '') for (const secret of [own.lease, own.group, own.image, own.keyId, own.firewall, own.spot, own.nic, own.volume, 'alices-', 'secret-plan']) expect(r.body, what).not.toContain(secret);
        else expect(r.message, what).not.toMatch(/alice(?!s-)|owner|another/i);
      }
    }
    expect(await contents.read()).toEqual(before);
  });

  it('may have names and tokens that the first one has, and gets things of its own', async () => {
    const key = await mallory({ Action: 'CreateKeyPair', KeyName: 'alices-key' });
    expect([key.status, first(key.body, 'keyPairId')]).toEqual([200, expect.not.stringMatching(own.keyId)]);
    const group = await mallory({ Action: 'CreateSecurityGroup', GroupName: 'alices-group', GroupDescription: 'hers' });
    expect([group.status, first(group.body, 'groupId')]).toEqual([200, expect.not.stringMatching(own.firewall)]);
    const asked = { 'Action': 'RequestSpotInstances', 'SpotPrice': '0.5', 'LaunchSpecification.KeyName': 'alices-key', 'LaunchSpecification.ImageId': own.image };
    expect((await mallory(asked)).code).toBe('InvalidAMIID.NotFound');
    expect((await mallory({ Action: 'RegisterImage', ImageLocation: 'alice/alices-disk' })).code).toBe('InvalidManifest');
    const run = await mallory({ ...RUN, KeyName: 'alices-key', ClientToken: 'alices-token' });
    expect(run.status, run.body).toBe(200);
    expect(run.body).not.toContain(own.group);
    const id = first(run.body, 'instanceId');
    expect((await alice({ Action: 'DescribeInstances', 'InstanceId.1': id })).code).toBe('InvalidInstanceID.NotFound');
    // One foreign id among own ones: nothing is done to any.
    expect((await mallory({ 'Action': 'TerminateInstances', 'InstanceId.1': id, 'InstanceId.2': own.lease })).code).toBe('InvalidInstanceID.NotFound');
    expect((await mallory({ Action: 'DescribeInstances', 'InstanceId.1': id })).body).not.toMatch(/shutting-down|terminated/);
    expect((await mallory({ Action: 'TerminateInstances', 'InstanceId.1': id })).status).toBe(200);
  });

  it('is tried with every operation', () => {
    const tried = [...Object.keys(attempts()), ...OF_THE_SITE, ...MAKING];
    expect([...OPERATIONS.keys()].filter((name) => !tried.includes(name))).toEqual([]);
  });
});
