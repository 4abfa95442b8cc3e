/** Ends leases on time. */
import type { Context, Timer } from '../platform/context.ts';

const SWEEP_MS = 1_000;

/** @param beat told of each sweep that succeeded */
export function createSweeper(ctx: Context, sweep: () => Promise<number>, beat: () => void = () => undefined): { start(): void; stop(): void } {
  let timer: Timer | undefined;
  let stopped = false;
  const arm = (): void => {
    if (stopped) return;
    timer = ctx.clock.after(SWEEP_MS, () => {
      sweep()
        .then((ended) => {
          beat();
          if (ended > 0) ctx.log.info('leases ended on time', { leases: ended });
        })
        .catch((e: unknown) => ctx.log.error('leases that are due could not be ended; trying again', { error: (e as Error).message }))
        .finally(arm);
    }, true);
  };
  return {
    start: arm,
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
