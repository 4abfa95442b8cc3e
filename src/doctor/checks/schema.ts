/** Whether the database has the tables of this version. */
import { MIGRATIONS } from '../../../migrations/index.ts';
import { errorText } from '../../platform/errors.ts';
import { sqlState } from '../../store/db.ts';
import { appliedMigrations } from '../../store/migrate.ts';
import { fail, note, ok, warn } from '../findings.ts';
import type { Check } from '../types.ts';

const CHECK = 'schema';
const UNDEFINED_TABLE = '42P01';

export const schema: Check = {
  name: CHECK,
  async look({ db, version }) {
    if ('missing' in db) return [];
    try {
      const applied = new Set((await db.query(appliedMigrations)).map((m) => m.name));
      const own = MIGRATIONS.map((m) => m.name);
      const [newer, older] = [[...applied].filter((m) => !own.includes(m)), own.filter((m) => !applied.has(m))];
      if (newer.length > 0) return [fail(CHECK, `the database was written by a newer nimbus than ${version}: it has ${newer.join(', ')}`, 'run that version, or restore a backup from before it')];
      if (older.length > 0) return [warn(CHECK, `the database is of an older nimbus: ${older.join(', ')} ${older.length === 1 ? 'is' : 'are'} missing`, 'the next start of the service brings it up to date; make a backup before')];
      return [ok(CHECK, `the tables are those of nimbus ${version}`)];
    } catch (e) {
      if (sqlState(e) === UNDEFINED_TABLE) return [note(CHECK, 'the database is empty: the first start of the service makes its tables')];
      return [fail(CHECK, `it cannot be read: ${errorText(e)}`, 'see that the role of database.url owns the tables of its database')];
    }
  },
};
