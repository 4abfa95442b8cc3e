/** The security group that every account has, before it has a row: nothing is written until something of it is changed. */
import { DEFAULT_GROUP_NAME, defaultGroupId, defaultRuleId } from '../network/mirror.ts';
import type { RuleFacts } from '../network/security-rules.ts';
import type { Queryable } from '../store/db.ts';
import { insertSecurityGroup, insertSecurityRules, type SecurityRuleRow } from '../store/security-groups.ts';
import type { Caller, SecurityGroupView, SecurityRuleView } from './types.ts';

/** Writes the default group and the rules that it begins with, unless it is there. */
export async function ensureDefaultGroup(tx: Queryable, caller: Pick<Caller, 'accountId' | 'ownerId'>, now: Date): Promise<void> {
  const { id, name, rules } = defaultGroup(caller);
  const written = await tx.query(insertSecurityGroup, [id, caller.accountId, name, DEFAULT_DESCRIPTION, now]);
  if (written.length === 0) return;
  for (const rule of rules) await insertRules(tx, id, rule.egress, [rule], now, () => rule.id);
}

export const ALL_OUT: RuleFacts = { protocol: '-1', fromPort: -1, toPort: -1, peer: '0.0.0.0/0', description: null };
const NOT_ENFORCED = 'recorded, not enforced';
const DEFAULT_DESCRIPTION = 'default VPC security group';

/** All within it, all out: what EC2 gives it. */
export function defaultGroup({ ownerId }: Pick<Caller, 'ownerId'>): SecurityGroupView {
  const id = defaultGroupId(ownerId);
  const rule = (egress: boolean, peer: string): SecurityRuleView => ({ ...ALL_OUT, id: defaultRuleId(ownerId, egress), groupId: id, egress, peer, tags: {} });
  return { id, name: DEFAULT_GROUP_NAME, description: described(DEFAULT_DESCRIPTION), tags: {}, rules: [rule(false, id), rule(true, ALL_OUT.peer)] };
}

export const described = (text: string): string => (text.includes(NOT_ENFORCED) ? text : `${text} (${NOT_ENFORCED})`);

export function insertRules(tx: Queryable, groupId: string, egress: boolean, facts: readonly RuleFacts[], now: Date, id: () => string): Promise<SecurityRuleRow[]> {
  const rows = facts.map((f) => ({ id: id(), protocol: f.protocol, from_port: f.fromPort, to_port: f.toPort, peer: f.peer, description: f.description }));
  return tx.query(insertSecurityRules, [groupId, egress, JSON.stringify(rows), now]);
}
