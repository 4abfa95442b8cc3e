/**
 * Policies, who they are assigned to, what accounts have and had, and what accounting sinks are told.
 *
 * `account_use`, `usage_day`, `usage_site_day` and `usage_event` follow from leases and their usage. Triggers keep them, so that they are true
 * whichever version of the service, or whichever hand, writes a lease.
 */
import type { Knex } from 'knex';

/** Rows of `account_use` are locked in the order of their accounts, as everybody does who locks several. */
const LOCK_USE = (rows: string): string => `PERFORM 1 FROM account_use WHERE account_id IN (SELECT account_id FROM ${rows}) ORDER BY account_id FOR NO KEY UPDATE;`;

/** What a lease counts for while it holds room. Versions before this one write no reserved minutes. */
const SUMS = (alias: string): string =>
  `count(*) AS leases, sum(${alias}.cores) AS cores, sum(${alias}.memory_mb) AS memory_mb, sum(coalesce(${alias}.reserved_minutes, ceil(${alias}.duration_s / 60.0))) AS reserved_minutes`;

const DAY_OF = (alias: string): string => `(${alias}.closed_at AT TIME ZONE 'UTC')::date`;
const DAY = DAY_OF('usage_record');
const PARTS = 8;
/** The longest period of a policy, and what is charged late. */
const KEPT_DAYS = 400;
const CLOSED = 'new_rows n JOIN old_rows o USING (lease_id) WHERE o.closed_at IS NULL AND n.closed_at IS NOT NULL AND n.charged_minutes IS NOT NULL';

const epoch = (column: string): string => `floor(extract(epoch FROM ${column}) * 1000)::bigint`;

/** One row for each sink; without sinks nothing is written. */
const TELL = (kind: string, rows: string, facts: string, where = 'true'): string => `
  IF EXISTS (SELECT FROM usage_sink WHERE active) THEN
    INSERT INTO usage_event (sink, kind, lease_id, body)
    SELECT s.name, '${kind}', n.lease_id, jsonb_build_object('user', split_part(a.name, '~', 1), 'ownerId', a.owner_id, ${facts})
      FROM ${rows} JOIN account a ON a.id = r.account_id CROSS JOIN usage_sink s WHERE s.active AND ${where} ORDER BY n.lease_id, s.name;
  END IF;`;

const trigger = (name: string, table: string, event: 'INSERT' | 'UPDATE', body: string): string[] => [
  `CREATE OR REPLACE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} RETURN NULL; END $$`,
  `CREATE TRIGGER ${name} AFTER ${event} ON ${table}
     REFERENCING NEW TABLE AS new_rows${event === 'UPDATE' ? ' OLD TABLE AS old_rows' : ''} FOR EACH STATEMENT EXECUTE FUNCTION ${name}()`,
];

const STATEMENTS = [
  `CREATE TABLE policy (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     name text NOT NULL UNIQUE,
     kind text NOT NULL CHECK (kind IN ('template', 'group', 'site')),
     description text NOT NULL DEFAULT '',
     bounds jsonb NOT NULL,
     created_at timestamptz NOT NULL,
     changed_at timestamptz NOT NULL,
     CHECK ((kind = 'site') = (name = 'site')),
     CHECK (name <> 'default' OR kind = 'template')
   )`,
  // A user has at most one template.
  `CREATE TABLE policy_user (
     account_id bigint NOT NULL REFERENCES account,
     policy_id bigint NOT NULL REFERENCES policy,
     template boolean NOT NULL,
     PRIMARY KEY (account_id, policy_id)
   )`,
  `CREATE UNIQUE INDEX policy_user_template ON policy_user (account_id) WHERE template`,
  `CREATE INDEX policy_user_policy ON policy_user (policy_id)`,

  // What the leases that hold room come to, and what was ever charged, by account. Creates lock these rows: no limit is passed by two at once.
  `CREATE TABLE account_use (
     account_id bigint PRIMARY KEY REFERENCES account,
     leases integer NOT NULL DEFAULT 0,
     cores integer NOT NULL DEFAULT 0,
     memory_mb bigint NOT NULL DEFAULT 0,
     reserved_minutes bigint NOT NULL DEFAULT 0,
     charged_minutes bigint NOT NULL DEFAULT 0
   ) WITH (fillfactor = 50)`,
  `ALTER TABLE lease ADD COLUMN reserved_minutes integer`,
  `INSERT INTO account_use (account_id, leases, cores, memory_mb, reserved_minutes)
   SELECT a.id, count(l.id), coalesce(sum(l.cores), 0), coalesce(sum(l.memory_mb), 0), coalesce(sum(ceil(l.duration_s / 60.0)), 0)
     FROM account a LEFT JOIN lease l ON l.account_id = a.id AND l.holding GROUP BY a.id`,
  ...trigger('account_use_of_account', 'account', 'INSERT', 'INSERT INTO account_use (account_id) SELECT id FROM new_rows ORDER BY id;'),
  ...trigger('account_use_of_new_leases', 'lease', 'INSERT', `
    ${LOCK_USE('new_rows')}
    UPDATE account_use u SET leases = u.leases + n.leases, cores = u.cores + n.cores, memory_mb = u.memory_mb + n.memory_mb,
           reserved_minutes = u.reserved_minutes + n.reserved_minutes
      FROM (SELECT l.account_id, ${SUMS('l')} FROM new_rows l WHERE l.holding GROUP BY l.account_id) n WHERE u.account_id = n.account_id;`),
  ...trigger('account_use_of_leases', 'lease', 'UPDATE', `
    IF EXISTS (SELECT FROM new_rows n JOIN old_rows o USING (id) WHERE (n.holding OR o.holding)
                  AND (n.holding, n.reserved_minutes, n.duration_s, n.cores, n.memory_mb) IS DISTINCT FROM (o.holding, o.reserved_minutes, o.duration_s, o.cores, o.memory_mb)) THEN
      ${LOCK_USE('new_rows')}
      UPDATE account_use u SET leases = greatest(0, u.leases + n.leases), cores = greatest(0, u.cores + n.cores),
             memory_mb = greatest(0, u.memory_mb + n.memory_mb), reserved_minutes = greatest(0, u.reserved_minutes + n.reserved_minutes)
        FROM (SELECT account_id, sum(leases) AS leases, sum(cores) AS cores, sum(memory_mb) AS memory_mb, sum(reserved_minutes) AS reserved_minutes
                FROM (SELECT l.account_id, ${SUMS('l')} FROM new_rows l WHERE l.holding GROUP BY l.account_id
                      UNION ALL
                      SELECT account_id, -leases, -cores, -memory_mb, -reserved_minutes
                        FROM (SELECT l.account_id, ${SUMS('l')} FROM old_rows l WHERE l.holding GROUP BY l.account_id) o) d
               GROUP BY account_id) n
       WHERE u.account_id = n.account_id;
    END IF;`),

  // Charged minutes up to the end of a UTC day, the day being that on which the record was closed: what was charged over any
  // period is the difference of two rows. Transactions that close records hold the row of account_use.
  `CREATE TABLE usage_day (
     account_id bigint NOT NULL REFERENCES account,
     day date NOT NULL,
     total bigint NOT NULL,
     PRIMARY KEY (account_id, day)
   )`,
  // The same of the whole site, by the day alone; in parts, so that those who close records seldom wait for each other.
  `CREATE TABLE usage_site_day (
     day date NOT NULL,
     part smallint NOT NULL,
     minutes bigint NOT NULL,
     PRIMARY KEY (day, part)
   )`,
  `INSERT INTO usage_day (account_id, day, total)
   SELECT account_id, day, sum(minutes) OVER (PARTITION BY account_id ORDER BY day)
     FROM (SELECT account_id, ${DAY} AS day, sum(charged_minutes) AS minutes FROM usage_record
            WHERE closed_at IS NOT NULL AND charged_minutes IS NOT NULL GROUP BY 1, 2) d`,
  `UPDATE account_use u SET charged_minutes = d.total FROM (SELECT account_id, max(total) AS total FROM usage_day GROUP BY account_id) d WHERE d.account_id = u.account_id`,
  `INSERT INTO usage_site_day (day, part, minutes)
   SELECT ${DAY}, account_id % ${PARTS}, sum(charged_minutes) FROM usage_record WHERE closed_at IS NOT NULL AND charged_minutes IS NOT NULL GROUP BY 1, 2`,
  `CREATE OR REPLACE FUNCTION charge_account(account bigint, on_day date, minutes bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
     UPDATE account_use u SET charged_minutes = u.charged_minutes + minutes WHERE u.account_id = account;
     INSERT INTO usage_day AS d (account_id, day, total)
     VALUES (account, on_day, minutes + coalesce((SELECT b.total FROM usage_day b WHERE b.account_id = account AND b.day < on_day ORDER BY b.day DESC LIMIT 1), 0))
     ON CONFLICT (account_id, day) DO UPDATE SET total = d.total + minutes;
     UPDATE usage_day l SET total = l.total + minutes WHERE l.account_id = account AND l.day > on_day;
     DELETE FROM usage_day o WHERE o.account_id = account AND o.day < (SELECT max(b.day) FROM usage_day b WHERE b.account_id = account AND b.day < on_day - ${KEPT_DAYS});
   END $$`,

  // Accounting sinks, and what each has yet to be told. A row is numbered when it is first seen for delivery, because transactions
  // do not end in the order of their ids, and goes when it was delivered.
  `CREATE TABLE usage_sink (
     name text PRIMARY KEY,
     active boolean NOT NULL DEFAULT true,
     claimed_by text,
     claimed_until timestamptz,
     next_at timestamptz NOT NULL,
     attempts integer NOT NULL DEFAULT 0,
     numbered bigint NOT NULL DEFAULT 0,
     delivered bigint NOT NULL DEFAULT 0,
     dropped bigint NOT NULL DEFAULT 0,
     last_delivered_at timestamptz,
     last_error text,
     last_error_at timestamptz
   )`,
  `CREATE TABLE usage_event (
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
     sink text NOT NULL REFERENCES usage_sink ON DELETE CASCADE,
     number bigint,
     kind text NOT NULL,
     lease_id text NOT NULL,
     body jsonb NOT NULL
   )`,
  `CREATE INDEX usage_event_sink ON usage_event (sink, id)`,
  `CREATE INDEX usage_event_number ON usage_event (sink, number)`,
  `CREATE INDEX usage_event_new ON usage_event (sink, id) WHERE number IS NULL`,
  ...trigger('usage_of_new_records', 'usage_record', 'INSERT',
    TELL('record-opened', 'new_rows n JOIN new_rows r USING (lease_id)', `'at', ${epoch('r.created_at')}, 'reservedSeconds', r.reserved_s`)),
  ...trigger('usage_of_records', 'usage_record', 'UPDATE', `
    PERFORM charge_account(c.account_id, c.day, c.minutes)
       FROM (SELECT n.account_id, ${DAY_OF('n')} AS day, sum(n.charged_minutes) AS minutes FROM ${CLOSED} GROUP BY 1, 2 ORDER BY 1, 2) c;
    INSERT INTO usage_site_day AS d (day, part, minutes)
    SELECT ${DAY_OF('n')}, n.account_id % ${PARTS}, sum(n.charged_minutes) FROM ${CLOSED} GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (day, part) DO UPDATE SET minutes = d.minutes + excluded.minutes;
    DELETE FROM usage_site_day WHERE day < (SELECT max(day) FROM usage_site_day) - ${KEPT_DAYS};
    ${TELL('reservation-moved', 'new_rows n JOIN old_rows o USING (lease_id) JOIN new_rows r USING (lease_id)',
      `'reservedSeconds', n.reserved_s, 'reservedSecondsBefore', o.reserved_s`, 'n.reserved_s <> o.reserved_s')}
    ${TELL('record-closed', 'new_rows n JOIN old_rows o USING (lease_id) JOIN new_rows r USING (lease_id)',
      `'at', ${epoch('n.closed_at')}, 'chargedMinutes', n.charged_minutes`, 'o.closed_at IS NULL AND n.closed_at IS NOT NULL')}`),
  ...trigger('usage_of_new_intervals', 'usage_interval', 'INSERT',
    TELL('interval-opened', 'new_rows n JOIN usage_record r USING (lease_id)',
      `'at', ${epoch('n.start_at')}, 'interval', n.id, 'node', n.node, 'memoryMb', n.memory_mb, 'cores', n.cores`)),
  ...trigger('usage_of_intervals', 'usage_interval', 'UPDATE',
    TELL('interval-closed', 'new_rows n JOIN old_rows o USING (id) JOIN usage_record r ON r.lease_id = n.lease_id',
      `'at', ${epoch('n.stop_at')}, 'interval', n.id, 'node', n.node, 'memoryMb', n.memory_mb, 'cores', n.cores, 'startedAt', ${epoch('n.start_at')}`,
      'o.stop_at IS NULL AND n.stop_at IS NOT NULL')),
];

export async function up(knex: Knex): Promise<void> {
  for (const statement of STATEMENTS) await knex.raw(statement);
}
