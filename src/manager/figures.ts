/** The state of the site in figures, as the table has it: the same whichever of several services is asked. */
import type { Context } from '../platform/context.ts';
import type { Db } from '../store/db.ts';
import {
  intentFigures, leaseFigures, nodeFigures, poolFigures, sinkFigures, slotFigures,
  type IntentFigureRow, type LeaseFigureRow, type NodeFigureRow, type PoolFigureRow, type SinkFigureRow, type SlotFigureRow,
} from '../store/figures.ts';

export interface SiteFigures {
  readonly leases: readonly LeaseFigureRow[];
  readonly intents: readonly IntentFigureRow[];
  readonly nodes: readonly NodeFigureRow[];
  readonly pools: readonly PoolFigureRow[];
  readonly slots: readonly SlotFigureRow[];
  readonly sinks: readonly SinkFigureRow[];
}

/** One after the other: who only looks on takes one connection of those that serve users. */
export async function siteFigures({ clock }: Pick<Context, 'clock'>, db: Db): Promise<SiteFigures> {
  const leases = await db.query(leaseFigures);
  const intents = await db.query(intentFigures, [new Date(clock.now())]);
  const nodes = await db.query(nodeFigures);
  const pools = await db.query(poolFigures);
  const slots = await db.query(slotFigures);
  const sinks = await db.query(sinkFigures);
  return { leases, intents, nodes, pools, slots, sinks };
}
