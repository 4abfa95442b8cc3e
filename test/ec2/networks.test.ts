import {
  AuthorizeSecurityGroupEgressCommand, AuthorizeSecurityGroupIngressCommand, CreateSecurityGroupCommand, CreateTagsCommand, DeleteSecurityGroupCommand,
  DescribeAccountAttributesCommand, DescribeInstancesCommand, DescribeInternetGatewaysCommand, DescribeNetworkInterfacesCommand, DescribeRouteTablesCommand,
  DescribeSecurityGroupRulesCommand, DescribeSecurityGroupsCommand, DescribeSubnetsCommand, DescribeTagsCommand, DescribeVpcAttributeCommand, DescribeVpcsCommand, ModifyInstanceAttributeCommand,
  ModifyNetworkInterfaceAttributeCommand, RevokeSecurityGroupEgressCommand, RevokeSecurityGroupIngressCommand, RunInstancesCommand, TerminateInstancesCommand, paginateDescribeNetworkInterfaces,
  paginateDescribeSecurityGroups, paginateDescribeSubnets, type ModifyNetworkInterfaceAttributeCommandInput, type RunInstancesCommandInput,
} from '@aws-sdk/client-ec2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createNetwork } from './networks-site.ts';
import { form, post as postTo, type OpenDoor } from './door.ts';
import { openRealDoor, refused, type RealDoor } from './real-door.ts';

let door: RealDoor;
beforeAll(async () => {
  door = await openRealDoor({
    site: {
      config: { types: { 'm1.small': { memory_mb: 128, cores: 1 }, 'm1.two': { memory_mb: 128, cores: 1, networks: ['lan', 'public'] } } },
      nodes: [
        { name: 'n1', memoryMb: 8192, cores: 32 }, { name: 'n2', memoryMb: 8192, cores: 32, zone: 'east' },
        { name: 'n3', memoryMb: 8192, cores: 32, zone: 'west', networks: ['public'] },
      ],
    },
  });
  await createNetwork(door.site, 'lan', '10.20.0', 20);
});
afterAll(() => door.close());

/** A signed form, as clients send it that are older than the SDK. */
const ask = (params: Record<string, string>) => postTo({ now: door.now, port: door.port, url: `http://127.0.0.1:${door.port}` } as OpenDoor, form(params));
const run = (more: Partial<RunInstancesCommandInput>) => door.alice.send(new RunInstancesCommand({ ImageId: door.site.imageId, MinCount: 1, MaxCount: 1, ...more }));
const subnetsOf = async (network: string) => ((await door.alice.send(new DescribeSubnetsCommand({ Filters: [{ Name: 'tag:Name', Values: [network] }] }))).Subnets ?? []);
const subnet = async (network: string, zone: string): Promise<string> => (await subnetsOf(network)).find((s) => s.AvailabilityZone === zone)?.SubnetId ?? '';
const groupOf = async (name: string, description = 'for a test'): Promise<string> => (await door.alice.send(new CreateSecurityGroupCommand({ GroupName: name, Description: description }))).GroupId ?? '';

describe('the VPC', () => {
  it('is one, the default, and holds a subnet for each network and zone that has nodes on it', async () => {
    const [vpc, ...others] = (await door.alice.send(new DescribeVpcsCommand({ Filters: [{ Name: 'isDefault', Values: ['true'] }] }))).Vpcs ?? [];
    expect(others).toEqual([]);
    expect(vpc).toMatchObject({ IsDefault: true, State: 'available', CidrBlock: '10.0.0.0/11', OwnerId: door.site.alice.ownerId });
    const subnets = (await door.alice.send(new DescribeSubnetsCommand({ Filters: [{ Name: 'vpc-id', Values: [vpc?.VpcId ?? ''] }] }))).Subnets ?? [];
    expect(subnets.map((s) => [s.Tags?.[0]?.Value, s.AvailabilityZone, s.CidrBlock, s.AvailableIpAddressCount, s.DefaultForAz]).sort()).toEqual([
      ['lan', 'default', '10.20.0.0/24', 20, false], ['lan', 'east', '10.20.0.0/24', 20, false],
      ['public', 'default', '10.0.2.0/24', 251, true], ['public', 'east', '10.0.2.0/24', 251, true], ['public', 'west', '10.0.2.0/24', 251, true],
    ]);
    const paged: string[] = [];
    for await (const p of paginateDescribeSubnets({ client: door.alice, pageSize: 2 }, {})) paged.push(...(p.Subnets ?? []).map((s) => s.SubnetId ?? ''));
    expect(paged).toEqual(subnets.map((s) => s.SubnetId).sort());
    expect((await door.alice.send(new DescribeAccountAttributesCommand({ AttributeNames: ['default-vpc'] }))).AccountAttributes?.[0]?.AttributeValues).toEqual([{ AttributeValue: vpc?.VpcId }]);
    expect((await door.alice.send(new DescribeVpcAttributeCommand({ VpcId: vpc?.VpcId, Attribute: 'enableDnsSupport' }))).EnableDnsSupport).toEqual({ Value: true });
    expect((await door.bob.send(new DescribeVpcAttributeCommand({ VpcId: vpc?.VpcId, Attribute: 'enableDnsHostnames' }))).EnableDnsHostnames).toEqual({ Value: false });
    expect((await door.alice.send(new DescribeRouteTablesCommand({ Filters: [{ Name: 'association.main', Values: ['true'] }] }))).RouteTables)
      .toMatchObject([{ VpcId: vpc?.VpcId, Associations: [{ Main: true }], Routes: [{ DestinationCidrBlock: '10.20.0.0/24', GatewayId: 'local' }, {}, { DestinationCidrBlock: '0.0.0.0/0' }] }]);
    expect((await door.alice.send(new DescribeInternetGatewaysCommand({ Filters: [{ Name: 'attachment.vpc-id', Values: [vpc?.VpcId ?? ''] }] }))).InternetGateways)
      .toMatchObject([{ Attachments: [{ VpcId: vpc?.VpcId }] }]);
  });

  it('names nothing else', async () => {
    expect(await refused(door.alice.send(new DescribeVpcsCommand({ VpcIds: ['vpc-12345678'] })))).toBe('InvalidVpcID.NotFound');
    expect(await refused(door.alice.send(new DescribeVpcAttributeCommand({ VpcId: 'vpc-12345678', Attribute: 'enableDnsSupport' })))).toBe('InvalidVpcID.NotFound');
    expect(await refused(door.alice.send(new DescribeSubnetsCommand({ SubnetIds: ['subnet-12345678'] })))).toBe('InvalidSubnetID.NotFound');
    expect(await refused(door.alice.send(new DescribeRouteTablesCommand({ RouteTableIds: ['rtb-12345678'] })))).toBe('InvalidRouteTableID.NotFound');
    expect(await refused(door.alice.send(new DescribeInternetGatewaysCommand({ InternetGatewayIds: ['igw-12345678'] })))).toBe('InvalidInternetGatewayID.NotFound');
    expect(await refused(door.alice.send(new CreateTagsCommand({ Resources: [await subnet('lan', 'east')], Tags: [{ Key: 'a', Value: 'b' }] })))).toBe('InvalidID');
  });
});

describe('instances in subnets and groups', () => {
  it('go to the subnet\'s zone, and show subnet, VPC, groups and interfaces alike', async () => {
    const web = await groupOf('web');
    const lan = await subnet('lan', 'east');
    const { Instances: [made] = [] } = await run({ InstanceType: 'm1.two' as never, SubnetId: lan, SecurityGroupIds: [web], SecurityGroups: ['default'] });
    await door.site.settled();
    const i = (await door.alice.send(new DescribeInstancesCommand({ Filters: [{ Name: 'subnet-id', Values: [lan] }, { Name: 'instance.group-name', Values: ['we?'] }] }))).Reservations?.[0]?.Instances?.[0];
    expect(i).toMatchObject({
      InstanceId: made?.InstanceId, Placement: { AvailabilityZone: 'east' }, SubnetId: lan, VpcId: expect.stringMatching(/^vpc-/),
      SecurityGroups: expect.arrayContaining([{ GroupId: web, GroupName: 'web' }, { GroupId: expect.any(String), GroupName: 'default' }]),
      NetworkInterfaces: [{ SubnetId: lan, PrivateIpAddress: '10.20.0.10', Attachment: { DeviceIndex: 0 } }, { SubnetId: await subnet('public', 'east'), Attachment: { DeviceIndex: 1 } }],
    });
    const nics = (await door.alice.send(new DescribeNetworkInterfacesCommand({ Filters: [{ Name: 'attachment.instance-id', Values: [i?.InstanceId ?? ''] }] }))).NetworkInterfaces ?? [];
    expect(nics.map((n) => [n.NetworkInterfaceId, n.SubnetId, n.MacAddress, n.Attachment?.AttachmentId, n.Groups])).toEqual(i?.NetworkInterfaces?.map((n) => [n.NetworkInterfaceId, n.SubnetId, n.MacAddress, n.Attachment?.AttachmentId, n.Groups]));
    expect((await door.alice.send(new DescribeNetworkInterfacesCommand({ NetworkInterfaceIds: [nics[1]?.NetworkInterfaceId ?? ''] }))).NetworkInterfaces).toEqual([nics[1]]);
    expect(await refused(door.bob.send(new DescribeNetworkInterfacesCommand({ NetworkInterfaceIds: [nics[0]?.NetworkInterfaceId ?? ''] })))).toBe('InvalidNetworkInterfaceID.NotFound');
    expect((await subnetsOf('lan')).map((s) => s.AvailableIpAddressCount)).toEqual([19, 19]);

    expect(await refused(door.alice.send(new DeleteSecurityGroupCommand({ GroupId: web })))).toBe('DependencyViolation');
    await door.alice.send(new TerminateInstancesCommand({ InstanceIds: [i?.InstanceId ?? ''] }));
    await door.site.settled();
    expect((await door.alice.send(new DescribeNetworkInterfacesCommand({}))).NetworkInterfaces).toEqual([]);
    await door.alice.send(new DeleteSecurityGroupCommand({ GroupId: web }));
    // What has ended keeps the names that it had.
    expect((await door.alice.send(new DescribeInstancesCommand({ InstanceIds: [i?.InstanceId ?? ''] }))).Reservations?.[0]?.Groups).toContainEqual({ GroupId: web, GroupName: 'web' });
  });

  it('move to other groups while they run, by the instance or by one of its interfaces', async () => {
    const [one, two] = [await groupOf('one'), await groupOf('two')];
    const foreign = (await door.bob.send(new CreateSecurityGroupCommand({ GroupName: 'bobs-own', Description: 'x' }))).GroupId ?? '';
    const { Instances: [made, other] = [] } = await run({ InstanceType: 'm1.two' as never, SecurityGroupIds: [one], MinCount: 2, MaxCount: 2 });
    await door.site.settled();
    const InstanceId = made?.InstanceId ?? '';
    const names = async (id = InstanceId): Promise<string[]> => ((await door.alice.send(new DescribeInstancesCommand({ InstanceIds: [id] }))).Reservations?.[0]?.Instances?.[0]?.SecurityGroups ?? []).map((g) => g.GroupName ?? '').sort();
    await door.alice.send(new ModifyInstanceAttributeCommand({ InstanceId, Groups: [two, one] }));
    expect(await names()).toEqual(['one', 'two']);
    const nics = (await door.alice.send(new DescribeNetworkInterfacesCommand({ Filters: [{ Name: 'attachment.instance-id', Values: [InstanceId] }] }))).NetworkInterfaces ?? [];
    const change = (more: Partial<ModifyNetworkInterfaceAttributeCommandInput>, client = door.alice) => client.send(new ModifyNetworkInterfaceAttributeCommand({ NetworkInterfaceId: nics[1]?.NetworkInterfaceId, ...more }));
    await change({ Groups: [two] });
    expect(await names()).toEqual(['two']);
    expect((await door.alice.send(new DescribeNetworkInterfacesCommand({ Filters: [{ Name: 'group-name', Values: ['two'] }] }))).NetworkInterfaces).toHaveLength(2);
    // The others of its reservation stay where they are, and what an instance is in is kept.
    expect(await names(other?.InstanceId)).toEqual(['one']);
    for (const GroupId of [one, two]) expect(await refused(door.alice.send(new DeleteSecurityGroupCommand({ GroupId })))).toBe('DependencyViolation');
    expect((await door.site.manager.leases.events(door.site.alice, InstanceId)).at(-1)).toMatchObject({ trigger: 'changed', why: `in the security groups ${two}` });

    const six = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map((n) => groupOf(`move-${n}`)));
    const cases: Array<[Partial<ModifyNetworkInterfaceAttributeCommandInput>, string, typeof door.alice?]> = [
      [{ Groups: [foreign] }, 'InvalidGroup.NotFound'], [{ Groups: six }, 'SecurityGroupsPerInterfaceLimitExceeded'], [{ NetworkInterfaceId: 'eni-12345678', Groups: [one] }, 'InvalidNetworkInterfaceID.NotFound'],
      [{ NetworkInterfaceId: 'eni-x', Groups: [one] }, 'InvalidNetworkInterfaceID.NotFound'], [{ Groups: [foreign] }, 'InvalidNetworkInterfaceID.NotFound', door.bob], [{}, 'MissingParameter'],
      [{ Groups: [one], SourceDestCheck: { Value: false } }, 'InvalidParameterCombination'], [{ SourceDestCheck: { Value: true } }, 'UnsupportedOperation'],
      [{ Attachment: { AttachmentId: nics[1]?.Attachment?.AttachmentId, DeleteOnTermination: false } }, 'UnsupportedOperation'], [{ Description: { Value: 'mine' } }, 'UnsupportedOperation'], [{ Groups: [one], DryRun: true }, 'DryRunOperation'],
    ];
    for (const [more, code, client] of cases) expect(await refused(change(more, client)), JSON.stringify(more)).toBe(code);
    expect(await refused(door.alice.send(new ModifyInstanceAttributeCommand({ InstanceId, Groups: [foreign] })))).toBe('InvalidGroup.NotFound');
    await change({ SourceDestCheck: { Value: false } });
    await change({ Attachment: { AttachmentId: nics[1]?.Attachment?.AttachmentId, DeleteOnTermination: true } });
    expect(await names()).toEqual(['two']);

    await change({ Groups: [(await door.alice.send(new DescribeSecurityGroupsCommand({ GroupNames: ['default'] }))).SecurityGroups?.[0]?.GroupId ?? ''] });
    expect(await names()).toEqual(['default']);
    await door.alice.send(new DeleteSecurityGroupCommand({ GroupId: two }));
    await door.alice.send(new TerminateInstancesCommand({ InstanceIds: [InstanceId, other?.InstanceId ?? ''] }));
    await door.site.settled();
    expect(await refused(change({ Groups: [one] }))).toBe('InvalidNetworkInterfaceID.NotFound');
  });

  it('take interfaces in the place of both', async () => {
    const db = await groupOf('db');
    const { Instances: [made] = [] } = await run({ InstanceType: 'm1.two' as never, NetworkInterfaces: [
      { DeviceIndex: 1, SubnetId: await subnet('public', 'default') }, { DeviceIndex: 0, SubnetId: await subnet('lan', 'default'), Groups: [db], AssociatePublicIpAddress: true },
    ] });
    expect(made).toMatchObject({ SubnetId: await subnet('lan', 'default'), SecurityGroups: [{ GroupId: db, GroupName: 'db' }] });
    const paged: string[] = [];
    for await (const p of paginateDescribeNetworkInterfaces({ client: door.alice, pageSize: 1 }, {})) paged.push(...(p.NetworkInterfaces ?? []).map((n) => n.NetworkInterfaceId ?? ''));
    expect(paged).toEqual((await door.alice.send(new DescribeNetworkInterfacesCommand({}))).NetworkInterfaces?.map((n) => n.NetworkInterfaceId));
    expect(new Set(paged).size).toBe(2);
    await door.alice.send(new TerminateInstancesCommand({ InstanceIds: [made?.InstanceId ?? ''] }));
    await door.site.settled();
  });

  it('are refused where these are none, are others\', or do not fit', async () => {
    const foreign = (await door.bob.send(new CreateSecurityGroupCommand({ GroupName: 'bobs', Description: 'x' }))).GroupId ?? '';
    const [lan, open] = [await subnet('lan', 'east'), await subnet('public', 'default')];
    const small = 'm1.small' as never;
    const cases: Array<[Partial<RunInstancesCommandInput>, string]> = [
      [{ SubnetId: 'subnet-12345678' }, 'InvalidSubnetID.NotFound'], [{ SecurityGroups: ['none'] }, 'InvalidGroup.NotFound'], [{ SecurityGroupIds: ['sg-12345678'] }, 'InvalidGroup.NotFound'],
      [{ SecurityGroups: ['bobs'] }, 'InvalidGroup.NotFound'], [{ SecurityGroupIds: [foreign] }, 'InvalidGroup.NotFound'],
      // The type joins another network, or the zone is another.
      [{ InstanceType: small, SubnetId: lan }, 'InvalidParameterCombination'], [{ SubnetId: open, Placement: { AvailabilityZone: 'east' } }, 'InvalidParameterValue'],
      [{ NetworkInterfaces: [{ DeviceIndex: 0, SubnetId: open }], SubnetId: open }, 'InvalidParameterCombination'], [{ NetworkInterfaces: [{ DeviceIndex: 1, SubnetId: open }] }, 'InvalidParameterValue'],
      [{ NetworkInterfaces: [{ DeviceIndex: 0, SubnetId: lan }, { DeviceIndex: 1 }] }, 'MissingParameter'], [{ NetworkInterfaces: [{ DeviceIndex: 0, NetworkInterfaceId: 'eni-1' }] }, 'UnsupportedOperation'],
      [{ SecurityGroups: await Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map(async (n) => { await groupOf(`six-${n}`); return `six-${n}`; })) }, 'SecurityGroupsPerInterfaceLimitExceeded'],
    ];
    for (const [more, code] of cases) expect(await refused(run(more)), JSON.stringify(more)).toBe(code);
    expect((await door.alice.send(new DescribeNetworkInterfacesCommand({}))).NetworkInterfaces).toEqual([]);
  });
});

describe('security groups', () => {
  it('begin with the default one, which says that nothing enforces it', async () => {
    const [first] = (await door.bob.send(new DescribeSecurityGroupsCommand({ GroupNames: ['default'] }))).SecurityGroups ?? [];
    expect(first).toMatchObject({
      Description: 'default VPC security group (recorded, not enforced)', OwnerId: door.site.bob.ownerId, VpcId: expect.stringMatching(/^vpc-/),
      IpPermissions: [{ IpProtocol: '-1', UserIdGroupPairs: [{ GroupId: first?.GroupId, UserId: door.site.bob.ownerId }], IpRanges: [] }],
      IpPermissionsEgress: [{ IpProtocol: '-1', IpRanges: [{ CidrIp: '0.0.0.0/0' }], UserIdGroupPairs: [] }],
    });
    expect(await refused(door.bob.send(new DeleteSecurityGroupCommand({ GroupName: 'default' })))).toBe('CannotDelete');
    // It is written when it is changed first, and stays the same.
    await door.bob.send(new AuthorizeSecurityGroupIngressCommand({ GroupName: 'default', IpProtocol: 'tcp', FromPort: 22, ToPort: 22, CidrIp: '0.0.0.0/0' }));
    await door.bob.send(new CreateTagsCommand({ Resources: [first?.GroupId ?? ''], Tags: [{ Key: 'Name', Value: 'mine' }] }));
    const [again] = (await door.bob.send(new DescribeSecurityGroupsCommand({ Filters: [{ Name: 'tag:Name', Values: ['mine'] }] }))).SecurityGroups ?? [];
    expect(again).toMatchObject({ GroupId: first?.GroupId, Description: first?.Description, IpPermissionsEgress: first?.IpPermissionsEgress });
    expect(again?.IpPermissions).toHaveLength(2);
    expect((await door.alice.send(new DescribeSecurityGroupsCommand({ GroupNames: ['default'] }))).SecurityGroups?.[0]?.GroupId).not.toBe(first?.GroupId);
  });

  it('are recorded with rules in both directions, shown as rules and as permissions, and found by filters and pages', async () => {
    const id = await groupOf('rules');
    const other = await groupOf('other', 'already recorded, not enforced');
    const { SecurityGroupRules: made = [] } = await door.alice.send(new AuthorizeSecurityGroupIngressCommand({
      GroupId: id, TagSpecifications: [{ ResourceType: 'security-group-rule', Tags: [{ Key: 'k', Value: 'v' }] }],
      IpPermissions: [
        { IpProtocol: 'TCP', FromPort: 80, ToPort: 81, IpRanges: [{ CidrIp: '10.1.2.3/8', Description: 'web' }, { CidrIp: '0.0.0.0/0' }], Ipv6Ranges: [{ CidrIpv6: '2001:DB8:0::/32' }] },
        { IpProtocol: '1', FromPort: 8, ToPort: -1, UserIdGroupPairs: [{ GroupId: other }, { GroupName: 'rules' }] }, { IpProtocol: 'all', IpRanges: [{ CidrIp: '192.0.2.1/32' }] },
      ],
    }));
    expect(made.map((r) => [r.IpProtocol, r.FromPort, r.ToPort, r.CidrIpv4 ?? r.CidrIpv6 ?? r.ReferencedGroupInfo?.GroupId, r.Description, r.IsEgress, r.Tags?.[0]?.Value])).toEqual([
      ['tcp', 80, 81, '10.0.0.0/8', 'web', false, 'v'], ['tcp', 80, 81, '0.0.0.0/0', undefined, false, 'v'], ['tcp', 80, 81, '2001:db8::/32', undefined, false, 'v'],
      ['icmp', 8, -1, other, undefined, false, 'v'], ['icmp', 8, -1, id, undefined, false, 'v'], ['-1', -1, -1, '192.0.2.1/32', undefined, false, 'v'],
    ]);
    await door.alice.send(new AuthorizeSecurityGroupEgressCommand({ GroupId: id, IpPermissions: [{ IpProtocol: 'udp', FromPort: 53, ToPort: 53, IpRanges: [{ CidrIp: '10.0.0.0/8' }] }] }));
    const find = async (...filters: Array<[string, ...string[]]>) => ((await door.alice.send(new DescribeSecurityGroupsCommand({ Filters: filters.map(([Name, ...Values]) => ({ Name, Values })) }))).SecurityGroups ?? []).map((g) => g.GroupName);
    expect(await find(['ip-permission.cidr', '10.0.*'])).toEqual(['rules']);
    expect(await find(['ip-permission.ipv6-cidr', '2001:db8::/32'], ['ip-permission.from-port', '80'], ['egress.ip-permission.protocol', 'udp'])).toEqual(['rules']);
    expect(await find(['ip-permission.group-name', 'other'])).toEqual(['rules']);
    expect(await find(['description', '*not enforced'], ['group-name', 'other'])).toEqual(['other']);
    const [g] = (await door.alice.send(new DescribeSecurityGroupsCommand({ GroupIds: [id] }))).SecurityGroups ?? [];
    expect(g?.IpPermissions?.find((p) => p.IpProtocol === 'tcp')).toEqual({
      IpProtocol: 'tcp', FromPort: 80, ToPort: 81, IpRanges: expect.arrayContaining([{ CidrIp: '10.0.0.0/8', Description: 'web' }, { CidrIp: '0.0.0.0/0' }]), Ipv6Ranges: [{ CidrIpv6: '2001:db8::/32' }],
      UserIdGroupPairs: [], PrefixListIds: [],
    });
    expect(g?.IpPermissionsEgress?.map((p) => p.IpProtocol).sort()).toEqual(['-1', 'udp']);
    const rules = (await door.alice.send(new DescribeSecurityGroupRulesCommand({ Filters: [{ Name: 'group-id', Values: [id] }, { Name: 'tag:k', Values: ['v'] }] }))).SecurityGroupRules ?? [];
    expect(rules.map((r) => r.SecurityGroupRuleId).sort()).toEqual(made.map((r) => r.SecurityGroupRuleId).sort());
    expect((await door.alice.send(new DescribeTagsCommand({ Filters: [{ Name: 'resource-type', Values: ['security-group-rule'] }] }))).Tags).toHaveLength(6);
    const all: string[] = [];
    for await (const p of paginateDescribeSecurityGroups({ client: door.alice, pageSize: 2 }, {})) all.push(...(p.SecurityGroups ?? []).map((x) => x.GroupId ?? ''));
    expect(all).toEqual((await door.alice.send(new DescribeSecurityGroupsCommand({}))).SecurityGroups?.map((x) => x.GroupId));
    expect(new Set(all).size).toBe(all.length);

    expect(await refused(door.alice.send(new DeleteSecurityGroupCommand({ GroupId: other })))).toBe('DependencyViolation');
    await door.alice.send(new RevokeSecurityGroupIngressCommand({ GroupId: id, SecurityGroupRuleIds: made.slice(3, 4).map((r) => r.SecurityGroupRuleId ?? '') }));
    await door.alice.send(new RevokeSecurityGroupIngressCommand({ GroupId: id, IpPermissions: [{ IpProtocol: 'tcp', FromPort: 80, ToPort: 81, IpRanges: [{ CidrIp: '10.0.0.0/8' }] }] }));
    await door.alice.send(new RevokeSecurityGroupEgressCommand({ GroupId: id, IpPermissions: [{ IpProtocol: '-1', IpRanges: [{ CidrIp: '0.0.0.0/0' }] }] }));
    await door.alice.send(new DeleteSecurityGroupCommand({ GroupName: 'other' }));
    const [left] = (await door.alice.send(new DescribeSecurityGroupsCommand({ GroupIds: [id] }))).SecurityGroups ?? [];
    expect(left?.IpPermissionsEgress?.map((p) => p.IpProtocol)).toEqual(['udp']);
    await door.alice.send(new DeleteSecurityGroupCommand({ GroupId: id }));
    expect((await door.alice.send(new DescribeTagsCommand({ Filters: [{ Name: 'resource-type', Values: ['security-group-rule'] }] }))).Tags).toEqual([]);
  });

  it('take the parameters of the first clients', async () => {
    await groupOf('old');
    for (const [params, code] of [
      [{ GroupName: 'old', IpProtocol: 'tcp', FromPort: '22', ToPort: '22', CidrIp: '0.0.0.0/0' }, ''],
      [{ GroupName: 'old', SourceSecurityGroupName: 'default', SourceSecurityGroupOwnerId: door.site.alice.ownerId }, ''],
      [{ GroupName: 'old', SourceSecurityGroupName: 'default', SourceSecurityGroupOwnerId: '999999999999' }, 'InvalidGroup.NotFound'],
      [{ GroupName: 'old', CidrIp: '0.0.0.0/0' }, 'MissingParameter'], [{ GroupName: 'old', IpProtocol: 'tcp' }, 'MissingParameter'], [{ GroupName: 'old' }, 'MissingParameter'],
      [{ IpProtocol: 'tcp', FromPort: '22', ToPort: '22', CidrIp: '0.0.0.0/0' }, 'MissingParameter'],
    ] as Array<[Record<string, string>, string]>) expect((await ask({ Action: 'AuthorizeSecurityGroupIngress', ...params })).code, JSON.stringify(params)).toBe(code);
    expect((await ask({ Action: 'RevokeSecurityGroupIngress', GroupName: 'old', IpProtocol: 'tcp', FromPort: '22', ToPort: '22', CidrIp: '0.0.0.0/0' })).body).toContain('<return>true</return>');
  });

  it('are refused with the codes of EC2', async () => {
    const id = await groupOf('codes');
    const authorize = (permission: object) => refused(door.alice.send(new AuthorizeSecurityGroupIngressCommand({ GroupId: id, IpPermissions: [permission] })));
    const tcp = { IpProtocol: 'tcp', FromPort: 1, ToPort: 2, IpRanges: [{ CidrIp: '10.0.0.0/8' }] };
    expect(await authorize(tcp)).toBe('accepted');
    expect(await authorize({ ...tcp, IpRanges: [{ CidrIp: '10.9.9.9/8' }] })).toBe('InvalidPermission.Duplicate');
    expect(await authorize({ ...tcp, IpRanges: [{ CidrIp: '11.0.0.0/8' }, { CidrIp: '11.0.0.1/8' }] })).toBe('InvalidParameterValue');
    for (const odd of [{ IpProtocol: 'gre' }, { IpProtocol: '256' }, { ToPort: 0 }, { FromPort: -1 }, { IpRanges: [{ CidrIp: '10.0.0.0' }] }, { IpRanges: [{ CidrIp: '10.0.0.0/33' }] }, { IpRanges: [{ CidrIp: '10.0.0.256/8' }] },
      { Ipv6Ranges: [{ CidrIpv6: '10.0.0.0/8' }] }, { Ipv6Ranges: [{ CidrIpv6: '::/129' }] }, { IpRanges: [{ CidrIp: '12.0.0.0/8', Description: '<b>' }] }]) expect(await authorize({ ...tcp, ...odd }), JSON.stringify(odd)).toBe('InvalidParameterValue');
    expect(await authorize({ IpProtocol: 'tcp', IpRanges: [{ CidrIp: '13.0.0.0/8' }] })).toBe('MissingParameter');
    expect(await authorize({ IpProtocol: 'tcp', FromPort: 1, ToPort: 2 })).toBe('MissingParameter');
    expect(await authorize({ ...tcp, PrefixListIds: [{ PrefixListId: 'pl-1' }] })).toBe('UnsupportedOperation');
    expect(await authorize({ ...tcp, UserIdGroupPairs: [{ GroupName: 'none' }] })).toBe('InvalidGroup.NotFound');
    expect(await authorize({ ...tcp, IpRanges: Array.from({ length: 60 }, (_, i) => ({ CidrIp: `10.0.${i}.0/24` })) })).toBe('RulesPerSecurityGroupLimitExceeded');
    expect(await refused(door.alice.send(new RevokeSecurityGroupIngressCommand({ GroupId: id, IpPermissions: [{ ...tcp, ToPort: 3 }] })))).toBe('InvalidPermission.NotFound');
    expect(await refused(door.alice.send(new RevokeSecurityGroupIngressCommand({ GroupId: id, SecurityGroupRuleIds: ['sgr-12345678'] })))).toBe('InvalidSecurityGroupRuleId.NotFound');
    expect(await refused(door.alice.send(new DescribeSecurityGroupRulesCommand({ SecurityGroupRuleIds: ['sgr-12345678'] })))).toBe('InvalidSecurityGroupRuleId.NotFound');
    expect(await refused(door.alice.send(new CreateSecurityGroupCommand({ GroupName: 'codes', Description: 'again' })))).toBe('InvalidGroup.Duplicate');
    for (const GroupName of ['default', 'sg-1', 'a<b', 'ü']) expect(await refused(door.alice.send(new CreateSecurityGroupCommand({ GroupName, Description: 'x' })))).toBe('InvalidParameterValue');
    expect(await refused(door.alice.send(new CreateSecurityGroupCommand({ GroupName: 'x', Description: 'x', VpcId: 'vpc-12345678' })))).toBe('InvalidVpcID.NotFound');
    expect(await refused(door.alice.send(new CreateSecurityGroupCommand({ GroupName: 'dry', Description: 'x', DryRun: true })))).toBe('DryRunOperation');
    expect(await refused(door.alice.send(new DeleteSecurityGroupCommand({ GroupId: id, GroupName: 'codes' })))).toBe('InvalidParameterCombination');
    expect(await refused(door.alice.send(new DeleteSecurityGroupCommand({})))).toBe('MissingParameter');
    for (const send of [(GroupId: string) => door.bob.send(new DeleteSecurityGroupCommand({ GroupId })), (GroupId: string) => door.bob.send(new DescribeSecurityGroupsCommand({ GroupIds: [GroupId] })),
      (GroupId: string) => door.bob.send(new AuthorizeSecurityGroupIngressCommand({ GroupId, IpPermissions: [tcp] })), (GroupId: string) => door.bob.send(new CreateTagsCommand({ Resources: [GroupId], Tags: [{ Key: 'a', Value: 'b' }] }))]) {
      expect(await refused(send(id))).toBe('InvalidGroup.NotFound');
    }
    expect(await refused(door.alice.send(new DescribeSecurityGroupsCommand({ GroupNames: ['dry'] })))).toBe('InvalidGroup.NotFound');
  });
});

describe('a site that keeps no groups', () => {
  it('has the default one, and says so', async () => {
    const other = await openRealDoor({ ec2: { security_groups: 'refuse' } });
    try {
      const { SecurityGroups: groups } = await other.alice.send(new DescribeSecurityGroupsCommand({}));
      expect(groups).toMatchObject([{ GroupName: 'default', Description: 'The only group; the site\'s networks decide what passes', IpPermissions: [], IpPermissionsEgress: [] }]);
      expect(await refused(other.alice.send(new CreateSecurityGroupCommand({ GroupName: 'x', Description: 'x' })))).toBe('UnsupportedOperation');
      expect(await refused(other.alice.send(new AuthorizeSecurityGroupIngressCommand({ GroupName: 'default', IpProtocol: '-1', CidrIp: '0.0.0.0/0' })))).toBe('UnsupportedOperation');
      expect(await refused(other.alice.send(new RevokeSecurityGroupIngressCommand({ GroupName: 'default', IpProtocol: '-1', CidrIp: '0.0.0.0/0' })))).toBe('UnsupportedOperation');
      expect(await refused(other.alice.send(new DeleteSecurityGroupCommand({ GroupName: 'x' })))).toBe('UnsupportedOperation');
      const run1 = (SecurityGroups: string[]) => other.alice.send(new RunInstancesCommand({ ImageId: other.site.imageId, MinCount: 1, MaxCount: 1, SecurityGroups }));
      expect(await refused(run1(['web']))).toBe('InvalidGroup.NotFound');
      expect((await run1(['default'])).Instances?.[0]?.SecurityGroups?.[0]?.GroupName).toBe('default');
    } finally {
      await other.close();
    }
  });
});
