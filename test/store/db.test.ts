import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDb, statement } from '../../src/store/db.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';

const killMyself = statement<never>('kill-myself', 'SELECT pg_terminate_backend(pg_backend_pid())');
const backend = statement<{ pid: number }>('my-backend', 'SELECT pg_backend_pid() AS pid');
const kill = statement<never>('kill-backend', 'SELECT pg_terminate_backend($1, 5000)');

let database: TestDatabase;
beforeAll(async () => { database = await openTestDatabase({ max: 2 }); });
afterAll(() => database.close());

test('a connection that is lost inside a transaction rejects it, and the next one gets another', async () => {
  await expect(database.db.transaction((tx) => tx.query(killMyself))).rejects.toThrow();
  expect(await database.db.query(backend)).toHaveLength(1);
});

test('a connection that is lost between two statements of a transaction rejects it, and nothing else happens', async () => {
  await expect(database.db.transaction(async (tx) => {
    const [mine] = await tx.query(backend);
    await database.db.query(kill, [mine?.pid]);
    await tx.query(backend);
  })).rejects.toThrow();
  expect(await database.db.query(backend)).toHaveLength(1);
});

test('closing is no loss of connections', async () => {
  const { log, lines } = testContext();
  const db = openDb(database.address, { max: 4, log });
  await Promise.all([1, 2, 3, 4].map(() => db.query(backend)));
  await db.close();
  expect(lines).toEqual([]);
});
