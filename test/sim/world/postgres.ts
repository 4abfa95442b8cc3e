/**
 * The database: PostgreSQL itself, in this process. It answers before the call returns, so that nothing but the simulation decides in
 * which order things happen. Statements, values and rows are coded as the `pg` client codes them.
 */
import { serialize } from 'pg-protocol';
import { MIGRATIONS } from '../../../migrations/index.ts';
import { statements, type Statement } from '../../../src/store/db.ts';
import { Engine } from './engine.ts';
import { Answer, COMMAND_COMPLETE, DATA_ROW, PARAMETER_DESCRIPTION, Question, ROW_DESCRIPTION, columnOf, type Column, type Field, type Row } from './wire.ts';

/** A statement that the server knows. */
interface Prepared {
  /** As a message names it. */
  readonly named: Buffer;
  readonly columns: readonly Column[];
  readonly values: number;
}

const RUN = serialize.execute({});
const DONE = serialize.sync();
const [BEGIN, COMMIT, ROLLBACK] = ['BEGIN', 'COMMIT', 'ROLLBACK'].map((text): Statement<unknown> => ({ name: text, text })) as [Statement<unknown>, Statement<unknown>, Statement<unknown>];
/** Planned once, so that the same statement does the same however often it was asked. */
const SETTINGS = 'SET timezone = \'UTC\'; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off';

export type Asked = readonly [s: Statement<unknown>, values: readonly unknown[]];

export class Postgres {
  readonly #prepared = new Map<string, Prepared>();
  readonly #question = new Question();
  readonly #answer = new Answer();
  /** A transaction begins with its first statement. */
  #begins = false;
  #vacuum = '';
  #putBack: () => void = () => undefined;
  /** The last statement may have changed something. */
  changed = false;

  private constructor(private readonly engine: Engine) {}

  static async open(): Promise<Postgres> {
    const engine = await Engine.open(async (pglite) => {
      // Migrations ask their knex for nothing but this. Nothing of it outlives the process: a log to recover from would be written for nobody.
      const raw = (sql: string): Promise<unknown> => pglite.exec(sql.replace(/\bCREATE TABLE\b/, 'CREATE UNLOGGED TABLE'));
      for (const m of MIGRATIONS) await m.up({ raw } as never);
    });
    const db = new Postgres(engine);
    db.simple(SETTINGS);
    const tables = db.simple('SELECT tablename FROM pg_tables WHERE schemaname = \'public\' ORDER BY 1').map(([name]) => `"${name ?? ''}"`);
    db.#vacuum = `VACUUM ${tables.join(', ')}`;
    db.simple(`TRUNCATE ${tables.join(', ')} RESTART IDENTITY CASCADE`);
    // All that may be asked is planned once, before there is anything in the tables.
    for (const s of [BEGIN, COMMIT, ROLLBACK, ...statements.values()]) db.#plan(s);
    const putBack = engine.snapshot();
    const known = [...db.#prepared];
    db.#putBack = () => {
      putBack();
      db.#prepared.clear();
      for (const [name, prepared] of known) db.#prepared.set(name, prepared);
    };
    return db;
  }

  /** What its clock shows, ms since the epoch. */
  set now(now: () => number) {
    this.engine.now = now;
  }

  close(): Promise<void> {
    return this.engine.close();
  }

  /** Empty, as it was at first, to the last byte. */
  reset(): void {
    this.#begins = false;
    this.#putBack();
  }

  /** What a server does by itself: room of removed rows is used again. */
  tidy(): void {
    this.simple(this.#vacuum);
  }

  begin(): void {
    this.#begins = true;
  }

  commit(): void {
    this.#end(COMMIT);
  }

  rollback(): void {
    this.#end(ROLLBACK);
  }

  /** @throws pg.DatabaseError */
  query<R>(s: Statement<R>, values: readonly unknown[] = []): R[] {
    const prepared = this.#known(s);
    if (this.#begins) this.#run(this.#known(BEGIN), []);
    this.#begins = false;
    this.#run(prepared, values);
    this.#send();
    const rows: Row[] = [];
    this.changed = false;
    for (let kind = this.#answer.next(); kind !== undefined; kind = this.#answer.next()) {
      if (kind === DATA_ROW) rows.push(this.#answer.row(prepared.columns));
      else if (kind === COMMAND_COMPLETE && !this.#answer.foundNothing()) this.changed = true;
    }
    return rows as R[];
  }

  /** Several questions that change nothing, at once. @throws pg.DatabaseError */
  ask(questions: readonly Asked[]): Row[][] {
    const prepared = questions.map(([s]) => this.#known(s));
    questions.forEach(([, values], i) => this.#run(prepared[i] as Prepared, values));
    this.#send();
    const rows: Row[][] = questions.map(() => []);
    let at = 0;
    for (let kind = this.#answer.next(); kind !== undefined; kind = this.#answer.next()) {
      if (kind === DATA_ROW) rows[at]?.push(this.#answer.row(prepared[at]?.columns ?? []));
      else if (kind === COMMAND_COMPLETE) at += 1;
    }
    return rows;
  }

  /** Rows as texts. @throws pg.DatabaseError */
  simple(sql: string): Array<Array<string | null>> {
    this.#question.add(serialize.query(sql));
    const rows: Array<Array<string | null>> = [];
    this.#answer.begin(this.engine.ask(this.#question.take()));
    for (let kind = this.#answer.next(); kind !== undefined; kind = this.#answer.next()) {
      if (kind === DATA_ROW) rows.push(this.#answer.message()?.fields as Array<string | null>);
    }
    return rows;
  }

  #end(how: Statement<unknown>): void {
    const empty = this.#begins;
    this.#begins = false;
    if (empty) return;
    this.#run(this.#known(how), []);
    this.#hear();
  }

  #run({ named }: Prepared, values: readonly unknown[]): void {
    this.#question.bind(named, values);
    this.#question.add(RUN);
  }

  #send(): void {
    this.#question.add(DONE);
    this.#answer.begin(this.engine.ask(this.#question.take()));
  }

  /** Asks what has no answer but that it is done. */
  #hear(): void {
    this.#send();
    while (this.#answer.next() !== undefined);
  }

  #known(s: Statement<unknown>): Prepared {
    return this.#prepared.get(s.name) ?? this.#prepare(s);
  }

  #prepare(s: Statement<unknown>): Prepared {
    this.#question.add(serialize.parse({ name: s.name, text: s.text }));
    this.#question.add(serialize.describe({ type: 'S', name: s.name }));
    this.#send();
    let values = 0;
    let fields: readonly Field[] = [];
    for (let kind = this.#answer.next(); kind !== undefined; kind = this.#answer.next()) {
      if (kind === ROW_DESCRIPTION) fields = this.#answer.message()?.fields as Field[];
      else if (kind === PARAMETER_DESCRIPTION) values = this.#answer.message()?.dataTypeIDs?.length ?? 0;
    }
    const prepared = { named: Buffer.from(`\0${s.name}\0`), columns: fields.map(columnOf), values };
    this.#prepared.set(s.name, prepared);
    return prepared;
  }

  /** It is planned when it gets its values; nothing of it is done. */
  #plan(s: Statement<unknown>): void {
    const { named, values } = this.#prepare(s);
    this.#question.bind(named, Array.from({ length: values }, () => null));
    this.#hear();
  }
}
