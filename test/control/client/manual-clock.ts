/** A clock that moves when the test says so, and lets streams and promises run between its timers. */
import type { Clock } from '../../../src/platform/context.ts';

export interface ManualClock extends Clock {
  /** Goes forward, calling what falls due in order. */
  advance(ms: number): Promise<void>;
  /** Goes forward without calling anything: the process was stopped. */
  jump(ms: number): void;
}

export function manualClock(): ManualClock {
  let time = 0;
  const timers = new Set<{ at: number; fn: () => void }>();
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 5; i += 1) await turn();
  };
  return {
    now: () => 1_700_000_000_000 + time,
    monotonic: () => time,
    after(ms, fn) {
      const timer = { at: time + ms, fn };
      timers.add(timer);
      return { cancel: () => timers.delete(timer) };
    },
    async advance(ms) {
      const end = time + ms;
      await settle();
      for (;;) {
        const due = [...timers].filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers.delete(due);
        time = Math.max(time, due.at);
        due.fn();
        await settle();
      }
      time = Math.max(time, end);
    },
    jump(ms) { time += ms; },
  };
}
