/** Waits of any length: of the agent's and the pilot's clock, and of the service's. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { realClock as agents } from '../../../src/control/agent/clock.ts';
import { realClock as services } from '../../../src/platform/real.ts';

const DAY_MS = 24 * 3_600_000;

beforeEach(() => { vi.useFakeTimers(); });
afterEach(() => { vi.useRealTimers(); });

describe.each([['agent', agents], ['service', services]])('the clock of the %s', (_of, clock) => {
  it.each([0, 1, 1_000, 0x7fffffff - 1, 0x7fffffff, 0x80000000, 30 * DAY_MS, 90 * DAY_MS])('waits %i ms, and not less', (ms) => {
    const fired: number[] = [];
    const begun = Date.now();
    clock.after(ms, () => fired.push(Date.now() - begun));
    vi.advanceTimersByTime(Math.max(0, ms - 1));
    if (ms > 0) expect(fired).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(fired).toEqual([ms]);
  });

  it('what is cancelled in its second piece never fires', () => {
    let fired = false;
    const timer = clock.after(30 * DAY_MS, () => { fired = true; });
    vi.advanceTimersByTime(26 * DAY_MS);
    timer.cancel();
    vi.advanceTimersByTime(10 * DAY_MS);
    expect(fired).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });
});
