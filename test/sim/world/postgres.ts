/**
 * The database: PostgreSQL itself, compiled to WebAssembly (PGlite), in this process. It answers before the call returns, so that
 * nothing but the simulation decides in which order things happen. Statements, values and rows are coded as the `pg` client codes them.
 */
import { PGlite } from '@electric-sql/pglite';
import { parse, serialize, type DatabaseError } from 'pg-protocol';
import { prepareValue } from 'pg/lib/utils.js';
import { MIGRATIONS } from '../../../migrations/index.ts';
import { columnTypes, type Statement } from '../../../src/store/db.ts';

interface Field {
  readonly name: string;
  readonly dataTypeID: number;
}
type Message = { readonly name: string } & Partial<{ readonly fields: Array<string | null> | Field[]; readonly text: string }>;
type Column = readonly [name: string, parse: (text: string) => unknown];

const OF_ITS_CLOCK = /clock_timestamp|INTO (?:process|question)\b/;
const ofItsClock = new Map<string, boolean>();
function isOfItsClock({ name, text }: Statement<unknown>): boolean {
  const known = ofItsClock.get(name) ?? OF_ITS_CLOCK.test(text);
  ofItsClock.set(name, known);
  return known;
}
/** What the server says of a statement that found no row. */
const NOTHING = /^(?:BEGIN|(?:UPDATE|DELETE|SELECT|INSERT 0) 0)$/;
const RUN = serialize.execute({});
const DONE = serialize.sync();

const [BEGIN, COMMIT, ROLLBACK] = ['BEGIN', 'COMMIT', 'ROLLBACK'].map((text): Statement<unknown> => ({ name: text, text })) as [Statement<unknown>, Statement<unknown>, Statement<unknown>];
const BEGINS = serialize.bind({ statement: BEGIN.name });

const bound = (s: Statement<unknown>, values: readonly unknown[]): Buffer => serialize.bind({ statement: s.name, values: values.map((v) => prepareValue(v)) });

function rowOf(columns: readonly Column[], fields: ReadonlyArray<string | null>): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  for (let i = 0; i < columns.length; i += 1) {
    const [name, read] = columns[i] as Column;
    const text = fields[i] ?? null;
    row[name] = text === null ? null : read(text);
  }
  return row;
}

export type Question = readonly [s: Statement<unknown>, values: readonly unknown[]];

export class Postgres {
  readonly #columns = new Map<string, readonly Column[]>();
  #feed: (bytes: Buffer) => void = () => undefined;
  #answer: Message[] = [];
  /** A transaction begins with its first statement. */
  #begins = false;
  #reset = '';
  #vacuum = '';
  /** What its clock shows, ms since the epoch. */
  now: () => number = () => 0;
  /** The last statement may have changed something. */
  changed = false;

  private constructor(private readonly engine: PGlite) {
    const stream = { on: (event: string, fn: (bytes: Buffer) => void) => { if (event === 'data') this.#feed = fn; } };
    void parse(stream as unknown as NodeJS.ReadableStream, (m) => void this.#answer.push(m as Message));
  }

  static async open(): Promise<Postgres> {
    // Nothing of it outlives the process: a log to recover from would be written for nobody.
    const engine = await PGlite.create({ startParams: [...PGlite.defaultStartParams, '-c', 'wal_level=minimal', '-c', 'max_wal_senders=0', '-c', 'full_page_writes=off', '-c', 'track_counts=off', '-c', 'track_activities=off'] });
    // The database's own clock is virtual too: what its statements ask for is found before what PostgreSQL has under that name.
    await engine.exec(`SET sim.now = '0'; CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
      $$ SELECT pg_catalog.to_timestamp(pg_catalog.current_setting('sim.now')::float8 / 1000) $$; SET search_path = public, pg_catalog`);
    // Migrations ask their knex for nothing but this.
    const raw = (sql: string): Promise<unknown> => engine.exec(sql.replace(/\bCREATE TABLE\b/, 'CREATE UNLOGGED TABLE'));
    for (const m of MIGRATIONS) await m.up({ raw } as never);
    const db = new Postgres(engine);
    // Planned once, so that the same statement does the same however often it was asked: a plan made anew for each value costs more than most of its executions.
    db.simple('SET timezone = \'UTC\'; SET plan_cache_mode = force_generic_plan; SET synchronous_commit = off; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off');
    const tables = db.simple('SELECT tablename FROM pg_tables WHERE schemaname = \'public\' ORDER BY 1').map(([name]) => `"${name ?? ''}"`);
    db.#reset = `TRUNCATE ${tables.join(', ')} RESTART IDENTITY CASCADE`;
    db.#vacuum = `VACUUM ${tables.join(', ')}`;
    return db;
  }

  close(): Promise<void> {
    return this.engine.close();
  }

  /** Empty, and numbers begin at 1 again. */
  reset(): void {
    this.simple(this.#reset);
  }

  /** What a server does by itself: room of removed rows is used again. */
  tidy(): void {
    this.simple(this.#vacuum);
  }

  begin(): void {
    if (!this.#columns.has(BEGIN.name)) this.#prepare(BEGIN);
    this.#begins = true;
  }

  commit(): void {
    this.#end(COMMIT);
  }

  rollback(): void {
    this.#end(ROLLBACK);
  }

  /** @throws pg.DatabaseError */
  query<Row>(s: Statement<Row>, values: readonly unknown[] = []): Row[] {
    const columns = this.#columns.get(s.name) ?? this.#prepare(s);
    if (isOfItsClock(s)) this.simple(`SET sim.now = '${this.now()}'`);
    const begins = this.#begins;
    this.#begins = false;
    const answer = begins ? this.#send(BEGINS, RUN, bound(s, values), RUN, DONE) : this.#send(bound(s, values), RUN, DONE);
    this.changed = false;
    const rows: Row[] = [];
    for (const m of answer) {
      if (m.name === 'dataRow') rows.push(rowOf(columns, m.fields as Array<string | null>) as Row);
      else if (m.name === 'commandComplete' && !NOTHING.test(m.text ?? '')) this.changed = true;
    }
    return rows;
  }

  /** Several questions that change nothing, at once. @throws pg.DatabaseError */
  ask(questions: readonly Question[]): Array<Array<Record<string, unknown>>> {
    const columns = questions.map(([s]) => this.#columns.get(s.name) ?? this.#prepare(s));
    const rows: Array<Array<Record<string, unknown>>> = questions.map(() => []);
    let at = 0;
    for (const m of this.#send(...questions.flatMap(([s, values]) => [bound(s, values), RUN]), DONE)) {
      if (m.name === 'dataRow') rows[at]?.push(rowOf(columns[at] ?? [], m.fields as Array<string | null>));
      else if (m.name === 'commandComplete') at += 1;
    }
    return rows;
  }

  /** Rows as texts. @throws pg.DatabaseError */
  simple(sql: string): Array<Array<string | null>> {
    return this.#send(serialize.query(sql)).filter((m) => m.name === 'dataRow').map((m) => m.fields as Array<string | null>);
  }

  #end(how: Statement<unknown>): void {
    const empty = this.#begins;
    this.#begins = false;
    if (empty) return;
    if (!this.#columns.has(how.name)) this.#prepare(how);
    this.#send(serialize.bind({ statement: how.name }), RUN, DONE);
  }

  #prepare(s: Statement<unknown>): readonly Column[] {
    const answer = this.#send(serialize.parse({ name: s.name, text: s.text }), serialize.describe({ type: 'S', name: s.name }), serialize.sync());
    const fields = (answer.find((m) => m.name === 'rowDescription')?.fields ?? []) as Field[];
    const columns = fields.map((f): Column => [f.name, columnTypes.getTypeParser(f.dataTypeID, 'text') as (text: string) => unknown]);
    this.#columns.set(s.name, columns);
    return columns;
  }

  #send(...messages: readonly Buffer[]): Message[] {
    this.#answer = [];
    // Nothing in it waits: the answer is there when the call returns. Copied, for it lies in the server's memory.
    void this.engine.execProtocolRawStream(Buffer.concat(messages), { syncToFs: false, onRawData: (bytes) => this.#feed(Buffer.from(bytes)) });
    const refused = this.#answer.find((m) => m.name === 'error');
    if (refused !== undefined) throw refused as unknown as DatabaseError;
    return this.#answer;
  }
}
