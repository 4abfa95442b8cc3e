/** Whether what works in the background still does: each worker says so after every turn that succeeded. */
import type { Clock } from './context.ts';

export interface Pulses {
  /** Has the worker watched from now on; its turns may be so far apart. Returns what it calls after each. */
  watch(worker: string, withinMs: number): () => void;
  /** Sentences on workers that have not been heard of for too long. */
  missing(): string[];
}

export function createPulses(clock: Clock): Pulses {
  const workers = new Map<string, { withinMs: number; beat: number }>();
  return {
    watch(worker, withinMs) {
      const entry = { withinMs, beat: clock.monotonic() };
      workers.set(worker, entry);
      return () => { entry.beat = clock.monotonic(); };
    },
    missing: () => [...workers].flatMap(([worker, { withinMs, beat }]) => {
      const ms = clock.monotonic() - beat;
      return ms <= withinMs ? [] : [`the ${worker} has finished no turn for ${Math.round(ms / 1000)} s`];
    }),
  };
}
