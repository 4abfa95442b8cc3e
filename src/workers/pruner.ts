/** Removes what is old, in small batches with pauses between them: nobody waits for it. */
import type { Pruned } from '../manager/retention.ts';
import type { Context, Timer } from '../platform/context.ts';

/** What is kept is kept for hours and days: half an hour more makes no difference, and each look and removal costs statements. */
const LOOK_MS = 1_800_000;
const BETWEEN_BATCHES_MS = 100;

export function createPruner(ctx: Context, prune: () => Promise<Pruned>): { start(): void; stop(): Promise<void> } {
  let timer: Timer | undefined;
  let running: Promise<void> = Promise.resolve();
  let stopped = false;

  async function look(): Promise<void> {
    try {
      const { leases, slots, usage, more } = await prune();
      if (leases + slots + usage > 0) ctx.log.info('what is old was removed', { leases, slots, usageRecords: usage });
      arm(more ? BETWEEN_BATCHES_MS : LOOK_MS);
    } catch (e) {
      ctx.log.warn('what is old could not be removed; trying again', { error: (e as Error).message });
      arm(LOOK_MS);
    }
  }

  function arm(ms: number): void {
    if (stopped) return;
    timer = ctx.clock.after(ms, () => { running = look(); }, true);
  }

  return {
    start: () => arm(LOOK_MS),
    async stop() {
      stopped = true;
      timer?.cancel();
      await running;
    },
  };
}
