/** A database that fails when the test says so: before a statement, or after a commit whose answer is lost. */
import { Fault } from '../../src/lease/faults.ts';
import type { Db, Queryable, Statement } from '../../src/store/db.ts';

export interface FailingDb extends Db {
  /** Asked before each statement (its name) and each commit (`COMMIT`); true makes it fail, undone. */
  fails: (statement: string) => boolean;
  /** Asked after each commit; true loses the answer. */
  losesCommit: () => boolean;
  /** Statements and commits so far. */
  readonly count: number;
}

export const databaseAway = (): Fault => new Fault('Unavailable', 'The database does not answer now; try again shortly.');

export function failingDb(db: Db): FailingDb {
  let count = 0;
  const ask = async <Row>(on: Queryable, s: Statement<Row>, values?: readonly unknown[]): Promise<Row[]> => {
    count += 1;
    if (failing.fails(s.name)) throw databaseAway();
    return on.query(s, values);
  };
  const failing: FailingDb = {
    fails: () => false,
    losesCommit: () => false,
    get count() { return count; },
    query: (s, values) => ask(db, s, values),
    async transaction(fn, kind) {
      const result = await db.transaction(async (tx) => {
        const made = await fn({ query: (s, values) => ask(tx, s, values) });
        count += 1;
        if (failing.fails('COMMIT')) throw databaseAway();
        return made;
      }, kind);
      if (failing.losesCommit()) throw databaseAway();
      return result;
    },
    close: () => db.close(),
  };
  return failing;
}
