/** Statements on security groups and their rules. */
import { statement } from './db.ts';

export interface SecurityGroupRow {
  id: string;
  name: string;
  description: string;
  tags: Record<string, string> | null;
}
export interface SecurityRuleRow {
  id: string;
  group_id: string;
  egress: boolean;
  protocol: string;
  from_port: number;
  to_port: number;
  peer: string;
  description: string | null;
  tags: Record<string, string> | null;
}
/** Of account `a`: as network/mirror.ts derives it. */
export const DEFAULT_GROUP_ID = "('sg-' || left(encode(sha256(convert_to('sg ' || a.owner_id, 'UTF8')), 'hex'), 17))";

const tags = (of: string): string => `(SELECT jsonb_object_agg(t.key, t.value) FROM tag t WHERE t.resource_id = ${of}.id) AS tags`;
const GROUP = `g.id, g.name, g.description, ${tags('g')}`;
const RULE = `r.id, r.group_id, r.egress, r.protocol, r.from_port, r.to_port, r.peer, r.description, ${tags('r')}`;

/** $1 account */
export const securityGroupsOf = statement<SecurityGroupRow>('security-groups-of', `SELECT ${GROUP} FROM security_group g WHERE g.account_id = $1 ORDER BY g.id`);

/** $1 account */
export const securityRulesOf = statement<SecurityRuleRow>('security-rules-of', `
  SELECT ${RULE} FROM security_rule r JOIN security_group g ON g.id = r.group_id WHERE g.account_id = $1 ORDER BY r.group_id, r.created_at, r.id`);

/** $1 account, $2 ids or names */
export const securityGroupsNamed = statement<{ id: string; name: string }>('security-groups-named', `
  SELECT id, name FROM security_group WHERE account_id = $1 AND (id = ANY($2::text[]) OR name = ANY($2::text[]))`);

/** $1 ids: from here to the end of the transaction they cannot be removed */
export const holdSecurityGroups = statement<{ id: string }>('hold-security-groups', `
  SELECT id FROM security_group WHERE id = ANY($1::text[]) ORDER BY id FOR KEY SHARE`);

/** $1 account, $2 id or name. Waits for creates that use it. */
export const lockSecurityGroup = statement<{ id: string; name: string }>('lock-security-group', `
  SELECT id, name FROM security_group WHERE account_id = $1 AND (id = $2 OR name = $2) FOR UPDATE`);

/** $1 id, $2 account, $3 name, $4 description, $5 now; no row when the name is taken */
export const insertSecurityGroup = statement<{ id: string }>('insert-security-group', `
  INSERT INTO security_group (id, account_id, name, description, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING id`);

/** $1 group, $2 egress, $3 jsonb array of rules, $4 now; those that are there already are left out */
export const insertSecurityRules = statement<SecurityRuleRow>('insert-security-rules', `
  INSERT INTO security_rule (id, group_id, egress, protocol, from_port, to_port, peer, description, created_at)
  SELECT x.id, $1, $2, x.protocol, x.from_port, x.to_port, x.peer, x.description, $4
    FROM jsonb_to_recordset($3) AS x(id text, protocol text, from_port int, to_port int, peer text, description text)
  ON CONFLICT DO NOTHING RETURNING id, group_id, egress, protocol, from_port, to_port, peer, description, NULL::jsonb AS tags`);

/** $1 group, $2 egress */
export const countSecurityRules = statement<{ rules: number }>('count-security-rules', 'SELECT count(*) AS rules FROM security_rule WHERE group_id = $1 AND egress = $2');

/** $1 account */
export const countSecurityGroups = statement<{ groups: number }>('count-security-groups', 'SELECT count(*) AS groups FROM security_group WHERE account_id = $1');

/** $1 group, $2 egress, $3 ids; their tags go with them */
export const deleteSecurityRules = statement<SecurityRuleRow>('delete-security-rules', `
  WITH r AS (DELETE FROM security_rule WHERE group_id = $1 AND egress = $2 AND id = ANY($3::text[]) RETURNING *),
       t AS (DELETE FROM tag USING r WHERE resource_id = r.id)
  SELECT id, group_id, egress, protocol, from_port, to_port, peer, description, NULL::jsonb AS tags FROM r`);

/** $1 group, $2 egress */
export const securityRulesOfGroup = statement<SecurityRuleRow>('security-rules-of-group', `SELECT ${RULE} FROM security_rule r WHERE r.group_id = $1 AND r.egress = $2`);

/** $1 group: what keeps it, a few of them */
export const keepingSecurityGroup = statement<{ id: string }>('keeping-security-group', `
  (SELECT l.id FROM lease l JOIN lease_group g ON g.id = l.group_id
    WHERE NOT l.final AND l.account_id = (SELECT account_id FROM security_group WHERE id = $1)
      AND coalesce(l.security_groups, g.security_groups) @> jsonb_build_array(jsonb_build_object('id', $1::text)) LIMIT 5)
   UNION ALL
  (SELECT DISTINCT r.group_id FROM security_rule r WHERE r.peer = $1 AND r.group_id <> $1 LIMIT 5)`);

/** $1 group; its rules and all their tags go with it */
export const deleteSecurityGroup = statement<never>('delete-security-group', `
  WITH t AS (DELETE FROM tag WHERE resource_id = $1 OR resource_id IN (SELECT id FROM security_rule WHERE group_id = $1))
  DELETE FROM security_group WHERE id = $1`);
