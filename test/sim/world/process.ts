/** A simulated process: it can be killed or stopped for a while between any two of its steps, and its clock may be wrong. */
import type { Clock } from '../../../src/platform/context.ts';
import type { Leap, VirtualTime } from './time.ts';

export class Process {
  alive = true;
  pausedUntil = 0;
  readonly clock: Clock;
  readonly #ends: Array<() => void> = [];

  /** @param machine whose wall clock it reads */
  constructor(readonly name: string, readonly time: VirtualTime, private readonly machine: { readonly clockOffset: number }) {
    this.clock = time.clockOf(this);
  }

  get clockOffset(): number {
    return this.machine.clockOffset;
  }

  /** The same clock; polls that would find nothing are leapt over. */
  leapingClock(leap: Leap): Clock {
    return this.time.clockOf(this, leap);
  }

  /** SIGKILL: what it was about to do is not done, and what it waits for never comes. */
  kill(): void {
    if (!this.alive) return;
    this.alive = false;
    for (const end of this.#ends.splice(0)) end();
  }

  /** SIGSTOP, and SIGCONT after `ms`. */
  pause(ms: number): void {
    this.pausedUntil = this.time.now + ms;
  }

  /** What its kernel does when it is gone: connections are closed, locks are free. */
  atEnd(fn: () => void): void {
    this.#ends.push(fn);
  }
}

/** Nobody is there any more to hear the answer. */
export const never = <T>(): Promise<T> => new Promise<T>(() => undefined);
