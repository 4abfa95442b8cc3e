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

export type AppliedPolicy = Pick<PolicyRow, 'id' | 'name' | 'kind' | 'bounds'>;

export interface AccountUse {
  readonly account_id: number;
  readonly leases: number;
  readonly cores: number;
  readonly memory_mb: number;
  readonly reserved_minutes: number;
  /** Ids of its template and groups; `template`: whether one is there. */
  readonly assigned: readonly number[];
  readonly template: boolean;
}

/** One row: the accounts, and once each the policies that hold for some of them. */
export interface AccountUseRow {
  accounts: AccountUse[];
  policies: AppliedPolicy[];
}

/** Hides the number of accounts from the planner, which would otherwise plan anew each time for a plan that is always the same. */
const ASKED = '(SELECT $1::bigint[])::bigint[]';

/**
 * With the lock, who creates or extends for the same accounts, or under the same shared policies, waits for the end of the
 * transaction; a locked row is read as it is when the wait is over.
 */
const accountUse = (lock: string): string => `
  WITH u AS (
    SELECT account_id, leases, cores, memory_mb, reserved_minutes FROM account_use WHERE account_id = ANY(${ASKED}) ORDER BY account_id ${lock}
  ), mine AS (
    SELECT account_id, policy_id, template FROM policy_user WHERE account_id = ANY(${ASKED})
  ), shared AS (
    SELECT id, name, kind, bounds FROM policy WHERE kind = 'site' OR (kind = 'group' AND id IN (SELECT policy_id FROM mine)) ORDER BY id ${lock}
  ), p AS (
    SELECT * FROM shared UNION ALL
    SELECT id, name, kind, bounds FROM policy WHERE kind = 'template' AND (name = 'default' OR id IN (SELECT policy_id FROM mine))
  )
  SELECT coalesce((SELECT json_agg(json_build_object('account_id', u.account_id, 'leases', u.leases, 'cores', u.cores, 'memory_mb', u.memory_mb,
                                   'reserved_minutes', u.reserved_minutes, 'assigned', coalesce(m.ids, '[]'), 'template', coalesce(m.template, false)))
                     FROM u LEFT JOIN (SELECT account_id, json_agg(policy_id) AS ids, bool_or(template) AS template FROM mine GROUP BY account_id) m USING (account_id)), '[]') AS accounts,
         coalesce((SELECT json_agg(json_build_object('id', p.id, 'name', p.name, 'kind', p.kind, 'bounds', p.bounds) ORDER BY p.kind DESC, p.name) FROM p), '[]') AS policies`;

/** $1 accounts */
export const lockAccountUse = statement<AccountUseRow>('lock-account-use', accountUse('FOR NO KEY UPDATE'));

/** $1 accounts: what they have, locked in the order that everybody keeps */
export const holdUse = statement<{ account_id: number }>('hold-use', `
  SELECT account_id FROM account_use WHERE account_id = ANY($1::bigint[]) ORDER BY account_id FOR NO KEY UPDATE`);

/** $1 accounts; of the moment, for who only looks */
export const readAccountUse = statement<AccountUseRow>('read-account-use', accountUse(''));

export interface SharedUseRow {
  key: string;
  leases: number;
  cores: number;
  memory_mb: number;
  reserved_minutes: number;
  closed_minutes: number;
  running_minutes: number;
}

const BEFORE = 'coalesce((SELECT d.total FROM usage_day d WHERE d.account_id = u.account_id AND d.day < x.since ORDER BY d.day DESC LIMIT 1), 0)';
const running = (whose: string): string => `coalesce((
  SELECT sum(least(ceil(ceil(greatest(0, date_part('epoch', $2::timestamptz - l.running_at)) / 60) / $3::float8) * $3::float8, coalesce(l.reserved_minutes, ceil(l.duration_s / 60.0)))) FROM lease l
   WHERE ${whose} AND NOT l.final AND l.holding AND l.running_at IS NOT NULL), 0)`;
const SUMS = 'sum(u.leases)::bigint AS leases, sum(u.cores)::bigint AS cores, sum(u.memory_mb)::bigint AS memory_mb, sum(u.reserved_minutes)::bigint AS reserved_minutes';

/**
 * $1 jsonb array: key, kind, policy, account (of a template), since (first day of the period, null = minutes do not matter),
 * running (true = use of live leases matters); $2 now, $3 minutes that charges are rounded up to. Read after the lock, in a
 * statement of its own: what it sees was committed before. OFFSET keeps the planner from reading all accounts for the few of a group.
 */
export const sharedUse = statement<SharedUseRow>('shared-use', `
  WITH x AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1) AS x(key text, kind text, policy bigint, account bigint, since date, running boolean)
  )
  SELECT x.key, ${SUMS},
         sum(CASE WHEN x.since IS NULL THEN 0 ELSE u.charged_minutes - ${BEFORE} END)::bigint AS closed_minutes,
         sum(CASE WHEN x.running THEN ${running('l.account_id = u.account_id')} ELSE 0 END)::bigint AS running_minutes
    FROM x CROSS JOIN LATERAL (
           SELECT x.account AS account_id WHERE x.kind = 'template'
           UNION ALL SELECT pu.account_id FROM policy_user pu WHERE x.kind = 'group' AND pu.policy_id = x.policy
         ) m CROSS JOIN LATERAL (SELECT * FROM account_use o WHERE o.account_id = m.account_id OFFSET 0) u
   GROUP BY x.key
  UNION ALL
  SELECT x.key, s.*, CASE WHEN x.since IS NULL THEN 0 ELSE coalesce((SELECT sum(d.minutes) FROM usage_site_day d WHERE d.day >= x.since), 0) END::bigint,
         CASE WHEN x.running THEN ${running('true')} ELSE 0 END::bigint
    FROM x CROSS JOIN (SELECT ${SUMS} FROM account_use u) s WHERE x.kind = 'site'`);

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
