/**
 * Restores a backup into a database that no service uses: the file is read whole before anything is changed; then the schema
 * that it was made with, all rows and files in one transaction, then the migrations since.
 */
import { existsSync, readFileSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { join } from 'node:path';
import pg from 'pg';
import { from as copyFrom, type CopyStreamQuery } from 'pg-copy-streams';
import { MIGRATIONS, type Migration } from '../../migrations/index.ts';
import type { Context } from '../platform/context.ts';
import { StartError } from '../platform/errors.ts';
import type { DbAddress } from '../store/db.ts';
import { migrate } from '../store/migrate.ts';
import { checkBackup, type BackupContents } from './check.ts';
import { FileWriter, type Places } from './files.ts';
import { readRecords, type ReadRecord } from './format.ts';
import { OF_MIGRATIONS, tablesOf } from './tables.ts';

export interface RestoreTarget {
  readonly ctx: Context;
  readonly address: DbAddress;
  readonly places: Places;
  /** What is in the database and in the way among the keys is given up. */
  readonly replace: boolean;
  readonly migrations?: readonly Migration[];
}

export interface Restored extends BackupContents {
  /** Migrations that came after the backup. */
  readonly migrated: readonly string[];
  /** Images whose files are not there: neither in the backup nor in the repository. */
  readonly missingImages: readonly string[];
}

/** @throws StartError */
export async function restoreBackup(target: RestoreTarget, file: string): Promise<Restored> {
  const { ctx, address, places } = target;
  const migrations = target.migrations ?? MIGRATIONS;
  const contents = await checkBackup(file, migrations);
  if (!target.replace) await refuseOtherKeys(places, file);
  await withClient(ctx, address, (client) => makeRoom(client, target.replace));
  await migrate(ctx, address, migrations.slice(0, contents.schema.length));
  await withClient(ctx, address, (client) => load(client, file, places));
  const migrated = await migrate(ctx, address, migrations);
  return { ...contents, migrated, missingImages: await withClient(ctx, address, (client) => missingImages(client, places)) };
}

async function withClient<T>(ctx: Context, address: DbAddress, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ ...address, application_name: 'nimbus-restore', connectionTimeoutMillis: 10_000, options: '-c timezone=UTC -c datestyle=ISO -c statement_timeout=0' });
  client.on('error', (e) => ctx.log.warn('the connection of a restoration was lost', { error: e.message }));
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The nodes know the key: another one in its place would lock the service out of them. @throws StartError */
async function refuseOtherKeys({ keys }: Places, file: string): Promise<void> {
  const here = new Map<string, Buffer>();
  for await (const { record, body } of readRecords(file)) {
    if (record.kind === 'file' && record.name.startsWith('keys/')) here.set(record.name, Buffer.concat([here.get(record.name) ?? Buffer.alloc(0), body]));
  }
  for (const [name, bytes] of here) {
    const place = join(keys, name.slice('keys/'.length));
    if (existsSync(place) && !readFileSync(place).equals(bytes)) throw new StartError(`${place} is there and differs from the one in the backup; --replace takes the one in the backup`);
  }
}

/** @throws StartError when a service has the database open, or something is in it and shall stay */
async function makeRoom(client: pg.Client, replace: boolean): Promise<void> {
  const { rows: [others] } = await client.query<{ n: number }>("SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^nimbus( |$)' AND pid <> pg_backend_pid()");
  if ((others?.n ?? 0) > 0) throw new StartError(`a nimbus service has the database open (${others?.n} connections); stop it first`);
  const tables = await tablesOf(client);
  const { rows: [ours] } = await client.query<{ known: boolean }>("SELECT to_regclass('knex_migrations') IS NOT NULL AS known");
  if (tables.length > 0 && ours?.known !== true) throw new StartError(`the database has tables of another program (${tables.slice(0, 5).map((t) => t.name).join(', ')}); nimbus needs one of its own`);
  const filled: string[] = [];
  for (const { name } of tables) {
    const { rowCount } = await client.query(`SELECT FROM ${client.escapeIdentifier(name)} LIMIT 1`);
    if ((rowCount ?? 0) > 0) filled.push(name);
  }
  if (filled.length > 0 && !replace) throw new StartError(`the database is not empty (${filled.slice(0, 5).join(', ')}${filled.length > 5 ? ' …' : ''}); --replace gives up what is in it`);
  const all = [...tables.map((t) => t.name), ...OF_MIGRATIONS].map((t) => client.escapeIdentifier(t));
  await client.query(`DROP TABLE IF EXISTS ${all.join(', ')}`);
  // What migrations have made besides; the names are quoted by the server.
  const { rows: functions } = await client.query<{ name: string }>(`
    SELECT p.oid::regprocedure::text AS name FROM pg_proc p
     WHERE $1 AND p.pronamespace = current_schema()::regnamespace AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')`, [ours?.known === true]);
  for (const { name } of functions) await client.query(`DROP FUNCTION IF EXISTS ${name}`);
}

async function load(client: pg.Client, file: string, places: Places): Promise<void> {
  const files = new FileWriter(places);
  try {
    await client.query('BEGIN');
    const tables = (await tablesOf(client)).map((t) => client.escapeIdentifier(t.name));
    // Rows that migrations have made are in the backup too, as they are by now.
    await client.query(`TRUNCATE ${tables.join(', ')}`);
    // What triggers keep is in the backup as well: it would be counted twice.
    for (const t of tables) await client.query(`ALTER TABLE ${t} DISABLE TRIGGER USER`);
    const rows = new RowWriter(client);
    for await (const read of readRecords(file)) await take(client, rows, files, read);
    await rows.end();
    await endServices(client);
    await client.query('SET CONSTRAINTS ALL IMMEDIATE');
    for (const t of tables) await client.query(`ALTER TABLE ${t} ENABLE TRIGGER USER`);
    await files.settle();
    await client.query('COMMIT');
  } catch (e) {
    await files.drop();
    throw e instanceof StartError ? e : new StartError(`the backup could not be restored; the database is as empty as before: ${(e as Error).message}`, { cause: e });
  }
}

/** Those that ran when the backup was made do not run on this database: the next one takes over what they had claimed. */
async function endServices(client: pg.Client): Promise<void> {
  const { rows: [known] } = await client.query<{ known: boolean }>("SELECT to_regclass('process') IS NOT NULL AS known");
  if (known?.known === true) await client.query('UPDATE process SET ended_at = clock_timestamp(), lost = true WHERE ended_at IS NULL');
}

async function take(client: pg.Client, rows: RowWriter, files: FileWriter, { record, body }: ReadRecord): Promise<void> {
  if (record.kind === 'rows') return rows.write(record.table, record.columns, body);
  await rows.end();
  if (record.kind === 'file') return files.write(record.name, record.mode, body, record.last);
  if (record.kind === 'sequence') {
    await client.query('SELECT setval(pg_get_serial_sequence(quote_ident($1), $2), $3::bigint, $4)', [record.table, record.column, record.last, record.called]);
  }
}

/** One COPY for each table. */
class RowWriter {
  #open: { table: string; stream: CopyStreamQuery; over: Promise<void> } | undefined;

  constructor(private readonly client: pg.Client) {}

  async write(table: string, columns: readonly string[], body: Buffer): Promise<void> {
    if (this.#open?.table !== table) {
      await this.end();
      const list = columns.map((c) => this.client.escapeIdentifier(c)).join(', ');
      const stream = this.client.query(copyFrom(`COPY ${this.client.escapeIdentifier(table)} (${list}) FROM STDIN`));
      const over = finished(stream);
      // Heard where it is awaited.
      over.catch(() => undefined);
      this.#open = { table, stream, over };
    }
    const { stream, over } = this.#open;
    if (body.length > 0 && !stream.write(body)) await Promise.race([new Promise((resolve) => stream.once('drain', resolve)), over]);
  }

  async end(): Promise<void> {
    const copy = this.#open;
    this.#open = undefined;
    if (copy === undefined) return;
    copy.stream.end();
    await copy.over;
  }
}

async function missingImages(client: pg.Client, { images }: Places): Promise<string[]> {
  const { rows } = await client.query<{ name: string; file: string }>('SELECT name, file FROM image WHERE removed_at IS NULL ORDER BY name');
  return rows.filter(({ file }) => !existsSync(join(images, file))).map(({ name }) => name);
}
