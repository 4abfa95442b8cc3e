/**
 * A migrated database of its own for a test file: one private PostgreSQL per test process, one database per call, copied
 * from a template. Call `openTestDatabase` in `beforeAll` and `close` in `afterAll`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { openDb, type Db, type DbAddress } from '../../src/store/db.ts';
import { startEmbedded, type Embedded } from '../../src/store/embedded/start.ts';
import { migrate } from '../../src/store/migrate.ts';
import { testContext } from './context.ts';

export interface TestDatabase {
  readonly address: DbAddress;
  readonly db: Db;
  close(): Promise<void>;
}

interface Server {
  readonly embedded: Embedded;
  readonly dir: string;
  users: number;
  made: number;
}
let server: Promise<Server> | undefined;

export const openTestDatabase = (options: { max?: number } = {}): Promise<TestDatabase> => openFrom('nimbus', options);

/** Without a schema. */
export const openEmptyDatabase = (): Promise<TestDatabase> => openFrom('template0', {});

async function openFrom(template: string, options: { max?: number }): Promise<TestDatabase> {
  const s = await (server ??= startServer());
  s.users += 1;
  const database = `test_${(s.made += 1)}`;
  await admin(s.embedded.address, `CREATE DATABASE ${database} TEMPLATE ${template}`);
  const address = { ...s.embedded.address, database };
  const db = openDb(address, { max: options.max ?? 4, log: testContext().log });
  let closed: Promise<void> | undefined;
  return {
    address,
    db: { ...db, close: () => (closed ??= db.close()) },
    async close() {
      await (closed ??= db.close());
      s.users -= 1;
      if (s.users > 0) return;
      server = undefined;
      await s.embedded.stop();
      rmSync(s.dir, { recursive: true, force: true });
    },
  };
}

async function startServer(): Promise<Server> {
  const dir = mkdtempSync(join(tmpdir(), 'db-'));
  const embedded = await startEmbedded(testContext(), { dataDir: dir });
  await migrate(testContext(), embedded.address);
  return { embedded, dir, users: 0, made: 0 };
}

async function admin(address: DbAddress, sql: string): Promise<void> {
  const client = new pg.Client({ ...address, database: 'postgres' });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
