/** Reads a whole backup, and says what is in it. */
import { MIGRATIONS, type Migration } from '../../migrations/index.ts';
import { StartError } from '../platform/errors.ts';
import { FORMAT, readRecords, type BackupHead } from './format.ts';

export interface BackupContents {
  readonly version: string;
  readonly at: string;
  readonly schema: readonly string[];
  /** Rows of each table. */
  readonly rows: Readonly<Record<string, number>>;
  readonly files: readonly string[];
}

/** @throws StartError when it is no backup, damaged, cut, or made by a version that this one does not know */
export async function checkBackup(file: string, migrations: readonly Migration[] = MIGRATIONS): Promise<BackupContents> {
  let head: BackupHead | undefined;
  const rows: Record<string, number> = {};
  const files: string[] = [];
  for await (const { record, body } of readRecords(file)) {
    if (record.kind === 'backup') {
      head = record;
      refuseForeign(file, record, migrations);
    } else if (record.kind === 'rows') {
      rows[record.table] = (rows[record.table] ?? 0) + linesIn(body);
    } else if (record.kind === 'file' && record.last) {
      files.push(record.name);
    }
  }
  if (head === undefined) throw new StartError(`${file} is no backup of nimbus`);
  return { version: head.nimbus, at: head.at, schema: head.schema, rows, files };
}

function refuseForeign(file: string, head: BackupHead, migrations: readonly Migration[]): void {
  if (head.format !== FORMAT) throw new StartError(`${file} has the format ${head.format}, which this version (format ${FORMAT}) does not read: restore it with nimbus ${head.nimbus}`);
  const unknown = head.schema.filter((name, i) => migrations[i]?.name !== name);
  if (unknown.length > 0) throw new StartError(`${file} was made by a newer nimbus, ${head.nimbus} (its schema has ${unknown.join(', ')}): restore it with that version`);
  if (head.schema.length === 0) throw new StartError(`${file} has no schema in it`);
}

/** COPY's text format: a line a row, line ends in values are written as \n. */
function linesIn(body: Buffer): number {
  let lines = 0;
  for (let at = body.indexOf(0x0a); at >= 0; at = body.indexOf(0x0a, at + 1)) lines += 1;
  return lines;
}
