/** Refusals that no other test of an action meets: each request changes nothing and says why with the code of the reference. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { policiesOf } from '../support/policies.ts';
import { BOB } from './door.ts';
import { first, openSiteDoor, type SiteDoor } from './site-door.ts';

type Parameters = Readonly<Record<string, string>>;

let door: SiteDoor;
const names = new Map<string, string>();
beforeAll(async () => {
  door = await openSiteDoor({
    nodes: [{ name: 'n1', memoryMb: 4096, cores: 16 }],
    config: { types: { 'm1.small': { memory_mb: 128, cores: 1 }, 'm1.large': { memory_mb: 512, cores: 2 }, 'm1.xlarge': { memory_mb: 1024, cores: 4 } } },
  });
  const policies = policiesOf(door.site);
  await policies.set('small', { memory_mb: 600, types: ['m1.small', 'm1.large'] }, 'group');
  await policies.assign('small', 'bob');
  names.set('$instance', await door.run());
  const stopped = await door.run({}, BOB);
  await door.settled({ Action: 'StopInstances', 'InstanceId.1': stopped }, BOB);
  names.set('$stopped', stopped);
  await door.run({}, BOB);
  names.set('$group', first(await door.ask({ Action: 'CreateSecurityGroup', GroupName: 'web', GroupDescription: 'for a test' }), 'groupId'));
});
afterAll(() => door.close());

const run = (more: Parameters): Parameters => ({ Action: 'RunInstances', ImageId: 'guest', MinCount: '1', MaxCount: '1', ...more });
const tag = (key: string, value: string, n = 1): Parameters => ({ [`Tag.${n}.Key`]: key, [`Tag.${n}.Value`]: value });
const duration = (value: string): Parameters => ({ 'TagSpecification.1.ResourceType': 'instance', 'TagSpecification.1.Tag.1.Key': 'nimbus:duration', 'TagSpecification.1.Tag.1.Value': value });
const rule = (group: string, port = 22): Parameters => ({ GroupId: group, 'IpPermissions.1.IpProtocol': 'tcp', 'IpPermissions.1.FromPort': String(port), 'IpPermissions.1.ToPort': String(port), 'IpPermissions.1.IpRanges.1.CidrIp': '10.0.0.0/8' });
const manyRules = (group: string): Parameters => Object.assign({ GroupId: group }, ...Array.from({ length: 61 }, (_, i) => ({
  [`IpPermissions.${i + 1}.IpProtocol`]: 'tcp', [`IpPermissions.${i + 1}.FromPort`]: String(i + 1), [`IpPermissions.${i + 1}.ToPort`]: String(i + 1), [`IpPermissions.${i + 1}.IpRanges.1.CidrIp`]: '10.0.0.0/8',
}))) as Parameters;
const byAnotherGroup: Parameters = { 'IpPermissions.1.IpProtocol': 'tcp', 'IpPermissions.1.FromPort': '1', 'IpPermissions.1.ToPort': '1', 'IpPermissions.1.PrefixListIds.1.PrefixListId': 'pl-12345678' };
const unknownGroup = 'sg-0000000000000dead';

const REFUSED: ReadonlyArray<readonly [request: Parameters, code: string, who?: typeof BOB]> = [
  [run({ KeyName: 'none' }), 'InvalidKeyPair.NotFound'],
  [run({ InstanceType: 'x1.none' }), 'InvalidParameterValue'],
  [run({ 'Placement.AvailabilityZone': 'nowhere' }), 'InvalidParameterValue'],
  [run(duration('365d')), 'InvalidParameterValue'],
  [run({ InstanceType: 'm1.xlarge' }), 'UnauthorizedOperation', BOB],
  [{ Action: 'DescribeInstanceStatus', 'InstanceId.1': 'vm-1' }, 'InvalidInstanceID.Malformed'],
  [{ Action: 'ModifyInstanceAttribute', InstanceId: 'vm-1', 'DisableApiTermination.Value': 'true' }, 'InvalidInstanceID.Malformed'],
  [{ Action: 'ModifyInstanceAttribute', InstanceId: '$stopped', 'InstanceType.Value': 'm1.large' }, 'InstanceLimitExceeded', BOB],
  [{ Action: 'ModifyInstanceAttribute', InstanceId: '$stopped', 'InstanceType.Value': 'm1.xlarge' }, 'UnauthorizedOperation', BOB],
  [{ Action: 'CreateKeyPair', KeyName: 'k', 'TagSpecification.1.ResourceType': 'key-pair', 'TagSpecification.1.Tag.1.Key': 'aws:x', 'TagSpecification.1.Tag.1.Value': '' }, 'InvalidParameterValue'],
  [{ Action: 'CreateTags', 'ResourceId.1': '$instance', ...Object.assign({}, ...Array.from({ length: 51 }, (_, i) => tag(`k${i}`, '', i + 1))) as Parameters }, 'TagLimitExceeded'],
  [{ Action: 'CreateTags', 'ResourceId.1': '$instance', ...tag('nimbus:duration', '365d') }, 'InvalidParameterValue'],
  [{ Action: 'CreateTags', 'ResourceId.1': '$instance', ...tag('nimbus:duration', '1h'), ...tag('nimbus:ends', '2030-01-01T00:00:00Z', 2) }, 'InvalidParameterCombination'],
  [{ Action: 'DeleteTags', 'ResourceId.1': 'eni-12345678', ...tag('a', '') }, 'InvalidID'],
  [{ Action: 'DescribeAccountAttributes', 'AttributeName.1': 'none' }, 'InvalidParameterValue'],
  [{ Action: 'AuthorizeSecurityGroupEgress', ...rule(unknownGroup) }, 'InvalidGroup.NotFound'],
  [{ Action: 'RevokeSecurityGroupIngress', ...rule(unknownGroup) }, 'InvalidGroup.NotFound'],
  [{ Action: 'RevokeSecurityGroupEgress', ...rule(unknownGroup) }, 'InvalidGroup.NotFound'],
  [{ Action: 'RevokeSecurityGroupEgress', ...rule('$group', 99) }, 'InvalidPermission.NotFound'],
  [{ Action: 'AuthorizeSecurityGroupEgress', ...manyRules('$group') }, 'RulesPerSecurityGroupLimitExceeded'],
  [{ Action: 'AuthorizeSecurityGroupEgress', GroupId: '$group', ...byAnotherGroup }, 'UnsupportedOperation'],
  [{ Action: 'RevokeSecurityGroupEgress', GroupId: '$group', ...byAnotherGroup }, 'UnsupportedOperation'],
  ...['DescribeInstanceStatus', 'DescribeTags', 'DescribeNetworkInterfaces', 'DescribeSecurityGroups', 'DescribeSecurityGroupRules', 'DescribeSpotInstanceRequests', 'DescribeSpotPriceHistory']
    .map((Action) => [{ Action, NextToken: 'none' }, 'InvalidNextToken'] as const),
];

describe('a request', () => {
  it.each(REFUSED.map(([request, code, who]) => [request['Action'] ?? '', code, request, who] as const))('%s is refused with %s', async (_action, code, request, who) => {
    const named = Object.fromEntries(Object.entries(request).map(([k, v]) => [k, names.get(v) ?? v]));
    const reply = await door.ask(named, who);
    expect([reply.code, reply.message]).toEqual([code, expect.stringMatching(/\w+ \w+/)]);
  });

  it('for a rule that is there is refused, and for more groups than a user may have', async () => {
    const group = names.get('$group') ?? '';
    expect((await door.ask({ Action: 'AuthorizeSecurityGroupEgress', ...rule(group, 7) })).code).toBe('');
    expect((await door.ask({ Action: 'AuthorizeSecurityGroupEgress', ...rule(group, 7) })).code).toBe('InvalidPermission.Duplicate');
    let code = '';
    for (let i = 0; code === '' && i <= 500; i++) code = (await door.ask({ Action: 'CreateSecurityGroup', GroupName: `g${i}`, GroupDescription: 'for a test' }, BOB)).code;
    expect(code).toBe('SecurityGroupLimitExceeded');
  });
});
