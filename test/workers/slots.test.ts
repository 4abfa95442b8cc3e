import { expect, it } from 'vitest';
import type { SlotWork } from '../../src/manager/slots/types.ts';
import { configSchema } from '../../src/platform/config.ts';
import { createSlotWorker, type SlotWorker, type SlotWorkerDeps } from '../../src/workers/slots.ts';
import { manualClock } from '../control/client/manual-clock.ts';
import { testContext } from '../support/context.ts';

/** Time stands still: what nobody is woken for is not done. */
function world(requested = false): { worker: SlotWorker; applied: string[]; taken: number[]; tended: () => number } {
  const applied: string[] = [];
  const taken: number[] = [];
  let tended = 0;
  const work: Partial<SlotWork> = {
    applyMessages: (ids) => Promise.resolve(void applied.push(...ids ?? [])),
    due: () => Promise.resolve({ tend: [], requested, returning: false }),
    takeRequested: (most) => Promise.resolve([]).finally(() => { taken.push(most); }),
    releases: () => Promise.resolve({ nodes: [], cancels: [], shrinks: [] }).finally(() => { tended += 1; }),
  };
  const deps = { ctx: testContext({ clock: manualClock() }), config: configSchema.parse({}), work, contacts: () => [], ca: undefined };
  return { worker: createSlotWorker(deps as unknown as SlotWorkerDeps), applied, taken, tended: () => tended };
}

async function microtasks(count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await Promise.resolve();
}
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('whoever is heard while the last words are applied has his applied too, at whatever moment that is', async () => {
  for (let moment = 0; moment < 20; moment += 1) {
    const { worker, applied } = world();
    worker.heard(['a']);
    await microtasks(moment);
    worker.heard(['b']);
    await settled();
    expect(applied, `after ${moment} microtasks`).toEqual(['a', 'b']);
    await worker.stop();
  }
});

it('what is written while slots are looked after is looked after too, at whatever moment that is', async () => {
  for (let moment = 0; moment < 20; moment += 1) {
    const { worker, tended } = world();
    worker.wake();
    await microtasks(moment);
    const before = tended();
    worker.wake();
    await settled();
    expect(tended(), `after ${moment} microtasks`).toBeGreaterThan(before);
    await worker.stop();
  }
});

it.each([[true, [8]], [false, []]])('slots are taken for submission only where some wait for it: %j', async (requested, expected) => {
  const { worker, taken } = world(requested);
  worker.wake();
  await settled();
  expect(taken).toEqual(expected);
  await worker.stop();
});
