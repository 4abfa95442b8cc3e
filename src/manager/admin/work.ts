/** What is still to be done on a node for a lease. */
import { workOfLease } from '../../store/intents.ts';
import type { AdminManager } from '../admin-types.ts';
import type { AdminDeps } from './deps.ts';

export function workAdministration({ db }: AdminDeps): AdminManager['work'] {
  return {
    async of(lease) {
      const [row] = await db.query(workOfLease, [lease]);
      return row === undefined ? null : { operation: row.kind, since: row.created_at, askedAgain: row.attempts, nextAt: row.next_at, error: row.error };
    },
  };
}
