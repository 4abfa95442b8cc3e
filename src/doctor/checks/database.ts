/** Whether the database answers. */
import { errorText } from '../../platform/errors.ts';
import { statement } from '../../store/db.ts';
import { fail, ok, warn } from '../findings.ts';
import type { Check } from '../types.ts';

const answering = statement<{ version: string }>('doctor-database', `SELECT current_setting('server_version') AS version`);

const PRIVATE = [
  'look at log/postgresql.log in the data directory, and for room on its disk',
  'if its process (first line of pg/postmaster.pid) was stopped: kill -CONT; if it hangs: kill -9, and the service starts it again',
];

export const database: Check = {
  name: 'database',
  async look({ db, serving, config }) {
    const mend = config.database.url === '' ? PRIVATE : ['look whether the server of database.url runs and lets the service in'];
    if ('missing' in db) return [(serving ? fail : warn)('database', db.missing, ...(db.mend === undefined ? mend : [db.mend]))];
    try {
      const [row] = await db.query(answering);
      return [ok('database', `PostgreSQL ${row?.version ?? ''} answers`)];
    } catch (e) {
      return [fail('database', `the database does not answer: ${errorText(e)}`, ...mend)];
    }
  },
};
