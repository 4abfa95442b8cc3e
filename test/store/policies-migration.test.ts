/** The migration of policies on a database that is full of leases: what it counts is what was there. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import pg from 'pg';
import { MIGRATIONS } from '../../migrations/index.ts';
import { migrate } from '../../src/store/migrate.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
beforeAll(async () => { database = await openTestDatabase(); });
afterAll(() => database.close());

const BEFORE = `
  INSERT INTO account (name, owner_id, created_at) SELECT n, lpad(i::text, 12, '0'), now() FROM (VALUES ('alice', 1), ('bob', 2), ('carol', 3)) AS x(n, i);
  INSERT INTO image (id, name, format, size_bytes, sha256, file, created_at) VALUES ('ami-1', 'guest', 'raw', 1, repeat('0', 64), 'f', now());
  INSERT INTO lease_group (id, account_id, request_hash, created_at) VALUES ('r-1', 1, '', now());
  INSERT INTO lease (id, group_id, account_id, launch_index, state, generation, final, holding, zone, image_id, type, memory_mb, cores, disk_mb, nics, created_at, duration_s, ends_at)
  SELECT 'i-' || i, 'r-1', account, 0, state, 1, state = 'Terminated', state NOT IN ('Terminated', 'Corrupted'), 'default', 'ami-1', 't', 100, 2, 0, '[]', now(), 90, now()
    FROM (VALUES (1, 1, 'Running'), (2, 1, 'Pending'), (3, 1, 'Terminated'), (4, 1, 'Corrupted'), (5, 2, 'Ending'), (6, 1, 'Terminated'), (7, 1, 'Terminated')) AS x(i, account, state);
  INSERT INTO usage_record (lease_id, account_id, created_at, reserved_s, closed_at, charged_minutes)
  SELECT id, account_id, created_at, duration_s, CASE WHEN NOT holding THEN timestamptz '2026-01-02 23:30Z' + interval '1 hour' * CASE id WHEN 'i-7' THEN 1 ELSE 0 END END, CASE WHEN NOT holding THEN 7 END FROM lease`;

test('leases, minutes and charges that were there are counted, and go on from there', async () => {
  const address = { ...database.address, database: 'full_of_leases' };
  const other = new pg.Client({ ...database.address });
  await other.connect();
  await other.query('CREATE DATABASE full_of_leases TEMPLATE template0');
  await other.end();
  await migrate(testContext(), address, MIGRATIONS.filter((m) => m.name < '0003'));
  const client = new pg.Client({ ...address });
  await client.connect();
  try {
    await client.query(BEFORE);
    expect(await migrate(testContext(), address)).toContain('0003_policies');
    const use = async (): Promise<unknown[]> => (await client.query<Record<string, unknown>>(
      'SELECT a.name, leases, cores, memory_mb::int, reserved_minutes::int, charged_minutes::int FROM account_use u JOIN account a ON a.id = u.account_id ORDER BY a.id')).rows.map((r) => Object.values(r));
    expect(await use()).toEqual([['alice', 2, 4, 200, 4, 28], ['bob', 1, 2, 100, 2, 0], ['carol', 0, 0, 0, 0, 0]]);
    const days = async (): Promise<unknown[]> => (await client.query("SELECT day::text, total::int FROM usage_day WHERE account_id = 1 ORDER BY day")).rows;
    expect(await days()).toEqual([{ day: '2026-01-02', total: 21 }, { day: '2026-01-03', total: 28 }]);
    // As a version that knows nothing of these columns writes: ended, charged late for an earlier day, extended, created.
    await client.query("UPDATE usage_record SET closed_at = '2026-01-02 12:00Z', charged_minutes = 5 WHERE lease_id = 'i-1'");
    await client.query("UPDATE lease SET state = 'Terminated', final = true, holding = false WHERE id = 'i-1'");
    await client.query("UPDATE lease SET duration_s = 600 WHERE id = 'i-2'");
    await client.query("INSERT INTO account (name, owner_id, created_at) VALUES ('dave', '000000000004', now())");
    await client.query(`
      INSERT INTO lease OVERRIDING SYSTEM VALUE
      SELECT (jsonb_populate_record(l, '{"id": "i-8", "account_id": 4, "seq": 99}')).* FROM lease l WHERE id = 'i-2'`);
    expect(await use()).toEqual([['alice', 1, 2, 100, 10, 33], ['bob', 1, 2, 100, 2, 0], ['carol', 0, 0, 0, 0, 0], ['dave', 1, 2, 100, 10, 0]]);
    expect(await days()).toEqual([{ day: '2026-01-02', total: 26 }, { day: '2026-01-03', total: 33 }]);
    expect((await client.query("SELECT day::text, sum(minutes)::int AS minutes FROM usage_site_day GROUP BY day ORDER BY day")).rows).toEqual([{ day: '2026-01-02', minutes: 26 }, { day: '2026-01-03', minutes: 7 }]);
    // Years later what no period reaches goes, but for the row that says what was before.
    await client.query("SELECT charge(1, '2029-05-01', 1), charge(1, '2029-05-02', 1)");
    expect(await days()).toEqual([{ day: '2026-01-03', total: 33 }, { day: '2029-05-01', total: 34 }, { day: '2029-05-02', total: 35 }]);
  } finally {
    await client.end();
  }
});
