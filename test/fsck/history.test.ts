/** A history of years: each rule about it is asked page by page, finds what is wrong on every page, and mends it without reading the others. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Db } from '../../src/store/db.ts';
import { openTestSite, type TestSite } from '../support/site.ts';
import { checkedSite, type Checked } from './site.ts';

const RECORDS = 100_000;
const DAYS = 1_000;

let c: Checked;
const asked = new Map<string, number>();

/** Counts how often each statement is asked. */
const counting = (db: Db): Db => ({
  ...db,
  query: (s, values) => db.query(s, values),
  transaction: (fn, kind) => db.transaction((tx) => fn({
    query: (s, values) => {
      asked.set(s.name, (asked.get(s.name) ?? 0) + 1);
      return tx.query(s, values);
    },
  }), kind),
});

beforeAll(async () => {
  const site = await openTestSite();
  c = await checkedSite(Object.create(site, { db: { value: counting(site.db) } }) as TestSite);
  await c.break(`
    INSERT INTO usage_record (lease_id, account_id, created_at, reserved_s, closed_at, charged_minutes)
    SELECT 'i-' || lpad(to_hex(i), 17, '0'), (SELECT min(id) FROM account) + i % 2, t, 600, t + interval '10 minutes', 10
      FROM generate_series(1, $1::int) i, LATERAL (SELECT '2023-01-01T00:00:00Z'::timestamptz + (i % $2::int) * interval '1 day') AS at(t)`, RECORDS, DAYS);
  await c.break("INSERT INTO usage_interval (lease_id, node, start_at, stop_at, memory_mb, cores) SELECT lease_id, 'n1', created_at, closed_at, 128, 1 FROM usage_record");
  // What the trigger on a closing record would have added up.
  await c.break(`INSERT INTO usage_day (account_id, day, total)
    SELECT account_id, day, sum(minutes) OVER (PARTITION BY account_id ORDER BY day) FROM (SELECT account_id, (closed_at AT TIME ZONE 'UTC')::date AS day, sum(charged_minutes) AS minutes FROM usage_record GROUP BY 1, 2) d`);
  await c.break('UPDATE account_use u SET charged_minutes = coalesce((SELECT max(total) FROM usage_day d WHERE d.account_id = u.account_id), 0)');
  await c.break("INSERT INTO usage_site_day (day, part, minutes) SELECT (closed_at AT TIME ZONE 'UTC')::date, 0, sum(charged_minutes) FROM usage_record GROUP BY 1");
  await c.break('ANALYZE');
});
afterAll(() => c.close());

const id = (n: number): string => `i-${n.toString(16).padStart(17, '0')}`;

it('a long history without a fault has no findings, and no statement reads more than a page of it', async () => {
  expect((await c.fsck()).problems).toEqual([]);
  for (const rule of ['usage-charge', 'usage-overlap']) expect(asked.get(`fsck-${rule}`), rule).toBe(Math.ceil(RECORDS / 20_000));
  expect(asked.get('fsck-site-charged')).toBe(Math.ceil(DAYS / 7));
});

it('what is wrong on the first page, between two and on the last is found and mended', async () => {
  const wrong = [1, 20_000, 20_001, RECORDS].map(id);
  // Behind the triggers: the sums stay what they were, and are right again when the charges are.
  await c.break(`
    DO $$ BEGIN
      ALTER TABLE usage_record DISABLE TRIGGER USER;
      UPDATE usage_record SET charged_minutes = 1 WHERE lease_id IN (${wrong.map((w) => `'${w}'`).join(', ')});
      ALTER TABLE usage_record ENABLE TRIGGER USER;
    END $$`);
  await c.break("UPDATE usage_interval SET stop_at = stop_at - interval '1 s' WHERE lease_id = $1", id(77));
  await c.break("INSERT INTO usage_interval (lease_id, node, start_at, stop_at, memory_mb, cores) SELECT lease_id, node, start_at, start_at + interval '1 ms', memory_mb, cores FROM usage_interval WHERE lease_id = $1", id(77));
  await c.break("UPDATE usage_site_day SET minutes = minutes + 3 WHERE day = '2023-01-08'");
  const found = (await c.fsck()).problems;
  expect(found.filter((p) => p.rule === 'usage-charge').map((p) => p.of)).toEqual(wrong);
  expect(found.filter((p) => p.rule === 'usage-overlap').map((p) => p.of)).toEqual([id(77)]);
  expect(found.filter((p) => p.rule === 'account-charged')).toHaveLength(2);
  expect(found.filter((p) => p.rule === 'site-charged').map((p) => p.of)).toContain('2023-01-08');
  expect((await c.fsck({ repair: true })).problems.map((p) => p.rule)).toEqual(['usage-overlap']);
});
