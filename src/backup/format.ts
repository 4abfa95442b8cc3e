/**
 * A backup file: gzip of records, each a line of JSON and, where it says `bytes`, so many bytes after it. The first record
 * is the head, the last one the end, with the digest of everything before it: a file that was cut or changed is told from a
 * whole one before anything is done with it.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { z } from 'zod';
import { reasonText, StartError } from '../platform/errors.ts';

export const FORMAT = 1;
/** Of rows or of a file. */
export const MOST_BYTES = 1024 * 1024;
const MOST_LINE = 64 * 1024;
const READ_BYTES = 256 * 1024;

const identifier = z.string().regex(/^[a-z][a-z0-9_]{0,62}$/);
const bytes = z.int().min(0).max(MOST_BYTES);
const recordSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('backup'), format: z.int(), nimbus: z.string().max(64), at: z.iso.datetime(),
    /** Names of the migrations that made the schema, in order. */
    schema: z.array(z.string().max(200)).max(10_000), images: z.boolean(),
  }),
  /** Of COPY's text format: whole lines or parts of them, a table after the other. */
  z.object({ kind: z.literal('rows'), table: identifier, columns: z.array(identifier).min(1).max(500), bytes }),
  z.object({ kind: z.literal('sequence'), table: identifier, column: identifier, last: z.string().regex(/^\d{1,19}$/), called: z.boolean() }),
  /** In parts, one after the other. */
  z.object({ kind: z.literal('file'), name: z.string().max(300), mode: z.int().min(0).max(0o777), bytes, last: z.boolean() }),
  z.object({ kind: z.literal('end'), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
]);
export type BackupRecord = z.infer<typeof recordSchema>;
export type BackupHead = Extract<BackupRecord, { kind: 'backup' }>;

export interface ReadRecord {
  readonly record: BackupRecord;
  readonly body: Buffer;
}

/** Makes records to bytes, and the end of what went through it. */
export class RecordWriter {
  readonly #hash = createHash('sha256');

  record(record: Exclude<BackupRecord, { kind: 'end' }>, body: Buffer = Buffer.alloc(0)): Buffer {
    const made = Buffer.concat([Buffer.from(`${JSON.stringify(record)}\n`), body]);
    this.#hash.update(made);
    return made;
  }

  end(): Buffer {
    return Buffer.from(`${JSON.stringify({ kind: 'end', sha256: this.#hash.digest('hex') })}\n`);
  }
}

/** Records of a file, the end included. @throws StartError when it is no backup, damaged or cut */
export async function* readRecords(file: string): AsyncGenerator<ReadRecord> {
  const input = createReadStream(file);
  const gunzip = createGunzip({ chunkSize: READ_BYTES });
  // An error of the file is one of what reads it.
  input.on('error', (e) => gunzip.destroy(e));
  try {
    yield* parse(file, input.pipe(gunzip));
  } catch (e) {
    throw e instanceof StartError ? e : new StartError(`${file} ${describe(e)}`, { cause: e });
  } finally {
    input.destroy();
    gunzip.destroy();
  }
}

function describe(e: unknown): string {
  const code = (e as { code?: string }).code ?? '';
  if (code === 'Z_BUF_ERROR') return 'was cut: its end is missing';
  if (code === 'Z_DATA_ERROR') return 'is no backup of nimbus, or it is damaged';
  return `cannot be read: ${reasonText(e)}`;
}

async function* parse(file: string, input: AsyncIterable<Buffer>): AsyncGenerator<ReadRecord> {
  const hash = createHash('sha256');
  const damaged = (): StartError => new StartError(`${file} is damaged: its records cannot be read`);
  let first = true;
  let rest: Buffer = Buffer.alloc(0);
  let ended = false;
  for await (const chunk of input) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const line = rest.indexOf(0x0a);
      if (line < 0) {
        if (rest.length > MOST_LINE) throw first ? notOurs(file) : damaged();
        break;
      }
      const record = readLine(rest.subarray(0, line));
      if (record === undefined || ended) throw first ? notOurs(file) : damaged();
      const size = 'bytes' in record ? record.bytes : 0;
      if (rest.length < line + 1 + size) break;
      if (first !== (record.kind === 'backup')) throw first ? notOurs(file) : damaged();
      first = false;
      if (record.kind === 'end') {
        ended = true;
        if (record.sha256 !== hash.digest('hex')) throw new StartError(`${file} is damaged: its digest is not the one that it was written with`);
      } else {
        hash.update(rest.subarray(0, line + 1 + size));
      }
      const body = rest.subarray(line + 1, line + 1 + size);
      rest = rest.subarray(line + 1 + size);
      yield { record, body };
    }
  }
  if (first) throw notOurs(file);
  if (!ended || rest.length > 0) throw new StartError(`${file} was cut: its end is missing`);
}

const notOurs = (file: string): StartError => new StartError(`${file} is no backup of nimbus`);

function readLine(line: Buffer): BackupRecord | undefined {
  try {
    return recordSchema.parse(JSON.parse(line.toString()));
  } catch {
    return undefined;
  }
}
