/** Signatures of requests that must not be carried out twice, known to every service. What arrives together is one statement. */
import { Fault } from '../lease/faults.ts';
import { createBatcher } from '../platform/batcher.ts';
import type { Context } from '../platform/context.ts';
import type { Db } from '../store/db.ts';
import { forgetSignatures, useSignatures } from '../store/processes.ts';
import type { Manager } from './types.ts';

const MOST_IN_BATCH = 1_000;
const MOST_WAITING = 10_000;
/** In the table; 5 minutes at 3,000 requests a second. */
const MOST_KEPT = 1_000_000;
const FORGET_EVERY_MS = 30_000;

interface Used {
  readonly id: Buffer;
  readonly validUntil: number;
}

export function createSignatures({ ctx, db }: { readonly ctx: Context; readonly db: Db }): Manager['signatures'] {
  let forgotAt = -Infinity;
  let left = 0;
  const batcher = createBatcher<Used, boolean>({
    most: MOST_IN_BATCH,
    mostWaiting: MOST_WAITING,
    full: busy,
    async run(used) {
      await forget();
      if (left > MOST_KEPT) throw busy();
      const fresh = new Set((await db.query(useSignatures, [used.map((u) => u.id), used.map((u) => new Date(u.validUntil))])).map((r) => r.id.toString('latin1')));
      left += fresh.size;
      // Of two that came together, the first has it.
      return used.map((u) => fresh.delete(u.id.toString('latin1')));
    },
  });

  async function forget(): Promise<void> {
    const now = ctx.clock.monotonic();
    if (now - forgotAt < FORGET_EVERY_MS) return;
    forgotAt = now;
    const [row] = await db.query(forgetSignatures, [new Date(ctx.clock.now())]);
    left = row?.left ?? 0;
  }

  return { use: (id, validUntil) => batcher.add({ id, validUntil }) };
}

const busy = (): Fault => new Fault('Busy', 'Too many recent requests of this kind are remembered; give the request a ClientToken, or try again later.');
