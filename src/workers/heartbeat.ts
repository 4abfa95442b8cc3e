/** Says that this process lives, once a second, and has it look at the others. */
import type { Processes } from '../manager/processes.ts';
import type { Context, Timer } from '../platform/context.ts';

const BEAT_MS = 1_000;

export function createHeartbeat(ctx: Context, processes: Processes): { start(): void; stop(): Promise<void> } {
  let timer: Timer | undefined;
  let stopped = false;
  let beating: Promise<void> = Promise.resolve();
  const arm = (): void => {
    if (stopped) return;
    timer = ctx.clock.after(BEAT_MS, () => {
      beating = processes.beat()
        .catch((e: unknown) => ctx.log.warn('the sign of life could not be written; trying again', { error: (e as Error).message }))
        .finally(arm);
    }, true);
  };
  return {
    start: arm,
    async stop() {
      stopped = true;
      timer?.cancel();
      await beating;
      await processes.leave();
    },
  };
}
