/**
 * A bucket of tokens for each account: a request takes one, time brings them back. The account's requests beyond that are
 * refused until it has one again; those of others are not held up.
 */
import { Fault } from '../lease/faults.ts';
import type { Clock } from '../platform/context.ts';

export interface Throttle {
  /** @throws Fault Throttled */
  take(accountId: number): void;
}

interface Bucket {
  tokens: number;
  at: number;
}

const MOST_BUCKETS = 10_000;

/** `rate`: requests a second; `burst`: how many at once after a rest. */
export function createThrottle(clock: Clock, { rate, burst, most = MOST_BUCKETS }: { rate: number; burst: number; most?: number }): Throttle {
  const buckets = new Map<number, Bucket>();
  const tokensAt = (b: Bucket, now: number): number => Math.min(burst, b.tokens + (now - b.at) * rate / 1000);
  const makeRoom = (now: number): void => {
    // A full bucket is what a new one would be.
    for (const [id, b] of buckets) if (tokensAt(b, now) >= burst) buckets.delete(id);
    if (buckets.size >= most) buckets.delete(buckets.keys().next().value as number);
  };
  return {
    take(accountId) {
      const now = clock.monotonic();
      const before = buckets.get(accountId);
      if (before === undefined && buckets.size >= most) makeRoom(now);
      const tokens = before === undefined ? burst : tokensAt(before, now);
      const enough = tokens >= 1;
      buckets.set(accountId, { tokens: enough ? tokens - 1 : tokens, at: now });
      if (!enough) throw new Fault('Throttled', `Request limit exceeded: this account may send ${rate} requests a second, ${burst} at once.`);
    },
  };
}
