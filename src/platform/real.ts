/** The real clock and random source. The only file that touches the globals. */
import { randomFillSync } from 'node:crypto';
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

/** Every request takes a few random bytes for its ids; asking the system once for many costs a twentieth. */
const RESERVE_BYTES = 8192;

function createRandom(): Random {
  const reserve = Buffer.alloc(RESERVE_BYTES);
  let used = RESERVE_BYTES;
  return {
    bytes(n) {
      if (n > RESERVE_BYTES / 8) return randomFillSync(Buffer.alloc(n));
      if (used + n > RESERVE_BYTES) {
        randomFillSync(reserve);
        used = 0;
      }
      const taken = Buffer.from(reserve.subarray(used, used + n));
      // What was given away is not kept: no byte serves twice, and none can be read from the reserve later.
      reserve.fill(0, used, used + n);
      used += n;
      return taken;
    },
  };
}

export const realRandom: Random = createRandom();
