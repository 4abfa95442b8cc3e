/** How a placement becomes a node: the one thing in which the scheduler's modes differ. */
import type { Fault } from '../../lease/faults.ts';
import type { Queryable } from '../../store/db.ts';
import type { Place, PlacedGroup, PlannedSlot } from '../planned.ts';
import type { Placeable } from '../resolved.ts';

export interface Asked {
  readonly request: Placeable;
  /** Leases that it gets at most. */
  readonly maxCount: number;
  /** Where policies allow them; null = anywhere. */
  readonly zones: readonly string[] | null;
}

export interface Placed {
  /** Of each request, in launch index order, between its counts. */
  readonly places: ReadonlyArray<readonly Place[]>;
  readonly slot?: PlannedSlot;
}

export interface Placer {
  /** Zones that there are, as far as this process knows. */
  zones(): readonly string[];
  /** Before a batch. */
  ready(): Promise<void>;
  /** What this process believes about room may be wrong. */
  invalidate(): void;
  /** Inside a batch's transaction, before its first plan. */
  open(tx: Queryable): Promise<void>;
  /** Plans the requests of one order, all or none; what they take counts for the next until `giveBack`. */
  place(asked: readonly Asked[]): Promise<Placed | Fault>;
  giveBack(order: readonly Placeable[], placed: Placed): void;
  /** Inside the transaction: what was planned is held against the rows and written. @throws RoomTaken */
  reserve(tx: Queryable, planned: readonly PlacedGroup[], now: number): Promise<void>;
}

/** Another process was faster; the batch is planned anew. */
export class RoomTaken extends Error {}
