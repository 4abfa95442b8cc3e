/** Whose leases change what counts for policies. */
import type { Queryable } from '../store/db.ts';
import { holdUse } from '../store/policies.ts';

/**
 * Before leases of these accounts give up what they have, or reserve another time: each row of them changes what its account has, and
 * of several everybody locks in one order. A single account is locked by the first of its leases.
 */
export async function lockUse(tx: Queryable, accountIds: readonly number[]): Promise<void> {
  const accounts = [...new Set(accountIds)];
  if (accounts.length > 1) await tx.query(holdUse, [accounts]);
}
