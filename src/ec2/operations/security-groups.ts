/** DescribeSecurityGroups, DescribeSecurityGroupRules, CreateSecurityGroup, DeleteSecurityGroup. */
import { Fault } from '../../lease/faults.ts';
import type { Caller, Manager, SecurityGroupView, SecurityRuleView } from '../../manager/types.ts';
import { vpcId } from '../../network/mirror.ts';
import { absentFilters, filterBy, filters } from '../filters.ts';
import type { FilterTable } from '../filters.ts';
import { list as inputList, required, shown, string } from '../inputs.ts';
import { operation } from '../operation.ts';
import { boolean, integer, list, optional, struct, text } from '../outputs.ts';
import { page, pagingInputs } from '../paging.ts';
import { ruleItem, ruleShape } from '../security-rules.ts';
import { tagItems, tagSet, tagSpecifications, tagsFor } from '../tags.ts';

const permission = struct({
  ipProtocol: text, fromPort: optional(integer), toPort: optional(integer), groups: list(struct({ userId: text, groupId: text, groupName: text })),
  ipRanges: list(struct({ cidrIp: text, description: optional(text) })), ipv6Ranges: list(struct({ cidrIpv6: text, description: optional(text) })),
  prefixListIds: list(struct({})),
});

interface Named extends SecurityGroupView {
  /** Of groups that its rules name. */
  nameOf(id: string): string;
}

async function allGroups(manager: Manager, caller: Caller): Promise<Named[]> {
  const groups = await manager.securityGroups.list(caller);
  const names = new Map(groups.map((g) => [g.id, g.name]));
  return groups.map((g) => ({ ...g, nameOf: (id) => names.get(id) ?? '' }));
}

const isGroup = (peer: string): boolean => peer.startsWith('sg-');
const isCidr6 = (peer: string): boolean => peer.includes(':');
const isCidr = (peer: string): boolean => !isGroup(peer) && !isCidr6(peer);

/** Filters on the rules of one direction. */
function ruleFilters(prefix: string, egress: boolean, ownerId: string): FilterTable<Named> {
  const of = (value: (r: SecurityRuleView, g: Named) => string | number | undefined) => (g: Named) => g.rules.filter((r) => r.egress === egress).map((r) => value(r, g));
  const port = (n: number, protocol: string): number | undefined => (protocol === '-1' ? undefined : n);
  return {
    ...absentFilters(`${prefix}.prefix-list-id`),
    [`${prefix}.cidr`]: of((r) => (isCidr(r.peer) ? r.peer : undefined)),
    [`${prefix}.from-port`]: of((r) => port(r.fromPort, r.protocol)),
    [`${prefix}.group-id`]: of((r) => (isGroup(r.peer) ? r.peer : undefined)),
    [`${prefix}.group-name`]: of((r, g) => (isGroup(r.peer) ? g.nameOf(r.peer) : undefined)),
    [`${prefix}.ipv6-cidr`]: of((r) => (isCidr6(r.peer) ? r.peer : undefined)),
    [`${prefix}.protocol`]: of((r) => r.protocol),
    [`${prefix}.to-port`]: of((r) => port(r.toPort, r.protocol)),
    [`${prefix}.user-id`]: of((r) => (isGroup(r.peer) ? ownerId : undefined)),
  };
}

export const describeSecurityGroups = operation({
  name: 'DescribeSecurityGroups',
  summary: 'Shows the caller\'s security groups. They are recorded, and nothing enforces them.',
  input: { GroupName: inputList(string()), GroupId: inputList(string()), Filter: filters, ...pagingInputs },
  output: {
    securityGroupInfo: list(struct({
      ownerId: text, groupId: text, groupName: text, groupDescription: text, vpcId: text, ipPermissions: list(permission), ipPermissionsEgress: list(permission), tagSet,
    })),
    nextToken: optional(text),
  },
  errors: ['SecurityGroupNotFound', 'TokenPageInvalid'],
  mutates: false,
  async run({ manager, caller }, p) {
    const vpc = vpcId(manager.site.region());
    const groups = await allGroups(manager, caller);
    const unknown = p.GroupName.find((n) => !groups.some((g) => g.name === n)) ?? p.GroupId.find((id) => !groups.some((g) => g.id === id));
    if (unknown !== undefined) throw new Fault('SecurityGroupNotFound', `The security group '${shown(unknown)}' does not exist`);
    const keep = filterBy<Named>(p.Filter, {
      'description': (g) => g.description,
      'group-id': (g) => g.id,
      'group-name': (g) => g.name,
      'owner-id': () => caller.ownerId,
      'vpc-id': () => vpc,
      ...ruleFilters('ip-permission', false, caller.ownerId),
      ...ruleFilters('egress.ip-permission', true, caller.ownerId),
    }, (g) => g.tags);
    const wanted = (g: Named): boolean => (p.GroupName.length === 0 || p.GroupName.includes(g.name)) && (p.GroupId.length === 0 || p.GroupId.includes(g.id));
    const { items, nextToken } = page('DescribeSecurityGroups', groups.filter((g) => wanted(g) && keep(g)), (g) => g.id, p);
    return {
      securityGroupInfo: items.map((g) => ({
        ownerId: caller.ownerId, groupId: g.id, groupName: g.name, groupDescription: g.description, vpcId: vpc,
        ipPermissions: permissions(g, false, caller.ownerId), ipPermissionsEgress: permissions(g, true, caller.ownerId), tagSet: tagItems(g.tags),
      })),
      nextToken,
    };
  },
});

/** Rules of one protocol and one range of ports are one permission. */
function permissions(g: Named, egress: boolean, userId: string) {
  const byPorts = new Map<string, SecurityRuleView[]>();
  for (const r of g.rules.filter((rule) => rule.egress === egress)) {
    const key = `${r.protocol} ${r.fromPort} ${r.toPort}`;
    byPorts.set(key, [...byPorts.get(key) ?? [], r]);
  }
  return [...byPorts.values()].map((rules) => {
    const { protocol, fromPort, toPort } = rules[0] as SecurityRuleView;
    const described = (r: SecurityRuleView) => (r.description === null ? {} : { description: r.description });
    return {
      ipProtocol: protocol, ...(protocol === '-1' ? {} : { fromPort, toPort }),
      groups: rules.filter((r) => isGroup(r.peer)).map((r) => ({ userId, groupId: r.peer, groupName: g.nameOf(r.peer) })),
      ipRanges: rules.filter((r) => isCidr(r.peer)).map((r) => ({ cidrIp: r.peer, ...described(r) })),
      ipv6Ranges: rules.filter((r) => isCidr6(r.peer)).map((r) => ({ cidrIpv6: r.peer, ...described(r) })),
      prefixListIds: [],
    };
  });
}

export const describeSecurityGroupRules = operation({
  name: 'DescribeSecurityGroupRules',
  summary: 'Shows the rules of the caller\'s security groups.',
  input: { SecurityGroupRuleId: inputList(string()), Filter: filters, ...pagingInputs },
  output: { securityGroupRuleSet: list(ruleShape), nextToken: optional(text) },
  errors: ['SecurityRuleNotFound', 'TokenPageInvalid'],
  mutates: false,
  async run({ manager, caller }, p) {
    const rules = (await manager.securityGroups.list(caller)).flatMap((g) => g.rules);
    const unknown = p.SecurityGroupRuleId.find((id) => !rules.some((r) => r.id === id));
    if (unknown !== undefined) throw new Fault('SecurityRuleNotFound', `The security group rule ID '${shown(unknown)}' does not exist`, [], { ec2: 'InvalidSecurityGroupRuleId.NotFound' });
    const keep = filterBy<SecurityRuleView>(p.Filter, { 'group-id': (r) => r.groupId, 'security-group-rule-id': (r) => r.id }, (r) => r.tags);
    const found = rules.filter((r) => (p.SecurityGroupRuleId.length === 0 || p.SecurityGroupRuleId.includes(r.id)) && keep(r));
    const { items, nextToken } = page('DescribeSecurityGroupRules', found, (r) => r.id, p);
    return { securityGroupRuleSet: items.map((r) => ruleItem(r, caller.ownerId)), nextToken };
  },
});

export const createSecurityGroup = operation({
  name: 'CreateSecurityGroup',
  summary: 'Records a security group; nothing enforces it, as its description says.',
  input: { GroupName: required(string()), GroupDescription: required(string()), VpcId: string(), TagSpecification: tagSpecifications },
  output: { return: boolean, groupId: text, tagSet, securityGroupArn: text },
  errors: ['SecurityGroupExists', 'VpcNotFound', 'TooMany', 'Unsupported'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const region = manager.site.region();
    if (p.VpcId !== undefined && p.VpcId !== vpcId(region)) throw new Fault('VpcNotFound', `The vpc ID '${shown(p.VpcId)}' does not exist`);
    const tags = tagsFor('security-group', p.TagSpecification);
    const { id } = await manager.securityGroups.create(caller, { name: p.GroupName, description: p.GroupDescription }, { dryRun, tags });
    return { return: true, groupId: id, tagSet: tagItems(tags), securityGroupArn: `arn:aws:ec2:${region}:${caller.ownerId}:security-group/${id}` };
  },
});

export const deleteSecurityGroup = operation({
  name: 'DeleteSecurityGroup',
  summary: 'Forgets a security group that no instance and no rule of another group names.',
  input: { GroupId: string(), GroupName: string() },
  output: { return: boolean, groupId: text },
  errors: ['SecurityGroupNotFound', 'SecurityGroupInUse', 'SecurityGroupDefault', 'Unsupported'],
  mutates: true,
  async run(call, p) {
    const { id } = await call.manager.securityGroups.remove(call.caller, oneGroup(p), { dryRun: call.dryRun });
    return { return: true, groupId: id };
  },
});

/** The group that a request names by id or by name. */
export function oneGroup({ GroupId, GroupName }: { readonly GroupId: string | undefined; readonly GroupName: string | undefined }): string {
  if (GroupId !== undefined && GroupName !== undefined) throw new Fault('ParameterConflict', 'GroupId and GroupName exclude each other.');
  const group = GroupId ?? GroupName;
  if (group === undefined) throw new Fault('ParameterMissing', 'The request must contain the parameter groupName or groupId');
  return group;
}
