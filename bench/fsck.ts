/**
 * `nimbus fsck` on a history of years: two million usage records with their intervals, kept for ever. Prints how long the look takes and
 * its longest statement, beside one statement that adds up all intervals at once, as the database's limit on statements would have it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fsck } from '../src/fsck/index.ts';
import { configSchema } from '../src/platform/config.ts';
import { statement, type Db } from '../src/store/db.ts';
import { testContext } from '../test/support/context.ts';
import { openTestDatabase } from '../test/support/database.ts';

const RECORDS = Number(process.argv[2] ?? 2_000_000);
const DAYS = 1_500;
const AT_ONCE = 100_000;
const ALL_AT_ONCE = statement<{ lease_id: string }>('bench-all-at-once', `
  SELECT u.lease_id FROM usage_record u LEFT JOIN (SELECT lease_id, ceil(sum(extract(epoch FROM stop_at - start_at)) / 60)::int AS minutes FROM usage_interval GROUP BY lease_id) i ON i.lease_id = u.lease_id
   WHERE u.closed_at IS NOT NULL AND u.charged_minutes < coalesce(i.minutes, 0)`);

const ctx = testContext();
const { db, close } = await openTestDatabase();
let next = 0;
const run = (text: string, values: unknown[] = []): Promise<unknown> => db.query(statement(`bench-fsck-${(next += 1)}`, text), values);

async function populate(): Promise<void> {
  await run("INSERT INTO account (name, owner_id, created_at) SELECT 'u' || i, lpad(i::text, 12, '0'), now() FROM generate_series(1, 1000) i");
  for (let from = 0; from < RECORDS; from += AT_ONCE) {
    const range = [from + 1, Math.min(RECORDS, from + AT_ONCE), DAYS];
    await run(`INSERT INTO usage_record (lease_id, account_id, created_at, reserved_s, closed_at, charged_minutes)
      SELECT 'i-' || lpad(to_hex(i), 17, '0'), 1 + i % 1000, t, 600, t + interval '10 minutes', 10
        FROM generate_series($1::int, $2::int) i, LATERAL (SELECT '2022-01-01T00:00:00Z'::timestamptz + (i % $3::int) * interval '1 day') AS at(t)`, range);
    await run("INSERT INTO usage_interval (lease_id, node, start_at, stop_at, memory_mb, cores) SELECT 'i-' || lpad(to_hex(i), 17, '0'), 'n1', t, t + interval '10 minutes', 128, 1 FROM generate_series($1::int, $2::int) i, LATERAL (SELECT '2022-01-01T00:00:00Z'::timestamptz + (i % $3::int) * interval '1 day') AS at(t)", range);
  }
  await run(`INSERT INTO usage_day (account_id, day, total) SELECT account_id, day, sum(minutes) OVER (PARTITION BY account_id ORDER BY day)
    FROM (SELECT account_id, (closed_at AT TIME ZONE 'UTC')::date AS day, sum(charged_minutes) AS minutes FROM usage_record GROUP BY 1, 2) d`);
  await run('UPDATE account_use u SET charged_minutes = coalesce((SELECT max(total) FROM usage_day d WHERE d.account_id = u.account_id), 0)');
  await run("INSERT INTO usage_site_day (day, part, minutes) SELECT (closed_at AT TIME ZONE 'UTC')::date, 0, sum(charged_minutes) FROM usage_record GROUP BY 1");
  await run('ANALYZE');
}

const longest = { name: '', ms: 0 };
let statements = 0;
const timed: Db = {
  ...db,
  transaction: (fn, kind) => db.transaction((tx) => fn({
    async query(s, values) {
      const begun = performance.now();
      const rows = await tx.query(s, values);
      const ms = performance.now() - begun;
      statements += 1;
      if (ms > longest.ms) Object.assign(longest, { name: s.name, ms });
      return rows;
    },
  }), kind),
};

const images = mkdtempSync(join(tmpdir(), 'bench-fsck-'));
try {
  await populate();
  const begun = performance.now();
  const report = await fsck({
    ctx, db: timed, config: configSchema.parse({}), serving: false, imageDirectory: images, handOver: () => undefined, nodesChanged: () => Promise.resolve(),
    agents: { list: () => Promise.resolve([]), compare: () => Promise.resolve() },
  }, { repair: false, deep: false });
  const ms = performance.now() - begun;
  console.log(`${RECORDS} usage records: ${report.problems.length} wrong in ${(ms / 1000).toFixed(1)} s, ${statements} statements, the longest ${longest.ms.toFixed(0)} ms (${longest.name})`);
  const at = performance.now();
  const whole = await db.query(ALL_AT_ONCE).then(() => `${((performance.now() - at) / 1000).toFixed(1)} s`, (e: unknown) => `refused: ${(e as Error).message}`);
  console.log(`all intervals added up in one statement: ${whole}`);
} finally {
  await close();
  rmSync(images, { recursive: true, force: true });
}
