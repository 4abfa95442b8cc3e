/** Validated chains, kept: users come again with the same one. What was kept counts until trust changes or something in it expires. */
import type { Clock } from '../../platform/context.ts';
import { LRU } from '../lru.ts';
import type { Certificate } from './certificate.ts';
import { validatePath } from './path.ts';
import type { PathRules, Trust, ValidPath } from './types.ts';

export interface Chains {
  /** @throws Fault CertificateRefused */
  validate(chain: readonly Certificate[]): ValidPath;
  /** What was found of a chain still holds. */
  holds(known: KnownPath): boolean;
  readonly generation: number;
}

export interface KnownPath {
  readonly path: ValidPath;
  readonly generation: number;
}

const MOST_CHAINS = 4_096;

export function createChains(clock: Clock, trust: Trust, rules: PathRules): Chains {
  const kept = new LRU<string, KnownPath>(MOST_CHAINS);
  const holds = (known: KnownPath): boolean => known.generation === trust.generation && clock.now() <= known.path.validUntil;
  return {
    holds,
    get generation() { return trust.generation; },
    validate(chain) {
      const key = chain.map((c) => c.fingerprint).join(' ');
      const before = kept.get(key);
      if (before !== undefined && holds(before)) return before.path;
      const known = { path: validatePath(chain, trust, rules, clock.now()), generation: trust.generation };
      kept.set(key, known);
      return known.path;
    },
  };
}
