/** What is over is kept for as long as the configuration says, then removed: a batch of each kind in a transaction of its own. */
import type { Statement } from '../store/db.ts';
import {
  mayPrune, pruneEnsembles, pruneImageOrders, pruneLeases, pruneSlots, pruneSpotRequests, pruneUsage, whatIsOld, type Old, type PrunedRows,
} from '../store/retention.ts';
import type { ManagerDeps } from './deps.ts';

/** Rows that one transaction removes, as many as are removed in some ten milliseconds. */
const BATCH = 200;
const NOTHING: Old = { leases: false, ensembles: false, orders: false, spot: false, slots: false, usage: false };

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
  const before = (seconds: number): Date | null => (seconds === 0 ? null : new Date(now - seconds * 1000));
  // What is still shown is still there.
  const leasesBefore = before(retention.leases === 0 ? 0 : Math.max(retention.leases, ec2.terminated_visible));
  const [madeBefore, slotsBefore, usageBefore] = [before(retention.leases), before(retention.slots), before(retention.usage)];
  const batch = (kind: Statement<PrunedRows>, old: Date | null): Promise<number> => db.transaction(async (tx) => {
    if ((await tx.query(mayPrune))[0]?.may !== true) return 0;
    return (await tx.query(kind, [old, BATCH]))[0]?.pruned ?? 0;
  });
  // Most of the time there is nothing, and one question finds it out.
  const look = async (): Promise<Old> => (await db.query(whatIsOld, [leasesBefore, madeBefore, slotsBefore, usageBefore]))[0] ?? NOTHING;
  const first = await look();
  const leases = first.leases ? await batch(pruneLeases, leasesBefore) : 0;
  // What leases referred to may be old with them.
  const is = leases > 0 ? await look() : first;
  if (is.ensembles) await batch(pruneEnsembles, madeBefore);
  if (is.orders) await batch(pruneImageOrders, madeBefore);
  if (is.spot) await batch(pruneSpotRequests, madeBefore);
  const slots = is.slots ? await batch(pruneSlots, slotsBefore) : 0;
  const usage = is.usage ? await batch(pruneUsage, usageBefore) : 0;
  return { leases, slots, usage, more: leases >= BATCH || slots >= BATCH || usage >= BATCH };
}
