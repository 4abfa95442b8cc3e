import { afterAll, beforeAll, expect, test } from 'vitest';
import pg from 'pg';
import { MIGRATIONS } from '../../migrations/index.ts';
import { migrate } from '../../src/store/migrate.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';

let database: TestDatabase;
beforeAll(async () => { database = await openTestDatabase(); });
afterAll(() => database.close());

async function emptyDatabase(name: string): Promise<TestDatabase['address']> {
  await sql(`CREATE DATABASE ${name} TEMPLATE template0`);
  return { ...database.address, database: name };
}

async function sql(text: string, address = database.address): Promise<pg.QueryResult> {
  const client = new pg.Client({ ...address });
  await client.connect();
  try {
    return await client.query(text);
  } finally {
    await client.end();
  }
}

test('a migrated database is left as it is', async () => {
  expect(await migrate(testContext(), database.address)).toEqual([]);
});

test('of processes that migrate at once, one does each migration and none fails', async () => {
  const address = await emptyDatabase('at_once');
  const done = await Promise.all([1, 2, 3].map(() => migrate(testContext(), address)));
  expect(done.flat()).toEqual(MIGRATIONS.map((m) => m.name));
  expect((await sql('SELECT count(*)::int AS n FROM account', address)).rows).toEqual([{ n: 0 }]);
});

test('a lock that a killed process left in the table of knex does not matter', async () => {
  const address = await emptyDatabase('left_locked');
  await migrate(testContext(), address);
  await sql('UPDATE knex_migrations_lock SET is_locked = 1', address);
  const next = { name: '9998_next', up: (k: { raw(s: string): PromiseLike<unknown> }) => Promise.resolve(k.raw('CREATE TABLE next (a int)')).then(() => undefined) };
  expect(await migrate(testContext(), address, [...MIGRATIONS, next])).toEqual(['9998_next']);
});

test('a migration that fails leaves the database as it was before all of them', async () => {
  const address = await emptyDatabase('failing');
  const bad = {
    name: '9999_bad',
    up: async (k: { raw(s: string): PromiseLike<unknown> }) => {
      await k.raw('CREATE TABLE half (a int)');
      await k.raw('CREATE TABLE half (a int)');
    },
  };
  await expect(migrate(testContext(), address, [...MIGRATIONS, bad])).rejects.toThrow(/half/);
  await expect(sql('SELECT FROM half', address)).rejects.toThrow(/does not exist/);
  await expect(sql('SELECT FROM account', address)).rejects.toThrow(/does not exist/);
  expect(await migrate(testContext(), address)).toEqual(MIGRATIONS.map((m) => m.name));
});

test('a schema that is newer than the program is refused with what to do', async () => {
  const address = await emptyDatabase('newer');
  await migrate(testContext(), address);
  await sql(`INSERT INTO knex_migrations (name, batch, migration_time) VALUES ('2000_later', 2, now())`, address);
  await expect(migrate(testContext(), address)).rejects.toThrow(/written by a newer nimbus \(its schema has 2000_later\): run that version, or restore/);
});
