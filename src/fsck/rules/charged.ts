/**
 * What users and the site were charged, day by day, against the records. True as long as records are kept for ever; the sums of
 * days are not: what is older than the oldest sum is not missed.
 */
import { statement } from '../../store/db.ts';
import { rule } from '../rule.ts';

const DAY = "(closed_at AT TIME ZONE 'UTC')::date";
const BY_DAY = (key: string, which = 'true'): string => `SELECT ${key}, ${DAY} AS day, sum(charged_minutes) AS minutes FROM usage_record WHERE closed_at IS NOT NULL AND ${which} GROUP BY 1, 2`;
/** Up to the end of each day. */
const OF_ACCOUNTS = (which: string): string => `SELECT account_id, day, sum(minutes) OVER (PARTITION BY account_id ORDER BY day) AS total FROM (${BY_DAY('account_id', which)}) c`;
const THESE = 'account_id = ANY($1::text[]::bigint[])';
/** The site's sums are kept in as many parts (migration 0003). */
const PARTS = 8;

export const chargedRules = [
  rule<{ id: string; name: string; counted: number; charged: number }>({
    name: 'account-charged', pages: 'account',
    broken: `SELECT DISTINCT ON (id) * FROM (
             SELECT u.account_id::text AS id, a.name, u.charged_minutes AS counted, coalesce(sum(r.charged_minutes), 0)::bigint AS charged
               FROM account_use u JOIN account a ON a.id = u.account_id LEFT JOIN usage_record r ON r.account_id = u.account_id AND r.closed_at IS NOT NULL
              WHERE $page(u.account_id) GROUP BY u.account_id, a.name, u.charged_minutes HAVING u.charged_minutes <> coalesce(sum(r.charged_minutes), 0)
              UNION SELECT account_id::text, a.name, coalesce(d.total, 0), coalesce(s.total, 0)::bigint FROM (${OF_ACCOUNTS('$page(account_id)')}) s FULL JOIN (SELECT * FROM usage_day WHERE $page(account_id)) d USING (account_id, day)
                JOIN account a ON a.id = account_id
               WHERE d.total IS DISTINCT FROM s.total AND day >= coalesce((SELECT min(o.day) FROM usage_day o WHERE o.account_id = a.id), day)) of_accounts ORDER BY id`,
    says: (u) => `user ${u.name} counts as charged ${u.counted} minutes in all; the records come to ${u.charged}`,
    mend: 'adds the records up',
    repair: {
      // Whoever closes a record holds the row of its account.
      lock: statement<unknown>('fsck-lock-account-use', 'SELECT account_id FROM account_use WHERE account_id = ANY($1::text[]::bigint[]) ORDER BY account_id FOR NO KEY UPDATE'),
      statement: `WITH sums AS MATERIALIZED (${OF_ACCOUNTS(THESE)}),
          put AS (INSERT INTO usage_day (account_id, day, total) SELECT account_id, day, total FROM sums ON CONFLICT (account_id, day) DO UPDATE SET total = excluded.total),
          gone AS (DELETE FROM usage_day d WHERE ${THESE} AND NOT EXISTS (SELECT 1 FROM sums s WHERE s.account_id = d.account_id AND s.day = d.day))
        UPDATE account_use u SET charged_minutes = coalesce((SELECT max(total) FROM sums s WHERE s.account_id = u.account_id), 0) WHERE ${THESE}`,
    },
  }),
  rule<{ id: string; counted: number; charged: number }>({
    name: 'site-charged', pages: 'day',
    broken: `SELECT day::text AS id, coalesce(d.minutes, 0)::bigint AS counted, coalesce(s.minutes, 0)::bigint AS charged
               FROM (SELECT day, sum(minutes) AS minutes FROM usage_site_day WHERE $page(day) GROUP BY day) d
               FULL JOIN (SELECT ${DAY} AS day, sum(charged_minutes) AS minutes FROM usage_record WHERE $closed(closed_at) GROUP BY 1) s USING (day)
              WHERE coalesce(d.minutes, 0) <> coalesce(s.minutes, 0) AND day >= coalesce((SELECT min(o.day) FROM usage_site_day o), day)`,
    says: (d) => `the site counts ${d.counted} minutes as charged on ${d.id}; the records of that day come to ${d.charged}`,
    mend: 'adds the records up',
    repair: {
      // Any account may have records of that day.
      lock: statement<unknown>('fsck-lock-all-account-use', 'SELECT account_id FROM account_use WHERE $1::text[] IS NOT NULL ORDER BY account_id FOR NO KEY UPDATE'),
      statement: `WITH sums AS MATERIALIZED (SELECT day, (account_id % ${PARTS})::smallint AS part, sum(minutes) AS minutes FROM (${BY_DAY('account_id')}) r WHERE day = ANY($1::text[]::date[]) GROUP BY 1, 2),
          put AS (INSERT INTO usage_site_day (day, part, minutes) SELECT day, part, minutes FROM sums ON CONFLICT (day, part) DO UPDATE SET minutes = excluded.minutes)
        DELETE FROM usage_site_day d WHERE day = ANY($1::text[]::date[]) AND NOT EXISTS (SELECT 1 FROM sums s WHERE s.day = d.day AND s.part = d.part)`,
    },
  }),
];
