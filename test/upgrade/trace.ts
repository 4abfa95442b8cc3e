/** What a release says to its database, written down and said again. */
import { readFileSync } from 'node:fs';
import type pg from 'pg';
import type { Db, Queryable, Statement } from '../../src/store/db.ts';

/** A transaction, or a statement alone. */
export type Step = ReadonlyArray<{ readonly name: string; readonly values: readonly unknown[] }>;

export interface RecordingDb extends Db {
  readonly steps: Step[];
  recording: boolean;
}

/** In the order of the commits, which is an order in which they can follow each other again. */
export function recordingDb(db: Db): RecordingDb {
  const said = <Row>(s: Statement<Row>, values: readonly unknown[] = []): Step[number] => ({ name: s.name, values: values.map(plain) });
  const recorder: RecordingDb = {
    steps: [], recording: false,
    async query(s, values) {
      const rows = await db.query(s, values);
      if (recorder.recording) recorder.steps.push([said(s, values)]);
      return rows;
    },
    async transaction(fn, kind) {
      const step: Array<Step[number]> = [];
      const seen = (tx: Queryable): Queryable => ({
        query(s, values) {
          step.push(said(s, values));
          return tx.query(s, values);
        },
      });
      const result = await db.transaction((tx) => fn(seen(tx)), kind);
      if (recorder.recording) recorder.steps.push(step);
      return result;
    },
    close: () => db.close(),
  };
  return recorder;
}

const plain = (v: unknown): unknown => {
  if (v instanceof Date) return { $at: v.toISOString() };
  if (Buffer.isBuffer(v)) return { $bytes: v.toString('base64') };
  return Array.isArray(v) ? v.map(plain) : v;
};

const value = (v: unknown): unknown => {
  if (Array.isArray(v)) return v.map(value);
  if (typeof v !== 'object' || v === null) return v;
  const { $at, $bytes } = v as { $at?: string; $bytes?: string };
  return $at !== undefined ? new Date($at) : $bytes !== undefined ? Buffer.from($bytes, 'base64') : v;
};

export const readTrace = (file: string): Step[] => JSON.parse(readFileSync(file, 'utf8')) as Step[];

/** Says it all again with these texts; rejects at the first statement that the database refuses. */
export async function replay(client: pg.Client, steps: readonly Step[], texts: ReadonlyMap<string, string>): Promise<void> {
  for (const step of steps) {
    await client.query('BEGIN');
    for (const { name, values } of step) {
      const text = texts.get(name);
      if (text === undefined) throw new Error(`the release has no statement ${name}`);
      await client.query({ name, text, values: values.map(value) });
    }
    await client.query('COMMIT');
  }
}
