/**
 * PostgreSQL as the rest of the house sees it: named prepared statements on a bounded pool, transactions, times as ms
 * since the epoch. Reports and admin queries may use `knex`; hot paths use statements (6 times as fast, measured).
 */
import pg from 'pg';
import { Fault, isFault } from '../lease/faults.ts';
import type { Log } from '../platform/context.ts';

/** A prepared statement: `name` is unique in the program; `text` never changes for a name, unless it is compiled each time. */
export interface Statement<Row> {
  readonly name: string;
  readonly text: string;
  /** Compiled and planned for each call: where the text follows the question, or the values decide the plan. */
  readonly replan?: true;
  /** Type only. */
  readonly row?: Row;
}

/** All statements of the program, by their names, for who plans them before they are asked. They are made when a module is loaded, never while it works. */
export const statements = new Map<string, Statement<unknown>>();

export function statement<Row>(name: string, text: string): Statement<Row> {
  const made: Statement<Row> = { name, text };
  statements.set(name, made);
  return made;
}

export interface Queryable {
  query<Row>(statement: Statement<Row>, values?: readonly unknown[]): Promise<Row[]>;
}

/** A database that does not answer is Fault `Unavailable`; what it refuses is a pg.DatabaseError. */
export interface Db extends Queryable {
  /**
   * One transaction. `fn` must only use `tx`. Rolled back when it rejects. After `Unavailable` it may have been committed
   * all the same: the answer to the COMMIT may be what was lost. `snapshot`: every statement sees the same moment, and
   * nothing is written.
   */
  transaction<T>(fn: (tx: Queryable) => Promise<T>, kind?: 'snapshot'): Promise<T>;
  /** Connections now; `waiting`: who waits for one. */
  readonly connections?: { readonly total: number; readonly idle: number; readonly waiting: number };
  close(): Promise<void>;
}

/** Where the database is; `host` may be the directory of a Unix socket. */
export interface DbAddress {
  readonly connectionString?: string;
  readonly host?: string;
  readonly port?: number;
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
}

const TIMESTAMPTZ = 1184;
const BIGINT = 20;
export const columnTypes = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (oid === TIMESTAMPTZ) return (text: string) => Date.parse(text);
    if (oid === BIGINT) return Number;
    return pg.types.getTypeParser(oid, format as 'text');
  },
} as unknown as pg.CustomTypesConfig;

/** A statement that takes longer is ended by the server; when not even that is heard of, the connection is given up. */
const STATEMENT_TIMEOUT_MS = 30_000;
const ANSWER_MS = STATEMENT_TIMEOUT_MS + 5_000;
/** A connection that nobody uses: a new one has to prove itself, and to have all its statements compiled (about 5 ms of CPU). */
const IDLE_MS = 600_000;

export function openDb(address: DbAddress, options: { max: number; log: Log; applicationName?: string }): Db {
  const pool = new pg.Pool({
    ...address,
    max: options.max,
    types: columnTypes,
    application_name: options.applicationName ?? 'nimbus',
    statement_timeout: STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: ANSWER_MS,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: IDLE_MS,
    keepAlive: true,
    // Statements are short; compiling one costs more than running it.
    options: '-c timezone=UTC -c jit=off',
  });
  let closing = false;
  // An 'error' that nobody hears ends the process. The pool listens while a connection is idle only; one that is lost
  // inside a transaction says so on the client itself, and the transaction's next statement rejects.
  pool.on('connect', (client) => client.on('error', (e: Error) => {
    if (!closing) options.log.warn('a database connection was lost', { error: e.message });
  }));
  pool.on('error', () => undefined);
  let away = false;
  /** What the caller is told; the log hears of an outage once, and of its end. */
  const told = (e: unknown): unknown => {
    if (!isOutage(e)) return e;
    if (!away && !closing) options.log.error('the database does not answer; what needs it is refused until it does', { error: (e as Error).message });
    away = true;
    return new Fault('Unavailable', 'The database does not answer now; try again shortly.', [], { cause: e });
  };
  const answering = (): void => {
    if (away) options.log.info('the database answers again');
    away = false;
  };
  const asked = <T>(work: Promise<T>): Promise<T> => work.then(
    (answer) => { answering(); return answer; },
    (e: unknown) => { throw told(e); },
  );
  const run = async <Row>(on: pg.Pool | pg.PoolClient, s: Statement<Row>, values: readonly unknown[] = []): Promise<Row[]> =>
    (await asked(on.query({ name: s.replan ? undefined : s.name, text: s.text, values: [...values] }))).rows as Row[];

  return {
    query: (s, values) => run(pool, s, values),
    async transaction(fn, kind) {
      const client = await asked(pool.connect());
      let broken: Error | undefined;
      try {
        await asked(client.query(kind === 'snapshot' ? 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' : 'BEGIN'));
        const result = await fn({ query: (s, values) => run(client, s, values) });
        const { command } = await asked(client.query('COMMIT'));
        // A transaction in which a statement failed and was not heard of is rolled back by its COMMIT.
        if (command !== 'COMMIT') throw new Error(`a transaction ended with ${command} instead of COMMIT`);
        return result;
      } catch (e) {
        // A connection that cannot roll back is thrown away, not given to the next transaction.
        if (isUnavailable(e) && isConnectionError(e.cause)) broken = e;
        else await client.query('ROLLBACK').catch((rollback: unknown) => { broken = rollback as Error; });
        throw e;
      } finally {
        client.release(broken);
      }
    },
    get connections() { return { total: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount }; },
    close() {
      closing = true;
      return pool.end();
    },
  };
}

/**
 * Classes of SQLSTATE that say "not now", whatever was asked (PostgreSQL manual, appendix A): 08 connection, 53 out of
 * resources, 57014 statement timeout, 57P0x shutting down, crashed or starting, 25P03 idle in transaction.
 */
const NOT_NOW = /^(08|53|57014|57P0|25P03)/;

/** True for what has to do with the database being away, false for what it says of the statement. */
const isOutage = (e: unknown): boolean => (e instanceof pg.DatabaseError ? NOT_NOW.test(e.code ?? '') : isConnectionError(e));

/** Of pg's calls everything else: no DatabaseError, which the server sends, and no mistake in a value. */
const isConnectionError = (e: unknown): boolean =>
  e instanceof Error && !(e instanceof pg.DatabaseError) && !(e instanceof TypeError) && !(e instanceof RangeError);

/** True when trying the same again, or less of it, is pointless until the database is back. */
export const isUnavailable = (e: unknown): e is Fault => isFault(e) && e.code === 'Unavailable';

/** SQLSTATE of a PostgreSQL error, or undefined. */
export function sqlState(e: unknown): string | undefined {
  return e instanceof pg.DatabaseError ? e.code : undefined;
}
