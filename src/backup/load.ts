/** Rows and counters of a backup into the tables that its schema has, files as drafts: one pass over the file. */
import { finished } from 'node:stream/promises';
import type pg from 'pg';
import { from as copyFrom, type CopyStreamQuery } from 'pg-copy-streams';
import type { FileWriter } from './files.ts';
import { readRecords, type ReadRecord } from './format.ts';
import { tablesOf } from './tables.ts';

export async function load(client: pg.Client, file: string, files: FileWriter): Promise<void> {
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
