/**
 * The triggers of migration 0003 with less to do: the same sums, from one statement where there were several. What an account has
 * follows each row of `lease` that changes it; who changes rows of several accounts locks those of `account_use` first, in the order of
 * their accounts. Days that no period reaches go when a day begins. The functions `charge_account` and `account_use_of_leases` are called
 * by nothing any more, and may go a release later.
 */
import type { Knex } from 'knex';

const PARTS = 8;
const KEPT_DAYS = 400;
const DAY = "(n.closed_at AT TIME ZONE 'UTC')::date";
const CLOSED = 'new_rows n JOIN old_rows o USING (lease_id) WHERE o.closed_at IS NULL AND n.closed_at IS NOT NULL AND n.charged_minutes IS NOT NULL';
const epoch = (column: string): string => `floor(extract(epoch FROM ${column}) * 1000)::bigint`;

/** What a lease counts for while it holds room; without reserved minutes where an old version has written it. */
const WORTH = { leases: (_row: string) => '1', cores: (row: string) => `${row}.cores`, memory_mb: (row: string) => `${row}.memory_mb`, reserved_minutes: (row: string) => `coalesce(${row}.reserved_minutes, ceil(${row}.duration_s / 60.0))` };
const COUNTED = '(OLD.holding, OLD.reserved_minutes, OLD.duration_s, OLD.cores, OLD.memory_mb) IS DISTINCT FROM (NEW.holding, NEW.reserved_minutes, NEW.duration_s, NEW.cores, NEW.memory_mb)';
const held = (row: string, worth: (row: string) => string): string => `CASE WHEN ${row}.holding THEN ${worth(row)} ELSE 0 END`;

const tell = (kind: string, facts: string, where: string): string => `
    INSERT INTO usage_event (sink, kind, lease_id, body)
    SELECT s.name, '${kind}', n.lease_id, jsonb_build_object('user', split_part(a.name, '~', 1), 'ownerId', a.owner_id, ${facts})
      FROM new_rows n JOIN old_rows o USING (lease_id) JOIN account a ON a.id = n.account_id CROSS JOIN usage_sink s WHERE s.active AND ${where} ORDER BY n.lease_id, s.name;`;

const STATEMENTS = [
  // Most updates of a lease change nothing that counts, and do not name these columns; a trigger of the whole statement collects all rows to find that out.
  `CREATE OR REPLACE FUNCTION account_use_of_lease() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
     IF ${COUNTED} THEN
       UPDATE account_use u SET ${Object.entries(WORTH).map(([what, worth]) => `${what} = greatest(0, u.${what} + ${held('NEW', worth)} - ${held('OLD', worth)})`).join(', ')}
        WHERE u.account_id = NEW.account_id;
     END IF;
     RETURN NULL;
   END $$`,
  'DROP TRIGGER account_use_of_leases ON lease',
  `CREATE TRIGGER account_use_of_lease AFTER UPDATE OF holding, reserved_minutes, duration_s, cores, memory_mb ON lease FOR EACH ROW EXECUTE FUNCTION account_use_of_lease()`,

  // True: the account's first charge of that day.
  `CREATE OR REPLACE FUNCTION charge(account bigint, on_day date, minutes bigint) RETURNS boolean LANGUAGE plpgsql AS $$ DECLARE known boolean; BEGIN
     -- By itself, and first: who charges the same account meanwhile is waited for, and has written his days when they are looked at.
     UPDATE account_use u SET charged_minutes = u.charged_minutes + minutes WHERE u.account_id = account;
     WITH d AS (UPDATE usage_day d SET total = d.total + minutes WHERE d.account_id = account AND d.day >= on_day RETURNING d.day)
     SELECT coalesce(bool_or(d.day = on_day), false) INTO known FROM d;
     IF known THEN RETURN false; END IF;
     INSERT INTO usage_day AS d (account_id, day, total)
     VALUES (account, on_day, minutes + coalesce((SELECT b.total FROM usage_day b WHERE b.account_id = account AND b.day < on_day ORDER BY b.day DESC LIMIT 1), 0));
     DELETE FROM usage_day o WHERE o.account_id = account AND o.day < (SELECT max(b.day) FROM usage_day b WHERE b.account_id = account AND b.day < on_day - ${KEPT_DAYS});
     RETURN true;
   END $$`,
  `CREATE OR REPLACE FUNCTION usage_of_records() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE first_of_day boolean; BEGIN
    SELECT bool_or(charge(c.account_id, c.day, c.minutes)) INTO first_of_day
      FROM (SELECT n.account_id, ${DAY} AS day, sum(n.charged_minutes)::bigint AS minutes FROM ${CLOSED} GROUP BY 1, 2 ORDER BY 1, 2) c;
    IF first_of_day IS NOT NULL THEN
      INSERT INTO usage_site_day AS d (day, part, minutes)
      SELECT ${DAY}, n.account_id % ${PARTS}, sum(n.charged_minutes) FROM ${CLOSED} GROUP BY 1, 2 ORDER BY 1, 2
      ON CONFLICT (day, part) DO UPDATE SET minutes = d.minutes + excluded.minutes;
    END IF;
    IF first_of_day THEN
      DELETE FROM usage_site_day WHERE day < (SELECT max(day) FROM usage_site_day) - ${KEPT_DAYS};
    END IF;
    IF EXISTS (SELECT FROM usage_sink WHERE active) THEN
      ${tell('reservation-moved', "'reservedSeconds', n.reserved_s, 'reservedSecondsBefore', o.reserved_s", 'n.reserved_s <> o.reserved_s')}
      ${tell('record-closed', `'at', ${epoch('n.closed_at')}, 'chargedMinutes', n.charged_minutes`, 'o.closed_at IS NULL AND n.closed_at IS NOT NULL')}
    END IF;
    RETURN NULL;
   END $$`,
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
