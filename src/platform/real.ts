/** The real clock and random source. The only file that touches the globals. */
import { randomBytes } from 'node:crypto';
import type { Clock, Random } from './context.ts';

/** setTimeout fires at once beyond this; longer waits are cut into pieces. */
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

export const realRandom: Random = { bytes: (n) => randomBytes(n) };
