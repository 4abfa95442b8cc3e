/**
 * Access keys for the doors. Every signed request asks, so answers are kept for a moment; a key that was switched off works
 * for no longer than that. Unknown keys are kept too, so that guessing costs the database no more than using.
 */
import type { Clock } from '../platform/context.ts';
import type { Db } from '../store/db.ts';
import { credentialsByKey } from '../store/users.ts';
import type { Manager } from './types.ts';

const KEPT_MS = 1000;
const KEPT_MOST = 10_000;
const LONGEST_KEY = 128;

type Found = Awaited<ReturnType<Manager['credentials']['find']>>;

export function createCredentials(deps: { readonly db: Db; readonly clock: Clock }): Manager['credentials'] {
  const kept = new Map<string, { readonly until: number; readonly found: Promise<Found> }>();

  async function read(accessKey: string): Promise<Found> {
    const [row] = await deps.db.query(credentialsByKey, [accessKey]);
    return row === undefined ? null : { secret: row.secret, accountId: row.account_id, name: row.name, ownerId: row.owner_id, admin: row.admin };
  }

  function keep(accessKey: string, now: number): Promise<Found> {
    kept.delete(accessKey);
    // Insertion order is the order of expiry: the first entries are the oldest.
    for (const [key, entry] of kept) {
      if (entry.until > now && kept.size < KEPT_MOST) break;
      kept.delete(key);
    }
    const found = read(accessKey);
    kept.set(accessKey, { until: now + KEPT_MS, found });
    found.catch(() => kept.delete(accessKey));
    return found;
  }

  return {
    find(accessKey) {
      // NUL is the one character that PostgreSQL's text cannot hold.
      if (accessKey.length > LONGEST_KEY || accessKey.includes('\0')) return Promise.resolve(null);
      const now = deps.clock.monotonic();
      const entry = kept.get(accessKey);
      return entry !== undefined && entry.until > now ? entry.found : keep(accessKey, now);
    },
  };
}
