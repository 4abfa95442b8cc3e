/** A request between its plan and its commit. */
import type { Nic } from '../lease/types.ts';
import type { Placeable, ResolvedRequest } from './resolved.ts';

export interface PlannedLease {
  readonly id: string;
  readonly place: Place;
  readonly nics: Nic[];
  /** Of a preemptible lease: its request. */
  readonly spotId?: string;
}

/** Where a lease goes: a node of the service's own, or a node of a batch job that has yet to run. */
export type Place = { readonly zone: string } & (
  | { readonly kind: 'owned'; readonly nodeId: number; readonly intentId: string }
  /** `ordinal`: which node of the slot; `slotNodeId` is known once its row is written. */
  | { readonly kind: 'borrowed'; readonly ordinal: number; slotNodeId: number | null }
  /** Nowhere yet: it waits for its ensemble, until then. */
  | { readonly kind: 'gathered'; until: number }
);

export interface Planned {
  readonly request: ResolvedRequest;
  readonly groupId: string;
  readonly leases: readonly PlannedLease[];
  /** The batch job that the leases wait for; groups of an ensemble share one. */
  readonly slot?: PlannedSlot;
  /** Of grid clients' groups. */
  readonly gridKey?: string;
  readonly ensembleId?: string | null;
}

/** A group as placing sees it. */
export type PlacedGroup = Pick<Planned, 'leases' | 'slot'> & { readonly request: Placeable };

export interface PlannedSlot {
  readonly id: string;
  readonly parts: ReadonlyArray<{ readonly nodes: number; readonly memoryMb: number; readonly cores: number }>;
  readonly nodes: ReadonlyArray<{ readonly part: number; readonly memoryMb: number; readonly cores: number }>;
  readonly secret: string;
  readonly nonce: string;
}
