/**
 * Whose access keys and certificates are, for the doors. Every request asks, so answers are kept for a moment; what was taken
 * away works for no longer than that. What is unknown is kept too, so that guessing costs the database no more than using.
 */
import type { Clock } from '../platform/context.ts';
import type { Db } from '../store/db.ts';
import { accountByCertificate, accountByDn, credentialsByKey, namedAccount, type NamedAccountRow } from '../store/users.ts';
import type { Account, Manager } from './types.ts';

const KEPT_MS = 1000;
const KEPT_MOST = 10_000;
const LONGEST_KEY = 128;
const LONGEST_NAME = 4096;

export function createCredentials({ db, clock }: { readonly db: Db; readonly clock: Clock }): Manager['credentials'] {
  return {
    find: keeping(clock, LONGEST_KEY, async (accessKey) => {
      const [row] = await db.query(credentialsByKey, [accessKey]);
      return row === undefined ? null : { secret: row.secret, ...accountOf(row) };
    }),
    ofDn: keeping(clock, LONGEST_NAME, async (dn) => first(await db.query(accountByDn, [dn]))),
    ofCertificate: keeping(clock, LONGEST_KEY, async (fingerprint) => first(await db.query(accountByCertificate, [fingerprint]))),
    ofUser: keeping(clock, LONGEST_KEY, async (name) => first(await db.query(namedAccount, [name]))),
  };
}

const accountOf = (row: NamedAccountRow): Account => ({ accountId: row.account_id, name: row.name, ownerId: row.owner_id, admin: row.admin });
const first = ([row]: readonly NamedAccountRow[]): Account | null => (row === undefined ? null : accountOf(row));

function keeping<T>(clock: Clock, longest: number, read: (key: string) => Promise<T | null>): (key: string) => Promise<T | null> {
  const kept = new Map<string, { readonly until: number; readonly found: Promise<T | null> }>();

  function keep(key: string, now: number): Promise<T | null> {
    kept.delete(key);
    // Insertion order is the order of expiry: the first entries are the oldest.
    for (const [oldest, entry] of kept) {
      if (entry.until > now && kept.size < KEPT_MOST) break;
      kept.delete(oldest);
    }
    const found = read(key);
    kept.set(key, { until: now + KEPT_MS, found });
    found.catch(() => kept.delete(key));
    return found;
  }

  return (key) => {
    // NUL is the one character that PostgreSQL's text cannot hold.
    if (key.length > longest || key.includes('\0')) return Promise.resolve(null);
    const now = clock.monotonic();
    const entry = kept.get(key);
    return entry !== undefined && entry.until > now ? entry.found : keep(key, now);
  };
}
