import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDb, sqlState, statement } from '../../src/store/db.ts';
import { testContext } from '../support/context.ts';
import { openTestDatabase, type TestDatabase } from '../support/database.ts';

const killMyself = statement<never>('kill-myself', 'SELECT pg_terminate_backend(pg_backend_pid())');
const backend = statement<{ pid: number }>('my-backend', 'SELECT pg_backend_pid() AS pid');
const kill = statement<never>('kill-backend', 'SELECT pg_terminate_backend($1, 60000)');

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

const divide = statement<never>('divide-by-zero', 'SELECT 1 / 0');

test('a connection that is lost is Unavailable, and says nothing of the database', async () => {
  await expect(database.db.transaction((tx) => tx.query(killMyself))).rejects.toMatchObject({ code: 'Unavailable', message: expect.not.stringMatching(/select|terminat/i) });
  await expect(database.db.query(killMyself)).rejects.toMatchObject({ code: 'Unavailable' });
});

test('what the database refuses keeps its SQLSTATE', async () => {
  const refused = await database.db.query(divide).catch((e: unknown) => e);
  expect(sqlState(refused)).toBe('22012');
});

test('a transaction that goes on after a failed statement is no success', async () => {
  await expect(database.db.transaction(async (tx) => {
    await tx.query(divide).catch(() => undefined);
  })).rejects.toThrow(/ROLLBACK/);
});

test('a database that is away is said once, and its return too', async () => {
  const { log, lines } = testContext();
  const dir = mkdtempSync(join(tmpdir(), 'no-db-'));
  const db = openDb({ ...database.address, host: dir }, { max: 2, log });
  try {
    for (let i = 0; i < 3; i += 1) await expect(db.query(backend)).rejects.toMatchObject({ code: 'Unavailable' });
    await expect(db.transaction((tx) => tx.query(backend))).rejects.toMatchObject({ code: 'Unavailable' });
    const socket = `.s.PGSQL.${database.address.port}`;
    symlinkSync(join(database.address.host ?? '', socket), join(dir, socket));
    expect(await db.query(backend)).toHaveLength(1);
    expect(lines.map((l) => l.message)).toEqual([expect.stringContaining('does not answer'), expect.stringContaining('answers again')]);
  } finally {
    await db.close();
    rmSync(dir, { recursive: true, force: true });
  }
});
