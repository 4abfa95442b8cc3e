/**
 * The agent's time. The shape is that of the service's clock (`src/platform/context.ts`), which this program, alone on a
 * node, does not import. The only file of the agent that touches the globals.
 */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall clock, ms since the epoch. */
  now(): number;
  /** Never goes back; ms from an arbitrary start. */
  monotonic(): number;
  /** Runs `fn` once after `ms`. A background timer does not keep the program alive. */
  after(ms: number, fn: () => void, background?: boolean): Timer;
}

/** setTimeout fires at once beyond this, 24.8 days, which a pilot's time may well be; longer waits are cut into pieces. */
const LONGEST_TIMER_MS = 0x7fffffff;

export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fn, background = false) {
    let handle: NodeJS.Timeout;
    const arm = (left: number): void => {
      handle = setTimeout(() => (left > LONGEST_TIMER_MS ? arm(left - LONGEST_TIMER_MS) : fn()), Math.min(left, LONGEST_TIMER_MS));
      if (background) handle.unref();
    };
    arm(Math.max(0, ms));
    return { cancel: () => clearTimeout(handle) };
  },
};

export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.after(ms, resolve));
}

/** Settles as `work` does, or rejects with `late()` after `ms`; `work` itself goes on. */
export function within<T>(clock: Clock, ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.after(ms, () => reject(late()));
    work.then(
      (value) => { timer.cancel(); resolve(value); },
      (e: unknown) => { timer.cancel(); reject(e instanceof Error ? e : new Error(String(e))); },
    );
  });
}
