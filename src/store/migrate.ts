/** Brings the schema up to this program's, one process at a time. */
import knex, { type Knex } from 'knex';
import pg from 'pg';
import { MIGRATIONS, type Migration } from '../../migrations/index.ts';
import type { Context } from '../platform/context.ts';
import { StartError } from '../platform/errors.ts';
import { sqlState, statement, type DbAddress, type Queryable } from './db.ts';

/** "nimb" in ASCII; the key of the advisory lock, in the one-argument form (PostgreSQL manual, 9.28.10). */
const LOCK_KEY = 0x6e696d62;
const LOCK_WAIT_MS = 60_000;
const TABLE = 'knex_migrations';
/** Of a database that a nimbus has opened before. */
export const appliedMigrations = statement<{ name: string }>('applied-migrations', `SELECT name FROM ${TABLE} ORDER BY id`);
const LOCK_NOT_AVAILABLE = '55P03';
const UNDEFINED_TABLE = '42P01';

/**
 * @returns names of the migrations that were run
 * @throws StartError when the schema is newer than the program, or another process holds the lock too long
 */
export async function migrate(ctx: Context, address: DbAddress, migrations: readonly Migration[] = MIGRATIONS): Promise<string[]> {
  const holder = new pg.Client({ ...address, connectionTimeoutMillis: 10_000, application_name: 'nimbus-migrate' });
  holder.on('error', (e) => ctx.log.warn('the connection that guards the migrations was lost', { error: e.message }));
  await holder.connect();
  try {
    await lockSchema(holder);
    await refuseNewer(holder, migrations);
    const done = await run(ctx, address, migrations);
    if (done.length > 0) ctx.log.info('migrated the database', { migrations: done });
    return done;
  } finally {
    // The end of the session releases the lock.
    await holder.end();
  }
}

/** Reads the schema that the database has, and changes nothing. @throws StartError when it is not this program's */
export async function refuseOther(q: Queryable, migrations: readonly Migration[] = MIGRATIONS): Promise<void> {
  const has = await q.query(appliedMigrations).then((rows) => rows.map((r) => r.name), (e: unknown): string[] => {
    if (sqlState(e) === UNDEFINED_TABLE) return [];
    throw e;
  });
  const unknown = has.filter((name) => !migrations.some((m) => m.name === name));
  if (unknown.length > 0) throw new StartError(`the database was written by a newer nimbus (its schema has ${unknown.join(', ')}): use that version`);
  const missing = migrations.filter((m) => !has.includes(m.name));
  if (missing.length > 0) throw new StartError(`the database has the schema of an older nimbus (it has not ${missing.map((m) => m.name).join(', ')}): start this version once, or use that one`);
}

/**
 * One transaction in which the schema may go and come again: `bring` runs migrations inside of it. Under the lock of the schema.
 */
export async function schemaTransaction<T>(ctx: Context, client: pg.Client, work: (bring: (migrations: readonly Migration[]) => Promise<string[]>) => Promise<T>): Promise<T> {
  await lockSchema(client);
  const db = opened(ctx, {});
  try {
    return await db.transaction((trx) => work((migrations) => latest(trx, migrations)), { connection: client });
  } finally {
    await db.destroy();
  }
}

/** Whoever changes the schema holds it; it goes with the connection. @throws StartError */
export async function lockSchema(client: pg.Client): Promise<void> {
  await client.query(`SET lock_timeout = ${LOCK_WAIT_MS}`);
  try {
    await client.query('SELECT pg_advisory_lock($1)', [LOCK_KEY]);
  } catch (e) {
    if (sqlState(e) !== LOCK_NOT_AVAILABLE) throw e;
    throw new StartError('another process has been migrating or restoring the database for more than a minute; wait for it or end it', { cause: e });
  }
}

async function refuseNewer(client: pg.Client, migrations: readonly Migration[]): Promise<void> {
  const known = new Set(migrations.map((m) => m.name));
  const unknown = (await applied(client)).filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  throw new StartError(`the database was written by a newer nimbus (its schema has ${unknown.join(', ')}): `
    + 'run that version, or restore a backup from before it');
}

async function applied(client: pg.Client): Promise<string[]> {
  try {
    return (await client.query<{ name: string }>(`SELECT name FROM ${TABLE} ORDER BY id`)).rows.map((r) => r.name);
  } catch (e) {
    if (sqlState(e) === UNDEFINED_TABLE) return [];
    throw e;
  }
}

async function run(ctx: Context, address: DbAddress, migrations: readonly Migration[]): Promise<string[]> {
  const db = opened(ctx, address);
  try {
    // The advisory lock is ours: what knex's own lock table says was left by a process that died.
    await db.migrate.forceFreeMigrationsLock({ migrationSource: source(migrations), tableName: TABLE });
    return await latest(db, migrations);
  } finally {
    await db.destroy();
  }
}

function opened(ctx: Context, address: DbAddress): Knex {
  const say = (message: unknown): void => ctx.log.warn('migration', { said: message });
  return knex({
    client: 'pg', connection: { ...address }, pool: { min: 0, max: 1 },
    log: { warn: say, error: say, deprecate: say, debug: () => undefined },
  });
}

async function latest(db: Knex, migrations: readonly Migration[]): Promise<string[]> {
  const [, names] = (await db.migrate.latest({ migrationSource: source(migrations), tableName: TABLE })) as [number, string[]];
  return names;
}

function source(migrations: readonly Migration[]): Knex.MigrationSource<Migration> {
  return {
    getMigrations: () => Promise.resolve([...migrations]),
    getMigrationName: (m) => m.name,
    getMigration: (m) => Promise.resolve({ up: m.up, down: () => Promise.reject(new Error('migrations go forward only')) }),
  };
}
