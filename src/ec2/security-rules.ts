/** Rules of security groups: as requests carry them, in the form of today and in that of the first clients, and as they are shown. */
import { Fault } from '../lease/faults.ts';
import type { SecurityRuleView } from '../manager/types.ts';
import type { PeerAsked, RuleAsked } from '../network/security-rules.ts';
import { integer as integerInput, list as inputList, required, string, struct as inputStruct, unsupported } from './inputs.ts';
import type { InputsOf } from './inputs.ts';
import { boolean, integer, optional, struct, text } from './outputs.ts';
import { tagItems, tagSet } from './tags.ts';

const description = string();
const port = integerInput(-1, 65_535);

const permission = inputStruct({
  IpProtocol: required(string()),
  FromPort: port,
  ToPort: port,
  IpRanges: inputList(inputStruct({ CidrIp: required(string()), Description: description }), 60),
  Ipv6Ranges: inputList(inputStruct({ CidrIpv6: required(string()), Description: description }), 60),
  Groups: inputList(inputStruct({ GroupId: string(), GroupName: string(), UserId: string(), Description: description }, ['VpcId', 'PeeringStatus', 'VpcPeeringConnectionId']), 60),
  PrefixListIds: unsupported('This service has no prefix lists: write the networks themselves.'),
});

export const ruleInputs = {
  IpPermissions: inputList(permission, 120),
  // Of clients before 2009, and of `aws ec2 … --cidr` still.
  IpProtocol: string(),
  FromPort: port,
  ToPort: port,
  CidrIp: string(),
  SourceSecurityGroupName: string(),
  SourceSecurityGroupOwnerId: string(),
};

/** @throws Fault ParameterMissing when there is no rule */
export function readRules(p: InputsOf<typeof ruleInputs>, ownerId: string): RuleAsked[] {
  const rules = [...p.IpPermissions.flatMap((i) => permissionRules(i, ownerId)), ...classicRules(p, ownerId)];
  if (rules.length === 0) throw new Fault('ParameterMissing', 'The request must contain the parameter IpPermissions');
  return rules;
}

export const hasRules = (p: InputsOf<typeof ruleInputs>): boolean =>
  p.IpPermissions.length > 0 || p.IpProtocol !== undefined || p.CidrIp !== undefined || p.SourceSecurityGroupName !== undefined;

type Permission = InputsOf<typeof ruleInputs>['IpPermissions'][number];

function permissionRules(p: Permission, ownerId: string): RuleAsked[] {
  const rule = (peer: PeerAsked, text: string | undefined): RuleAsked => ({ protocol: p.IpProtocol, fromPort: p.FromPort, toPort: p.ToPort, peer, description: text });
  const rules = [
    ...p.IpRanges.map((r) => rule({ cidr: r.CidrIp }, r.Description)),
    ...p.Ipv6Ranges.map((r) => rule({ cidr6: r.CidrIpv6 }, r.Description)),
    ...p.Groups.map((g) => rule(groupPeer(g.GroupId ?? g.GroupName, g.UserId, ownerId), g.Description)),
  ];
  if (rules.length === 0) throw new Fault('ParameterMissing', 'Each of IpPermissions must have IpRanges, Ipv6Ranges or Groups');
  return rules;
}

function classicRules(p: InputsOf<typeof ruleInputs>, ownerId: string): RuleAsked[] {
  const ports = { fromPort: p.FromPort, toPort: p.ToPort };
  if (p.SourceSecurityGroupName !== undefined) {
    const peer = groupPeer(p.SourceSecurityGroupName, p.SourceSecurityGroupOwnerId, ownerId);
    // A source group alone opened all ports of all protocols.
    return [{ protocol: p.IpProtocol ?? '-1', ...ports, peer }];
  }
  if (p.CidrIp === undefined && p.IpProtocol === undefined) return [];
  if (p.IpProtocol === undefined) throw new Fault('ParameterMissing', 'The request must contain the parameter IpProtocol');
  if (p.CidrIp === undefined) throw new Fault('ParameterMissing', 'The request must contain the parameter CidrIp');
  return [{ protocol: p.IpProtocol, ...ports, peer: { cidr: p.CidrIp } }];
}

function groupPeer(group: string | undefined, userId: string | undefined, ownerId: string): PeerAsked {
  if (group === undefined) throw new Fault('ParameterMissing', 'Each of Groups must have a GroupId or a GroupName');
  // Nobody sees the groups of others.
  if (userId !== undefined && userId !== ownerId) throw new Fault('SecurityGroupNotFound', `The security group '${group}' does not exist`);
  return { group };
}

export const ruleShape = struct({
  securityGroupRuleId: text, groupId: text, groupOwnerId: text, isEgress: boolean, ipProtocol: text, fromPort: integer, toPort: integer,
  cidrIpv4: optional(text), cidrIpv6: optional(text), referencedGroupInfo: optional(struct({ groupId: text, userId: text })), description: optional(text), tagSet,
});

export function ruleItem(r: SecurityRuleView, ownerId: string) {
  const peer = r.peer.startsWith('sg-') ? { referencedGroupInfo: { groupId: r.peer, userId: ownerId } } : r.peer.includes(':') ? { cidrIpv6: r.peer } : { cidrIpv4: r.peer };
  return {
    securityGroupRuleId: r.id, groupId: r.groupId, groupOwnerId: ownerId, isEgress: r.egress, ipProtocol: r.protocol, fromPort: r.fromPort, toPort: r.toPort,
    ...peer, ...(r.description === null ? {} : { description: r.description }), tagSet: tagItems(r.tags),
  };
}
