/**
 * The database as a service process sees it: one connection for all, taken in turn, so that transactions follow each other; it
 * takes its time, fails, loses the answer to a commit, is away for a while. A process that dies leaves its transaction undone.
 */
import { Fault } from '../../../src/lease/faults.ts';
import type { Db, Queryable, Statement } from '../../../src/store/db.ts';
import type { Postgres } from './postgres.ts';
import { never, type Process } from './process.ts';
import type { Dice } from './random.ts';
import type { Trace } from './trace.ts';
import type { Weather } from './weather.ts';

const SLOW_MS = 4_000;

const gone = (): Fault => new Fault('Unavailable', 'The database does not answer now; try again shortly.');

interface Turn {
  readonly process: Process;
  readonly begin: () => void;
}

export class Database {
  /** Until then nobody is answered, ms of virtual time. */
  awayUntil = 0;
  /** How often something was written, and of each table. Signs of life are not counted: they change nothing that anybody looks for. */
  writes = 0;
  readonly #written = new Map<string, number>();
  statements = 0;
  /** Called before each statement, and before the answer to a commit: a process may die of it. */
  onStatement: (process: Process, name: string) => void = () => undefined;
  /** Called when a process has read, or written, what it asked for. */
  onAnswer: (process: Process, name: string) => void = () => undefined;
  #holder: Process | undefined;
  #inTransaction = false;
  /** What the transaction has written. */
  readonly #dirty = new Set<string>();
  readonly #queue: Turn[] = [];

  constructor(readonly postgres: Postgres, private readonly dice: Dice, private readonly weather: Weather, private readonly trace: Trace) {}

  /** What stands in the tables is committed. */
  get atRest(): boolean {
    return !this.#inTransaction;
  }

  /** Goes up whenever something was written to one of these. */
  writesTo(tables: readonly string[]): number {
    let sum = 0;
    for (const table of tables) sum += this.#written.get(table) ?? 0;
    return sum;
  }

  /** The connections of one process. */
  connect(process: Process): Db {
    process.atEnd(() => this.#abandoned(process));
    return {
      query: async (s, values) => {
        // Another connection of the pool would read what is committed, which is what this one has as long as it has written nothing.
        if (this.#holder === process && this.#inTransaction && this.#dirty.size === 0 && writesOf(s).tables.length === 0) return this.#ask(process, s, values);
        await this.#take(process);
        try {
          return await this.#ask(process, s, values);
        } finally {
          this.#release(process);
        }
      },
      transaction: (fn) => this.#transaction(process, fn),
      close: () => Promise.resolve(),
    };
  }

  async #transaction<T>(process: Process, fn: (tx: Queryable) => Promise<T>): Promise<T> {
    await this.#take(process);
    if (!process.alive) return never<T>();
    let over = false;
    try {
      this.postgres.begin();
      this.#inTransaction = true;
      this.#dirty.clear();
      const result = await fn({ query: (s, values) => this.#ask(process, s, values) });
      await this.#before(process, 'COMMIT');
      if (!process.alive) return await never<T>();
      this.postgres.commit();
      over = true;
      this.#count(this.#dirty);
      this.onStatement(process, 'COMMITTED');
      if (!process.alive) return await never<T>();
      if (this.dice.chance(this.weather.commitLost)) {
        this.trace.add('commit not answered', process.name);
        throw gone();
      }
      return result;
    } catch (e) {
      if (!over && process.alive) this.postgres.rollback();
      throw e;
    } finally {
      if (process.alive) this.#inTransaction = false;
      this.#release(process);
    }
  }

  async #ask<Row>(process: Process, s: Statement<Row>, values?: readonly unknown[]): Promise<Row[]> {
    await this.#before(process, s.name);
    // It may have died of what it did beside this.
    if (!process.alive) return never<Row[]>();
    const rows = this.postgres.query(s, values);
    const { tables, saysSo } = writesOf(s);
    if ((this.postgres.changed || !saysSo) && !SIGNS_OF_LIFE.has(s.name)) {
      if (this.#inTransaction) for (const table of tables) this.#dirty.add(table);
      else this.#count(tables);
    }
    this.trace.add('sql', process.name, s.name, rows.length);
    this.onAnswer(process, s.name);
    this.onStatement(process, 'answered');
    return process.alive ? rows : never<Row[]>();
  }

  #count(tables: Iterable<string>): void {
    for (const table of tables) {
      this.writes += 1;
      this.#written.set(table, (this.#written.get(table) ?? 0) + 1);
    }
  }

  async #before(process: Process, name: string): Promise<void> {
    if (!process.alive) await never();
    if (this.dice.chance(this.weather.statementSlow)) await new Promise<void>((resolve) => process.clock.after(this.dice.wait(this.dice.chance(0.1) ? SLOW_MS : 40), resolve));
    this.statements += 1;
    this.onStatement(process, name);
    if (!process.alive) await never();
    if (process.time.now < this.awayUntil || this.dice.chance(this.weather.statementFails)) {
      this.trace.add('no database', process.name, name);
      throw gone();
    }
  }

  async #take(process: Process): Promise<void> {
    if (!process.alive) await never();
    if (this.#holder === undefined) {
      this.#holder = process;
      return;
    }
    await new Promise<void>((resolve) => this.#queue.push({ process, begin: resolve }));
    if (!process.alive) await never();
  }

  #release(process: Process): void {
    if (!process.alive || this.#holder !== process) return;
    this.#next();
  }

  #next(): void {
    this.#holder = undefined;
    for (let turn = this.#queue.shift(); turn !== undefined; turn = this.#queue.shift()) {
      if (!turn.process.alive) continue;
      this.#holder = turn.process;
      return turn.begin();
    }
  }

  /** The server notices that the connection is closed. */
  #abandoned(process: Process): void {
    if (this.#holder !== process) return;
    if (this.#inTransaction) this.postgres.rollback();
    this.#inTransaction = false;
    this.#next();
  }
}

const SIGNS_OF_LIFE: ReadonlySet<string> = new Set(['beat-process', 'take-duty']);

/** What nodes have given; whether they are reached; what the batch system says of a job; when pilots were heard, and what they said. */
export const ROOM = 'change-node-use';
export const REACH = 'record-node-up, record-node-down';
export const NOTES = 'note-slots';
export const HEARD = 'store-messages';
/** Statements that count as tables of their own: who looks at nothing else of a row has nothing to look at again. */
const OWN: ReadonlyMap<string, readonly string[]> = new Map([[ROOM, [ROOM]], ['record-node-up', [REACH]], ['record-node-down', [REACH]], [NOTES, [NOTES]], [HEARD, [HEARD]]]);

/** Locks are no changes. */
const WRITES = /\b(?:INSERT INTO|DELETE FROM)\s+(\w+)|\bUPDATE\s+(\w+)(?:\s+\w+)?\s+SET\b/g;
interface Writes {
  /** That a statement may write. */
  readonly tables: readonly string[];
  /** Its answer counts what it wrote: it writes once, and not before it selects. */
  readonly saysSo: boolean;
}
const known = new Map<string, Writes>();
function writesOf(s: Statement<unknown>): Writes {
  let writes = known.get(s.name);
  if (writes === undefined) {
    const tables = [...s.text.matchAll(WRITES)].map((m) => m[1] ?? m[2] ?? '');
    const saysSo = tables.length === 0 || (tables.length === 1 && /\b(SELECT|INSERT|UPDATE|DELETE)\b/.exec(outsideBrackets(s.text))?.[1] !== 'SELECT');
    known.set(s.name, writes = { tables: OWN.get(s.name) ?? tables, saysSo });
  }
  return writes;
}

function outsideBrackets(text: string): string {
  const less = text.replace(/\([^()]*\)/g, '');
  return less === text ? text : outsideBrackets(less);
}
