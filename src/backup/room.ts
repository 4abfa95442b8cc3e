/** What a database holds when a backup is restored into it, and how it goes: all of it in the transaction that brings the backup. */
import type pg from 'pg';
import type { Migration } from '../../migrations/index.ts';
import { StartError } from '../platform/errors.ts';
import { OF_MIGRATIONS } from './tables.ts';

/** What was there before. */
export interface Former {
  readonly tables: readonly string[];
  /** With their arguments, quoted by the server. */
  readonly functions: readonly string[];
  /** Migrations of nimbus that made them; none where there is nothing. */
  readonly schema: readonly string[];
}

/** @throws StartError when a service has the database open, when it is another program's, or when something is in it and shall stay */
export async function lookAround(client: pg.Client, replace: boolean, migrations: readonly Migration[]): Promise<Former> {
  await refuseServices(client);
  const { tables, functions } = await named(client);
  const schema = await appliedIn(client);
  const ours = schema.length > 0 && schema.every((name, i) => i >= migrations.length || name === migrations[i]?.name);
  if ((tables.length > 0 || schema.length > 0) && !ours) throw foreign(tables.length > 0 ? tables : OF_MIGRATIONS);
  const filled: string[] = [];
  for (const name of tables) {
    const { rowCount } = await client.query(`SELECT FROM ${client.escapeIdentifier(name)} LIMIT 1`);
    if ((rowCount ?? 0) > 0) filled.push(name);
  }
  if (filled.length > 0 && !replace) throw new StartError(`the database is not empty (${few(filled)}); --replace gives up what is in it`);
  return { tables, functions: ours ? functions : [], schema };
}

async function refuseServices(client: pg.Client): Promise<void> {
  const { rows: [others] } = await client.query<{ n: number }>("SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^nimbus( |$)' AND pid <> pg_backend_pid()");
  if ((others?.n ?? 0) > 0) throw new StartError(`a nimbus service has the database open (${others?.n} connections); stop it first`);
}

async function named(client: pg.Client): Promise<Pick<Former, 'tables' | 'functions'>> {
  const { rows: tables } = await client.query<{ name: string }>(`
    SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'p', 'f') AND relnamespace = current_schema()::regnamespace AND NOT relname = ANY($1) ORDER BY 1`, [OF_MIGRATIONS]);
  const { rows: functions } = await client.query<{ name: string }>(`
    SELECT p.oid::regprocedure::text AS name FROM pg_proc p
     WHERE p.pronamespace = current_schema()::regnamespace AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') ORDER BY 1`);
  return { tables: tables.map((t) => t.name), functions: functions.map((f) => f.name) };
}

async function appliedIn(client: pg.Client): Promise<string[]> {
  const { rows: [there] } = await client.query<{ known: boolean }>("SELECT to_regclass('knex_migrations') IS NOT NULL AS known");
  return there?.known === true ? (await client.query<{ name: string }>('SELECT name FROM knex_migrations ORDER BY id')).rows.map((r) => r.name) : [];
}

export async function makeRoom(client: pg.Client, { tables, functions }: Former): Promise<void> {
  await client.query(`DROP TABLE IF EXISTS ${[...tables, ...OF_MIGRATIONS].map((t) => client.escapeIdentifier(t)).join(', ')}`);
  for (const name of functions) await client.query(`DROP FUNCTION IF EXISTS ${name}`);
}

/**
 * When the schema that was there stands again: what its migrations have not made anew was never theirs.
 * @throws StartError
 */
export async function refuseLost(client: pg.Client, former: Former): Promise<void> {
  const now = await named(client);
  const lost = [...former.tables.filter((t) => !now.tables.includes(t)), ...former.functions.filter((f) => !now.functions.includes(f))];
  if (lost.length > 0) throw foreign(lost);
}

const few = (names: readonly string[]): string => `${names.slice(0, 5).join(', ')}${names.length > 5 ? ' …' : ''}`;
const foreign = (names: readonly string[]): StartError => new StartError(`the database has tables or functions of another program (${few(names)}); nimbus needs one of its own`);
