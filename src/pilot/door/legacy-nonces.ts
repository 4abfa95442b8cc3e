/**
 * Nonces for pilots of the original, which know none beforehand. A nonce says when it was made and is signed, so that those
 * who only ask cost no memory; what was used is remembered as long as a nonce lives. After a restart older ones are stale.
 */
import { createHmac } from 'node:crypto';
import type { Context } from '../../platform/context.ts';
import { sameText } from './digest.ts';

export interface LegacyNonces {
  issue(): string;
  /** False: not ours, or too old; its user must answer a new one. */
  isFresh(nonce: string): boolean;
  /** `replayed`: this counter, or a higher one, was used with the nonce before. `full`: too many nonces are in use. */
  use(nonce: string, nc: number): 'used' | 'replayed' | 'full';
}

const LIFE_MS = 5 * 60_000;
const MOST_USED = 65_536;
const MADE = 12;

export function createLegacyNonces({ clock, random }: Pick<Context, 'clock' | 'random'>): LegacyNonces {
  const key = random.bytes(32);
  const used = new Map<string, { nc: number; readonly until: number }>();
  const sign = (text: string): string => createHmac('sha256', key).update(text).digest('hex').slice(0, 32);
  const forgetOld = (now: number): void => {
    // In the order of first use: one that is still good ends the search.
    for (const [nonce, { until }] of used) {
      if (until > now) return;
      used.delete(nonce);
    }
  };

  return {
    issue() {
      const text = Math.round(clock.monotonic()).toString(16).padStart(MADE, '0') + random.bytes(8).toString('hex');
      return text + sign(text);
    },
    isFresh(nonce) {
      if (!/^[0-9a-f]{60}$/.test(nonce)) return false;
      const text = nonce.slice(0, -32);
      return sameText(sign(text), nonce.slice(-32)) && Number.parseInt(text.slice(0, MADE), 16) > clock.monotonic() - LIFE_MS;
    },
    use(nonce, nc) {
      const now = clock.monotonic();
      forgetOld(now);
      const before = used.get(nonce);
      if (before !== undefined && nc <= before.nc) return 'replayed';
      if (before !== undefined) before.nc = nc;
      else if (used.size >= MOST_USED) return 'full';
      else used.set(nonce, { nc, until: now + LIFE_MS });
      return 'used';
    },
  };
}
