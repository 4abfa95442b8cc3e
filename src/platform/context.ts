/**
 * What every floor gets instead of reaching for globals: clock, random, log. Nothing outside `src/platform/` (and the
 * programs that run alone on nodes) calls `Date.now()`, `Math.random()` or a timer, so that a whole site can run on
 * virtual time from one seed.
 */
import type { Meter } from './meter.ts';

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall clock, ms since the epoch. */
  now(): number;
  /** Never goes back; ms from an arbitrary start, with fractions. */
  monotonic(): number;
  /** Runs `fn` once after `ms`. Does not keep the process alive by itself when `background` is true. */
  after(ms: number, fn: () => void, background?: boolean): Timer;
}

export interface Random {
  bytes(n: number): Buffer;
}

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Guard for messages that cost something to build. */
  readonly debugging: boolean;
  /** A log that adds `fields` (request id, node, lease) to every line. */
  child(fields: LogFields): Log;
}

export interface Context {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Where what happens is counted; without one it is not. */
  readonly meter?: Meter;
}
