/** The end of a preemptible lease that others displace: what it is called, and until when its guest has time. */
import type { LockedLease } from '../store/leases.ts';
import type { Outcome } from './transitions.ts';

export const PREEMPTED = 'Server.SpotInstanceTermination';

/** With these the batch system takes a node for jobs that stand above. */
const BY_BATCH_SYSTEM: ReadonlySet<string> = new Set(['Server.BatchSystemPreempted', 'Server.BatchJobPreempted', 'Server.BatchJobRequeued']);

export const isDisplaced = (lease: Pick<LockedLease, 'spot'>, code: string): boolean => lease.spot && BY_BATCH_SYSTEM.has(code);

/** As the lease's user is told. */
export function endOf(lease: Pick<LockedLease, 'spot'>, { code, reason }: { readonly code: string; readonly reason: string }): Outcome {
  return isDisplaced(lease, code) ? { reasonCode: PREEMPTED, reason: `${PREEMPTED}: ${reason}` } : { reasonCode: code, reason };
}
