/** The words of authorization; see README.md. */
import type { FaultCode } from '../lease/faults.ts';
import type { BoundName, Bounds, PolicyKind } from './settings.ts';

export interface Policy {
  readonly name: string;
  readonly kind: PolicyKind;
  readonly bounds: Bounds;
}

/** Grows as orders of one batch are granted. */
export interface Use {
  leases: number;
  cores: number;
  memoryMb: number;
  /** Of leases that hold room. */
  reservedMinutes: number;
}

export interface Applied {
  readonly policy: Policy;
  /** Shared by policies that count the same leases. */
  readonly use: Use;
  /** Charged in the policy's period. */
  readonly closedMinutes: number;
  /** Used so far by leases that are not charged yet, at most what they have reserved; null = not looked up, and no more than that. */
  readonly runningMinutes: number | null;
}

/** One group of what is asked, or one lease that shall end later. */
export interface AskPart {
  /** Leases that it must get, and those that it gets if there is room for them. */
  readonly minCount: number;
  readonly maxCount: number;
  /** Of one lease. */
  readonly cores: number;
  readonly memoryMb: number;
  /** What one lease would reserve; of an extension: beyond what it has reserved. */
  readonly minutes: number;
  /** From the lease's beginning to its end. */
  readonly durationS: number;
  readonly image: { readonly id: string; readonly name: string; /** null = common */ readonly owner: string | null };
  readonly networks: readonly string[];
  /** null = any */
  readonly zone: string | null;
  readonly type: string;
}

export interface Ask {
  readonly kind: 'create' | 'extend';
  /** Name of the user. */
  readonly user: string;
  readonly parts: readonly [AskPart, ...AskPart[]];
  /** Zones that the site has. */
  readonly zones: readonly string[];
}

export type Value = number | boolean | string | readonly string[];

/** What a rule has to say of one ask. */
export interface Verdict {
  readonly limit: Value;
  /** null = the bound counts nothing. */
  readonly used: number | null;
  readonly asked: Value;
  readonly ok: boolean;
}

export interface Check extends Verdict {
  readonly policy: string;
  readonly bound: BoundName;
}

export interface Rule {
  readonly bound: BoundName;
  readonly fault: Extract<FaultCode, 'TooMany' | 'DurationRefused' | 'NotAuthorized'>;
  /** What values are measured in, for sentences. */
  readonly unit?: 'seconds' | 'MiB' | 'minutes';
  /** Undefined: the policy does not bound it, or what is asked has nothing to do with it. */
  check(applied: Applied, ask: Ask): Verdict | undefined;
}

/** A rule on what can be counted; it also bounds how many of "up to so many" are given. */
export interface CountingRule extends Rule {
  /** What is left and what one lease of a part takes of it; undefined: not bounded. */
  left(applied: Applied): number | undefined;
  each(part: AskPart): number;
}
