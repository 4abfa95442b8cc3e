/**
 * Remembers signatures of requests that would do something again if repeated (a RunInstances without client token, a
 * reboot) until the signatures expire: here, and where every service on the database sees them. Both memories are bounded;
 * when one is full, such requests are refused rather than let through unguarded: a client token makes them harmless, and passes.
 */
import { Fault } from '../../lease/faults.ts';
import type { Manager } from '../../manager/types.ts';
import type { Clock } from '../../platform/context.ts';

export interface ReplayGuard {
  /** @throws Fault RequestExpired when this signature was used before; Busy, Unavailable */
  use(signatureId: string, validUntil: number): Promise<void>;
}

const MAX_SIGNATURES = 100_000;

export function createReplayGuard(clock: Clock, shared: Manager['signatures'], max = MAX_SIGNATURES): ReplayGuard {
  const used = new Map<string, number>();
  /** No signature expires before this time, so sweeping earlier frees nothing. */
  let nextExpiry = Infinity;
  const sweep = (now: number): void => {
    nextExpiry = Infinity;
    for (const [id, until] of used) {
      if (until < now) used.delete(id);
      else nextExpiry = Math.min(nextExpiry, until);
    }
  };
  return {
    async use(signatureId, validUntil) {
      const now = clock.now();
      if (used.has(signatureId)) throw replayed();
      if (used.size >= max && nextExpiry < now) sweep(now);
      if (used.size >= max) throw new Fault('Busy', 'Too many recent requests of this kind are remembered; give the request a ClientToken, or try again later.');
      used.set(signatureId, validUntil);
      nextExpiry = Math.min(nextExpiry, validUntil);
      if (!await shared.use(Buffer.from(signatureId, 'latin1'), validUntil)) throw replayed();
    },
  };
}

const replayed = (): Fault => new Fault('RequestExpired', 'This very request was received before and is not carried out twice: sign it anew, or give it a ClientToken.');
