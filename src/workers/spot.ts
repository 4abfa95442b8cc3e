/** Gives spot requests their leases when there is room. */
import type { Context, Timer } from '../platform/context.ts';

const LOOK_MS = 1_000;

export function createSpotWorker(ctx: Context, tend: () => Promise<number>): { start(): void; stop(): Promise<void> } {
  let timer: Timer | undefined;
  let running: Promise<void> = Promise.resolve();
  let stopped = false;

  async function look(): Promise<void> {
    try {
      const given = await tend();
      if (given > 0) ctx.log.info('spot requests were fulfilled', { requests: given });
    } catch (e) {
      ctx.log.warn('spot requests could not be tried; trying again', { error: (e as Error).message });
    }
    arm();
  }

  function arm(): void {
    if (!stopped) timer = ctx.clock.after(LOOK_MS, () => { running = look(); }, true);
  }

  return {
    start: arm,
    async stop() {
      stopped = true;
      timer?.cancel();
      await running;
    },
  };
}
