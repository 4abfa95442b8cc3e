/** Leases that a call names: the ids checked, the rows locked. */
import { Fault } from '../lease/faults.ts';
import { LEASE_ID } from '../lease/ids.ts';
import type { Queryable } from '../store/db.ts';
import { lockLeases, type LockedLease } from '../store/leases.ts';
import type { Caller } from './types.ts';

/** Leases that one call may name. */
export const MOST_NAMED = 1_000;

/** Null = every account's, for administrators. */
export const accountOf = (caller: Caller): number | null => (caller.admin ? null : caller.accountId);

export function checkIds(ids: readonly string[]): string[] {
  if (ids.length > MOST_NAMED) throw new Fault('ParameterInvalid', `at most ${MOST_NAMED} leases can be named at once`);
  for (const id of ids) {
    if (!LEASE_ID.test(id)) throw new Fault('LeaseIdMalformed', `Invalid id: "${id.slice(0, 64)}" (expecting "i-...")`);
  }
  return [...new Set(ids)];
}

export function notFound(ids: readonly string[]): Fault {
  return new Fault('LeaseNotFound', ids.length === 1 ? `The instance ID '${ids[0]}' does not exist` : `The instance IDs '${ids.join(', ')}' do not exist`);
}

/** Locks the named leases; a missing or foreign one fails the call before anything is written. */
export async function lockNamed(tx: Queryable, caller: Caller, ids: readonly string[]): Promise<Map<string, LockedLease>> {
  const leases = new Map((await tx.query(lockLeases, [ids, accountOf(caller)])).map((l) => [l.id, l]));
  const missing = ids.filter((id) => !leases.has(id));
  if (missing.length > 0) throw notFound(missing);
  return leases;
}
