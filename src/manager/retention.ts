/** What is over is kept for as long as the configuration says, then removed: a batch of each kind in a transaction of its own. */
import type { Statement } from '../store/db.ts';
import { mayPrune, pruneEnsembles, pruneImageOrders, pruneLeases, pruneSlots, pruneSpotRequests, pruneUsage, type PrunedRows } from '../store/retention.ts';
import type { ManagerDeps } from './deps.ts';

/** Rows that one transaction removes, as many as are removed in some ten milliseconds. */
const BATCH = 200;

export interface Pruned {
  readonly leases: number;
  readonly slots: number;
  readonly usage: number;
  /** There may be more. */
  readonly more: boolean;
}

export async function prune({ ctx, db, config }: Pick<ManagerDeps, 'ctx' | 'db' | 'config'>): Promise<Pruned> {
  const now = ctx.clock.now();
  const { retention, ec2 } = config;
  const batch = async (kind: Statement<PrunedRows>, seconds: number): Promise<number> => {
    if (seconds === 0) return 0;
    return db.transaction(async (tx) => {
      if ((await tx.query(mayPrune))[0]?.may !== true) return 0;
      return (await tx.query(kind, [new Date(now - seconds * 1000), BATCH]))[0]?.pruned ?? 0;
    });
  };
  // What is still shown is still there.
  const leases = await batch(pruneLeases, retention.leases === 0 ? 0 : Math.max(retention.leases, ec2.terminated_visible));
  await batch(pruneEnsembles, retention.leases);
  await batch(pruneImageOrders, retention.leases);
  await batch(pruneSpotRequests, retention.leases);
  const slots = await batch(pruneSlots, retention.slots);
  const usage = await batch(pruneUsage, retention.usage);
  return { leases, slots, usage, more: leases >= BATCH || slots >= BATCH || usage >= BATCH };
}
