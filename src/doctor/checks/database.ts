/** Whether the database answers. */
import { errorText } from '../../platform/errors.ts';
import { statement } from '../../store/db.ts';
import { fail, ok, warn } from '../findings.ts';
import type { Check } from '../types.ts';

const answering = statement<{ version: string }>('doctor-database', `SELECT current_setting('server_version') AS version`);

export const database: Check = {
  name: 'database',
  async look({ db, serving, config }) {
    const mend = config.database.url === '' ? 'look at log/postgresql.log in the data directory' : 'look whether the server of database.url runs and lets the service in';
    if ('missing' in db) return [(serving ? fail : warn)('database', db.missing, db.mend ?? mend)];
    try {
      const [row] = await db.query(answering);
      return [ok('database', `PostgreSQL ${row?.version ?? ''} answers`)];
    } catch (e) {
      return [fail('database', `the database does not answer: ${errorText(e)}`, mend)];
    }
  },
};
