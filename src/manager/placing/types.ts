/** How a placement becomes a node: the one thing in which the scheduler's modes differ. */
import type { Fault } from '../../lease/faults.ts';
import type { Queryable } from '../../store/db.ts';
import type { Place, Planned, PlannedSlot } from '../planned.ts';
import type { ResolvedRequest } from '../resolved.ts';

export interface Placed {
  /** In launch index order, between the request's counts. */
  readonly places: readonly Place[];
  readonly slot?: PlannedSlot;
}

export interface Placer {
  /** Before a batch. */
  ready(): Promise<void>;
  /** What this process believes about room may be wrong. */
  invalidate(): void;
  /** Inside a batch's transaction, before its first plan. */
  open(tx: Queryable): Promise<void>;
  /** Plans one request, at most `maxCount` leases; what it takes counts for the next until `giveBack`. */
  place(request: ResolvedRequest, maxCount: number): Promise<Placed | Fault>;
  giveBack(planned: ReadonlyArray<{ readonly request: ResolvedRequest; readonly places: readonly Place[] }>): void;
  /** Inside the transaction: what was planned is held against the rows and written. @throws RoomTaken */
  reserve(tx: Queryable, planned: readonly Planned[], now: number): Promise<void>;
}

/** Another process was faster; the batch is planned anew. */
export class RoomTaken extends Error {}
