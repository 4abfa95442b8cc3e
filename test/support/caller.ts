/** Callers for tests of use cases. */
import type { Caller } from '../../src/manager/types.ts';

export const callerOf = (accountId: number, facts: Partial<Caller> = {}): Caller => ({
  accountId, name: `user-${accountId}`, ownerId: String(accountId).padStart(12, '0'), requestId: 'request-1', door: 'ec2', admin: false, ...facts,
});
