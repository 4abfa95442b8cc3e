/** Statements on policies, on who they are assigned to, and on what accounts have and used. */
import { statement } from './db.ts';

export interface PolicyRow {
  id: number;
  name: string;
  kind: 'template' | 'group' | 'site';
  description: string;
  /** As `src/authorization/settings.ts` has checked them. */
  bounds: object;
  changed_at: number;
}
const COLUMNS = 'id, name, kind, description, bounds, changed_at';

/** What a policy that several users share counts; minutes are those of its period. */
export interface PolicyUse {
  readonly leases: number;
  readonly cores: number;
  readonly memory_mb: number;
  readonly reserved_minutes: number;
  readonly closed_minutes: number;
}

/** `use`: null where it bounds nothing that is counted, and of templates. */
export type AppliedPolicy = Pick<PolicyRow, 'id' | 'name' | 'kind' | 'bounds'> & { readonly use: PolicyUse | null };

/** `closed_minutes`: in the period of the account's template. */
export interface AccountUse extends PolicyUse {
  readonly account_id: number;
  /** Ids of the policies it is under; `template`: its own, or the default one. */
  readonly template: number | null;
  readonly groups: readonly number[];
}

/** One row: the accounts, and once each the policies that hold for some of them. */
export interface AppliedPoliciesRow {
  readonly accounts: readonly AccountUse[] | null;
  readonly policies: readonly AppliedPolicy[] | null;
}

/**
 * $1 accounts, $2 today, $3 days of a period where the policy says none, $4 whether to lock: then who creates or extends for the same
 * accounts, or under the same shared policies, waits for the end of the transaction, and what is read was committed before the wait
 * was over (migration 0018).
 */
export const appliedPolicies = statement<AppliedPoliciesRow>('applied-policies', 'SELECT accounts, policies FROM applied_policies($1, $2, $3, $4)');

/** $1 accounts: what they have, locked in the order that everybody keeps */
export const holdUse = statement<{ account_id: number }>('hold-use', `
  SELECT account_id FROM account_use WHERE account_id = ANY($1::bigint[]) ORDER BY account_id FOR NO KEY UPDATE`);

/** $1 kind, not a template; $2 policy, $3 first day of its period */
export const policyUse = statement<PolicyUse>('policy-use', 'SELECT * FROM policy_use($1, $2, $3)');

const running = (accounts: string): string => `(
  SELECT sum(least(ceil(ceil(greatest(0, date_part('epoch', $2::timestamptz - l.running_at)) / 60) / $3::float8) * $3::float8, coalesce(l.reserved_minutes, ceil(l.duration_s / 60.0)))) FROM lease l
   WHERE ${accounts} AND NOT l.final AND l.holding AND l.running_at IS NOT NULL)`;

/** $1 jsonb array: key, kind, policy, account (of a template); $2 now, $3 minutes that charges are rounded up to: what live leases have used so far. */
export const runningMinutes = statement<{ key: string; minutes: number }>('running-minutes', `
  SELECT x.key, coalesce(CASE x.kind WHEN 'site' THEN ${running('true')} WHEN 'template' THEN ${running('l.account_id = x.account')}
           ELSE ${running('l.account_id = ANY(ARRAY(SELECT m.account_id FROM policy_user m WHERE m.policy_id = x.policy))')} END, 0)::bigint AS minutes
    FROM jsonb_to_recordset($1) AS x(key text, kind text, policy bigint, account bigint)`);

/** All, with the names of their users. */
export const allPolicies = statement<PolicyRow & { users: string[] }>('all-policies', `
  SELECT ${COLUMNS}, coalesce((SELECT array_agg(a.name ORDER BY a.name) FROM policy_user pu JOIN account a ON a.id = pu.account_id WHERE pu.policy_id = p.id), '{}') AS users
    FROM policy p ORDER BY CASE kind WHEN 'site' THEN 0 WHEN 'group' THEN 1 ELSE 2 END, name LIMIT 10000`);

/** $1 name; waits for creates that are counted against it, and makes them wait. */
export const lockPolicy = statement<PolicyRow & { users: number }>('lock-policy', `
  SELECT ${COLUMNS}, (SELECT count(*) FROM policy_user pu WHERE pu.policy_id = p.id) AS users FROM policy p WHERE name = $1 FOR UPDATE`);

/** $1 name, $2 kind, $3 description, $4 bounds, $5 now; a new kind only while nobody has it */
export const writePolicy = statement<{ id: number }>('write-policy', `
  INSERT INTO policy (name, kind, description, bounds, created_at, changed_at) VALUES ($1, $2, $3, $4, $5, $5)
  ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, description = excluded.description, bounds = excluded.bounds, changed_at = excluded.changed_at
  RETURNING id`);

/** $1 id */
export const deletePolicy = statement<never>('delete-policy', 'DELETE FROM policy WHERE id = $1');

/** $1 accounts: of each that is in a group, its group; the first by name where it is in several */
export const groupOfAccounts = statement<{ account_id: number; name: string }>('group-of-accounts', `
  SELECT DISTINCT ON (pu.account_id) pu.account_id, p.name FROM policy_user pu JOIN policy p ON p.id = pu.policy_id
   WHERE pu.account_id = ANY($1) AND p.kind = 'group' ORDER BY pu.account_id, p.name`);

/** $1 id: those it is assigned to, a few of them */
export const usersOfPolicy = statement<{ name: string }>('users-of-policy', `
  SELECT a.name FROM policy_user pu JOIN account a ON a.id = pu.account_id WHERE pu.policy_id = $1 ORDER BY a.name LIMIT 10`);

/** $1 account: the template that the user has had until now, if any */
export const dropTemplateOf = statement<{ name: string }>('drop-template-of', `
  DELETE FROM policy_user pu USING policy p WHERE p.id = pu.policy_id AND pu.account_id = $1 AND pu.template RETURNING p.name`);

/** $1 account, $2 policy, $3 whether it is a template */
export const assignPolicy = statement<{ policy_id: number }>('assign-policy', `
  INSERT INTO policy_user (account_id, policy_id, template) VALUES ($1, $2, $3) ON CONFLICT (account_id, policy_id) DO NOTHING RETURNING policy_id`);

/** $1 account, $2 policy */
export const unassignPolicy = statement<{ policy_id: number }>('unassign-policy', `
  DELETE FROM policy_user WHERE account_id = $1 AND policy_id = $2 RETURNING policy_id`);
