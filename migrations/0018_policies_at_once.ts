/**
 * What the policies of some accounts say and count, in one question: the locks that a create needs, and then, in a statement of its
 * own that sees what was committed before them, the sums. Functions that nothing of the version before calls.
 */
import type { Knex } from 'knex';

const DAY_S = 86_400;
/** Charged to an account before a day, all of it. */
const BEFORE = (account: string, day: string): string => `coalesce((SELECT d.total FROM usage_day d WHERE d.account_id = ${account} AND d.day < ${day} ORDER BY d.day DESC LIMIT 1), 0)`;
const SUMS = ['leases', 'cores', 'memory_mb', 'reserved_minutes'].map((what) => `coalesce(sum(u.${what}), 0)::bigint`).join(', ');
const ASSIGNED = 'SELECT policy_id FROM policy_user WHERE account_id = ANY(asked)';
const SHARED = `SELECT id FROM policy WHERE kind = 'site' OR (kind = 'group' AND id IN (${ASSIGNED})) ORDER BY id`;
/** Whether a policy has one of these bounds. */
const has = (policy: string, ...bounds: readonly string[]): string => `coalesce(${bounds.map((b) => `${policy}.bounds->'${b}'`).join(', ')}) IS NOT NULL`;
const MINUTES = ['reserved_minutes', 'used_minutes'];
/** Of a policy that bounds minutes: the first day of its period, of which today is the last. */
const since = (policy: string): string => `CASE WHEN ${has(policy, ...MINUTES)} THEN today + 1 - coalesce((${policy}.bounds->>'period')::integer / ${DAY_S}, period_days) END`;

const FUNCTIONS = [
  // The array keeps the planner from reading all accounts for the few of a group.
  `CREATE FUNCTION policy_use(of_kind text, of_policy bigint, since date, OUT leases bigint, OUT cores bigint, OUT memory_mb bigint, OUT reserved_minutes bigint, OUT closed_minutes bigint)
   LANGUAGE plpgsql STABLE AS $$ BEGIN
     IF of_kind = 'site' THEN
       SELECT ${SUMS}, 0 INTO leases, cores, memory_mb, reserved_minutes, closed_minutes FROM account_use u;
       IF since IS NOT NULL THEN
         closed_minutes := (SELECT coalesce(sum(d.minutes), 0) FROM usage_site_day d WHERE d.day >= since);
       END IF;
     ELSE
       SELECT ${SUMS}, coalesce(sum(CASE WHEN since IS NULL THEN 0 ELSE u.charged_minutes - ${BEFORE('u.account_id', 'since')} END), 0)
         INTO leases, cores, memory_mb, reserved_minutes, closed_minutes
         FROM account_use u WHERE u.account_id = ANY(ARRAY(SELECT m.account_id FROM policy_user m WHERE m.policy_id = of_policy));
     END IF;
   END $$`,

  // The plan is the same however many accounts are asked for, and whatever their ids; made anew it would cost more than what it does.
  `CREATE FUNCTION applied_policies(asked bigint[], today date, period_days integer, hold boolean, OUT accounts json, OUT policies json)
   LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$ DECLARE shared bigint[]; BEGIN
     IF hold THEN
       PERFORM 1 FROM account_use u WHERE u.account_id = ANY(asked) ORDER BY u.account_id FOR NO KEY UPDATE;
       shared := ARRAY(${SHARED} FOR NO KEY UPDATE);
     ELSE
       shared := ARRAY(${SHARED});
     END IF;
     SELECT json_agg(json_build_object('account_id', u.account_id, 'leases', u.leases, 'cores', u.cores, 'memory_mb', u.memory_mb, 'reserved_minutes', u.reserved_minutes,
              'closed_minutes', CASE WHEN ${since('t')} IS NULL THEN 0 ELSE u.charged_minutes - ${BEFORE('u.account_id', since('t'))} END,
              'template', t.id, 'groups', ARRAY(SELECT g.policy_id FROM policy_user g WHERE g.account_id = u.account_id AND NOT g.template)))
       INTO accounts
       FROM account_use u LEFT JOIN policy t
         ON t.id = coalesce((SELECT m.policy_id FROM policy_user m WHERE m.account_id = u.account_id AND m.template), (SELECT d.id FROM policy d WHERE d.name = 'default'))
      WHERE u.account_id = ANY(asked);
     -- A group that an account has been given since the locks were taken holds for its next request.
     SELECT json_agg(json_build_object('id', p.id, 'name', p.name, 'kind', p.kind, 'bounds', p.bounds,
              'use', CASE WHEN p.kind <> 'template' AND ${has('p', 'leases', 'cores', 'memory_mb', ...MINUTES)} THEN (SELECT to_json(s) FROM policy_use(p.kind, p.id, ${since('p')}) s) END)
              ORDER BY p.kind DESC, p.name)
       INTO policies
       FROM policy p WHERE p.id = ANY(shared) OR (p.kind = 'template' AND (p.name = 'default' OR p.id IN (${ASSIGNED})));
   END $$`,
];

export async function up(knex: Knex): Promise<void> {
  for (const f of FUNCTIONS) await knex.raw(f);
}
