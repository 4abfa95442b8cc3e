/** Writes a backup: every table in one snapshot, by COPY, then where counters stand, then files. The service may run. */
import { Readable } from 'node:stream';
import { createGzip, type Gzip } from 'node:zlib';
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { Context } from '../platform/context.ts';
import type { DbAddress } from '../store/db.ts';
import { keyFiles, partsOf, type Places, type SourceFile } from './files.ts';
import { FORMAT, MOST_BYTES, RecordWriter } from './format.ts';
import { sequencesOf, tablesOf, type Table } from './tables.ts';

/** Rows are gathered to about so many bytes a record. */
const ROWS_BYTES = 256 * 1024;
/** A compromise that keeps up with a disk. */
const GZIP_LEVEL = 4;

export interface BackupSource {
  readonly ctx: Context;
  readonly address: DbAddress;
  readonly places: Places;
  readonly version: string;
  readonly images: boolean;
}

/** The bytes of the backup. What goes wrong destroys the stream, and then its end is missing. */
export function backupStream(source: BackupSource): Gzip {
  const records = Readable.from(recordsOf(source), { objectMode: false });
  const gzip = createGzip({ level: GZIP_LEVEL });
  records.on('error', (e) => gzip.destroy(e));
  gzip.on('close', () => records.destroy());
  return records.pipe(gzip);
}

async function* recordsOf({ ctx, address, places, version, images }: BackupSource): AsyncGenerator<Buffer> {
  const client = new pg.Client({ ...address, application_name: 'nimbus-backup', connectionTimeoutMillis: 10_000, options: '-c timezone=UTC -c datestyle=ISO -c statement_timeout=0' });
  client.on('error', (e) => ctx.log.warn('the connection of a backup was lost', { error: e.message }));
  const writer = new RecordWriter();
  await client.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const { rows: schema } = await client.query<{ name: string }>('SELECT name FROM knex_migrations ORDER BY id');
    yield writer.record({ kind: 'backup', format: FORMAT, nimbus: version, at: new Date(ctx.clock.now()).toISOString(), schema: schema.map((m) => m.name), images });
    for (const table of await tablesOf(client)) if (!table.passing) yield* rowsOf(client, table, writer);
    for (const state of await sequencesOf(client)) yield writer.record({ kind: 'sequence', ...state });
    for (const file of [...await keyFiles(places), ...(images ? await imageFiles(client, places) : [])]) yield* fileRecords(file, writer);
    yield writer.end();
  } finally {
    await client.end();
  }
}

async function* rowsOf(client: pg.Client, { name, columns }: Table, writer: RecordWriter): AsyncGenerator<Buffer> {
  const list = columns.map((c) => client.escapeIdentifier(c)).join(', ');
  const record = (body: Buffer): Buffer => writer.record({ kind: 'rows', table: name, columns: [...columns], bytes: body.length }, body);
  let parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of client.query(copyTo(`COPY ${client.escapeIdentifier(name)} (${list}) TO STDOUT`)) as AsyncIterable<Buffer>) {
    parts.push(chunk);
    size += chunk.length;
    if (size < ROWS_BYTES) continue;
    const all = Buffer.concat(parts);
    for (let at = 0; at < all.length; at += MOST_BYTES) yield record(all.subarray(at, at + MOST_BYTES));
    [parts, size] = [[], 0];
  }
  // Also of an empty table: that it was empty is worth knowing.
  yield record(Buffer.concat(parts));
}

async function imageFiles(client: pg.Client, places: Places): Promise<SourceFile[]> {
  const { rows } = await client.query<{ file: string }>('SELECT file FROM image WHERE removed_at IS NULL ORDER BY id');
  return rows.map(({ file }) => ({ name: `images/${file}`, path: `${places.images}/${file}` }));
}

async function* fileRecords(file: SourceFile, writer: RecordWriter): AsyncGenerator<Buffer> {
  for await (const { body, mode, last } of partsOf(file)) yield writer.record({ kind: 'file', name: file.name, mode, bytes: body.length, last }, body);
}
