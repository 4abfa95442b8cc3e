/** Whether the services that share the database have the same operating key: nodes let in one. */
import { sqlState } from '../../store/db.ts';
import { operatingKeys } from '../../store/processes.ts';
import { ok, warn } from '../findings.ts';
import type { Check } from '../types.ts';

const CHECK = 'services';
const UNDEFINED_COLUMN = '42703';

export const services: Check = {
  name: CHECK,
  async look({ db }) {
    if ('missing' in db) return [];
    // A database of an older version says nothing of keys; the check of its schema says that.
    const keys = await db.query(operatingKeys).catch((e: unknown) => {
      if (sqlState(e) === UNDEFINED_COLUMN) return [];
      throw e;
    });
    const [first, second] = keys;
    if (first === undefined || second === undefined) return first !== undefined && first.places.length > 1 ? [ok(CHECK, `${first.places.length} services have the same operating key`)] : [];
    return [warn(CHECK, `${first.places.join(', ')} and ${second.places.join(' and ')} have different operating keys: an SSH node lets in one of them, and is out of reach when that one ends`,
      `copy keys/operate_ed25519 and keys/operate_ed25519.pub from the data directory of the one whose nodes are in use (${first.places[0] ?? ''}?) to the others, and start those again`,
      'which key a service has: nimbus processes --json')];
  },
};
