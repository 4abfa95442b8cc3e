/** Authorize and Revoke, of what comes in and of what goes out. */
import { list as inputList, string } from '../inputs.ts';
import { operation } from '../operation.ts';
import type { Operation } from '../operation.ts';
import { boolean, list, struct } from '../outputs.ts';
import { hasRules, readRules, ruleInputs, ruleItem, ruleShape } from '../security-rules.ts';
import { tagSpecifications, tagsFor } from '../tags.ts';
import { oneGroup } from './security-groups.ts';

const group = { GroupId: string(), GroupName: string() };

const authorize = (name: string, egress: boolean): Operation => operation({
  name,
  summary: `Records rules for what may ${egress ? 'leave' : 'reach'} the instances of a security group; nothing enforces them.`,
  input: { ...group, ...ruleInputs, TagSpecification: tagSpecifications },
  // Whose group it is: nobody changes the groups of others.
  ignored: ['UserId'],
  output: { return: boolean, securityGroupRuleSet: list(ruleShape) },
  errors: ['SecurityGroupNotFound', 'SecurityRuleExists', 'TooMany', 'Unsupported'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const tags = tagsFor('security-group-rule', p.TagSpecification);
    const change = { group: oneGroup(p), egress, rules: readRules(p, caller.ownerId) };
    const rules = await manager.securityGroups.authorize(caller, change, { dryRun, tags });
    return { return: true, securityGroupRuleSet: rules.map((r) => ruleItem(r, caller.ownerId)) };
  },
});

const revoke = (name: string, egress: boolean): Operation => operation({
  name,
  summary: `Forgets rules for what may ${egress ? 'leave' : 'reach'} the instances of a security group.`,
  input: { ...group, ...ruleInputs, SecurityGroupRuleId: inputList(string()) },
  ignored: ['UserId'],
  output: { return: boolean, unknownIpPermissionSet: list(struct({})), revokedSecurityGroupRuleSet: list(ruleShape) },
  errors: ['SecurityGroupNotFound', 'SecurityRuleNotFound', 'Unsupported'],
  mutates: true,
  async run({ manager, caller, dryRun }, p) {
    const rules = p.SecurityGroupRuleId.length > 0 && !hasRules(p) ? [] : readRules(p, caller.ownerId);
    const revoked = await manager.securityGroups.revoke(caller, { group: oneGroup(p), egress, rules, ruleIds: p.SecurityGroupRuleId }, { dryRun });
    return { return: true, unknownIpPermissionSet: [], revokedSecurityGroupRuleSet: revoked.map((r) => ruleItem(r, caller.ownerId)) };
  },
});

export const authorizeSecurityGroupIngress = authorize('AuthorizeSecurityGroupIngress', false);
export const authorizeSecurityGroupEgress = authorize('AuthorizeSecurityGroupEgress', true);
export const revokeSecurityGroupIngress = revoke('RevokeSecurityGroupIngress', false);
export const revokeSecurityGroupEgress = revoke('RevokeSecurityGroupEgress', true);
