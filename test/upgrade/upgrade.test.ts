/**
 * The schema of this version on the databases that the release before it left, full of leases, in both modes; and that release
 * at work on them while it is still there. `npm run upgrade:fixtures` writes what is read here.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Knex } from 'knex';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MIGRATIONS, type Migration } from '../../migrations/index.ts';
import { checkBackup } from '../../src/backup/check.ts';
import { restoreBackup } from '../../src/backup/restore.ts';
import { fsck } from '../../src/fsck/index.ts';
import { configSchema } from '../../src/platform/config.ts';
import { openDb, type DbAddress } from '../../src/store/db.ts';
import { migrate } from '../../src/store/migrate.ts';
import { testContext } from '../support/context.ts';
import { openEmptyDatabase, type TestDatabase } from '../support/database.ts';
import { breachesOf } from './additive.ts';
import { DATABASES, STATEMENTS, statementsNow, STORE, TRACES, type ReleaseStatements } from './fixtures.ts';
import { readTrace, replay } from './trace.ts';

const release = JSON.parse(readFileSync(STATEMENTS, 'utf8')) as ReleaseStatements;
const texts = new Map(release.statements.map((s) => [s.name, s.text]));
const since = MIGRATIONS.filter((m) => !release.schema.includes(m.name));
const ctx = testContext();

let keep: TestDatabase;
beforeAll(async () => { keep = await openEmptyDatabase(); });
afterAll(() => keep.close());

let database: TestDatabase;
let root: string;
let client: pg.Client;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'up-'));
  database = await openEmptyDatabase();
  await database.db.close();
  client = new pg.Client({ ...database.address, options: '-c timezone=UTC' });
  await client.connect();
});
afterEach(async () => {
  await client.end();
  await database.close();
  rmSync(root, { recursive: true, force: true });
});

/** As the release left it. */
async function restored(mode: keyof typeof DATABASES): Promise<void> {
  const migrations = MIGRATIONS.slice(0, release.schema.length);
  await restoreBackup({ ctx, address: database.address, places: { keys: root, images: root }, replace: false, migrations }, DATABASES[mode]);
}

/** Rules that are broken; there are no agents, and no files of images. */
async function wrong(address: DbAddress): Promise<string[]> {
  const db = openDb(address, { max: 2, log: ctx.log });
  const agents = { list: () => Promise.reject(new Error('there is none')), compare: () => Promise.reject(new Error('there is none')) };
  const report = await fsck({
    ctx: { ...ctx, clock: { ...ctx.clock, after: (_ms, fn) => ctx.clock.after(0, fn) } }, db, config: configSchema.parse({}), serving: false, agents,
    imageDirectory: root, handOver: () => undefined, nodesChanged: () => Promise.resolve(),
  }, { repair: false, deep: false });
  await db.close();
  return report.problems.filter((p) => p.rule !== 'image-file').map((p) => `${p.rule}: ${p.what}`);
}

async function counts(): Promise<Record<string, number>> {
  const { rows } = await client.query<{ name: string; rows: number }>(`
    SELECT c.relname AS name, (xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM ' || quote_ident(c.relname), false, true, '')))[1]::text::int AS rows
      FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace`);
  return Object.fromEntries(rows.map((r) => [r.name, r.rows]));
}

describe.each(['greedy', 'pilot'] as const)('a database of the %s site', (mode) => {
  it('is migrated with every row in it, and every rule holds', async () => {
    await restored(mode);
    expect(await wrongBefore()).toEqual([]);
    const before = (await checkBackup(DATABASES[mode])).rows;
    expect(before['lease']).toBeGreaterThan(10);
    expect(await migrate(ctx, database.address)).toEqual(since.map((m) => m.name));
    // A restoration leaves its mark, and a migration may add rows.
    const after = await counts();
    expect(Object.entries(before).filter(([table, rows]) => (after[table] ?? 0) < rows)).toEqual([]);
    expect(await wrong(database.address)).toEqual([]);
  });

  /** Rules of this version may need its schema; then they have nothing to say of the old one. */
  const wrongBefore = async (): Promise<string[]> => (since.length === 0 ? wrong(database.address) : []);

  it('is what the release before expects while it is still running: leases from their creation to their end', async () => {
    await restored(mode);
    await migrate(ctx, database.address);
    await replay(client, readTrace(TRACES[mode]), texts);
    expect(await wrong(database.address)).toEqual([]);
  });

  it('is migrated in the middle of the release’s work, between any two of its transactions', async () => {
    await restored(mode);
    const steps = readTrace(TRACES[mode]);
    // The connection has prepared its statements before; afterwards it says them as it did.
    await replay(client, steps.slice(0, steps.length >> 1), texts);
    await migrate(ctx, database.address);
    await replay(client, steps.slice(steps.length >> 1), texts);
    expect(await wrong(database.address)).toEqual([]);
  });
});

it('every statement of the release before is still understood, also by connections that prepared it before', async () => {
  await restored('greedy');
  const ask = async (on: pg.Client): Promise<Map<string, string>> => {
    const said = new Map<string, string>();
    for (const { name, text } of release.statements) {
      const parameters = Math.max(0, ...[...text.matchAll(/\$(\d+)/g)].map(([, n]) => Number(n)));
      await on.query('BEGIN');
      said.set(name, await on.query({ name, text, values: Array.from({ length: parameters }, () => null) }).then(() => 'done', (e: unknown) => (e as pg.DatabaseError).code ?? String(e)));
      await on.query('ROLLBACK');
    }
    return said;
  };
  const before = await ask(client);
  await migrate(ctx, database.address);
  expect(await ask(client)).toEqual(before);
  const fresh = new pg.Client({ ...database.address });
  await fresh.connect();
  expect(await ask(fresh)).toEqual(before);
  await fresh.end();
});

/** What a migration says to the database. */
async function statementsOf(migration: Migration): Promise<string[]> {
  const said: string[] = [];
  const knex = new Proxy({ raw: (sql: string) => { said.push(sql); return Promise.resolve(); } }, {
    get: (target, key) => {
      if (key === 'raw') return target.raw;
      throw new Error(`${migration.name} uses knex.${String(key)}; migrations are written with knex.raw, so that they can be read`);
    },
  });
  await migration.up(knex as unknown as Knex);
  return said;
}

describe('migrations since the last release are additive', () => {
  it('each', async () => {
    const all = (await Promise.all(since.map(statementsOf))).flat();
    expect(breachesOf(all)).toEqual([]);
  });

  it.each([
    'DROP TABLE lease', 'ALTER TABLE lease DROP COLUMN zone', 'ALTER TABLE lease RENAME COLUMN zone TO rack', 'ALTER TABLE lease RENAME TO leases',
    'ALTER TABLE lease ALTER COLUMN memory_mb TYPE bigint', 'ALTER TABLE lease ALTER COLUMN reason SET NOT NULL', 'ALTER TABLE lease ALTER COLUMN final DROP DEFAULT',
    'ALTER TABLE lease ADD COLUMN owner text NOT NULL', 'ALTER TABLE lease ADD COLUMN a text, ADD COLUMN b int NOT NULL', 'ALTER TABLE lease ADD CHECK (cores > 0)',
    'ALTER TABLE lease ADD CONSTRAINT one UNIQUE (group_id, launch_index)', 'CREATE UNIQUE INDEX x ON lease (type)', 'CREATE TRIGGER t BEFORE INSERT ON lease EXECUTE FUNCTION f()',
    'CREATE CONSTRAINT TRIGGER t AFTER INSERT ON lease FOR EACH ROW EXECUTE FUNCTION f()',
  ])('%s would be found', (statement) => {
    expect(breachesOf([statement])).not.toEqual([]);
  });

  it.each([
    'CREATE TABLE policy (id int NOT NULL, name text NOT NULL UNIQUE, CHECK (id > 0))', "ALTER TABLE lease ADD COLUMN note text NOT NULL DEFAULT ''",
    'ALTER TABLE lease ADD COLUMN note text', "ALTER TABLE lease ADD COLUMN kind text DEFAULT 'drop table' NOT NULL", 'CREATE INDEX i ON lease (ended_at) WHERE final AND ended_at IS NOT NULL',
    'CREATE TRIGGER t AFTER INSERT ON lease FOR EACH ROW EXECUTE FUNCTION f()', 'CREATE TRIGGER t AFTER INSERT ON lease REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION f()', 'ALTER TABLE lease ALTER COLUMN ends_at DROP NOT NULL', 'ALTER TABLE usage_record DROP CONSTRAINT usage_record_lease_id_fkey',
  ])('%s may be', (statement) => {
    expect(breachesOf([statement])).toEqual([]);
  });

  it('a table that is new may be made as strict as it is', () => {
    expect(breachesOf(['CREATE TABLE policy (id int)', 'CREATE UNIQUE INDEX p ON policy (id)', 'ALTER TABLE policy ADD CHECK (id > 0)'])).toEqual([]);
  });
});

/** What services have only while they run. */
const OF_RUNNING_SERVICES = ['node_channel', 'question', 'site_fact', 'used_signature'];

it('the databases have rows in every table of the release', async () => {
  const all = await Promise.all(Object.values(DATABASES).map(async (file) => (await checkBackup(file)).rows));
  const empty = Object.keys(all[0] ?? {}).filter((table) => all.every((rows) => rows[table] === 0));
  expect(empty.filter((table) => !OF_RUNNING_SERVICES.includes(table))).toEqual([]);
  expect(Object.keys(all[0] ?? {}).length).toBeGreaterThan(30);
});

it('the release’s migrations are the first of this version’s, unchanged in number and order', () => {
  expect(MIGRATIONS.slice(0, release.schema.length).map((m) => m.name)).toEqual(release.schema);
});

it('every statement of the store is exported, so that it is found and kept for the next version', async () => {
  const written = readdirSync(STORE).filter((f) => f.endsWith('.ts')).flatMap((f) => [...readFileSync(join(STORE, f), 'utf8').matchAll(/\bstatement(?:<[^(]*>)?\('([a-z-]+)'/g)].map(([, name = '']) => name));
  expect(written.length).toBeGreaterThan(100);
  const found = new Set((await statementsNow()).map((s) => s.name));
  expect(written.filter((name) => !found.has(name))).toEqual([]);
});
