/** A request between its plan and its commit. */
import type { Nic } from '../lease/types.ts';
import type { ResolvedRequest } from './resolve.ts';

export interface PlannedLease {
  readonly id: string;
  readonly intentId: string;
  readonly nodeId: number;
  readonly zone: string;
  readonly nics: Nic[];
}

export interface Planned {
  readonly request: ResolvedRequest;
  /** Place in its batch. */
  readonly index: number;
  readonly groupId: string;
  readonly leases: readonly PlannedLease[];
}

/** Room that the plans take, per node. */
export function room(planned: readonly Planned[]): Map<number, { memory: number; cores: number }> {
  const use = new Map<number, { memory: number; cores: number }>();
  for (const { request, leases } of planned) {
    for (const { nodeId } of leases) {
      const sum = use.get(nodeId) ?? { memory: 0, cores: 0 };
      use.set(nodeId, { memory: sum.memory + request.resources.memoryMb, cores: sum.cores + request.resources.cores });
    }
  }
  return use;
}
