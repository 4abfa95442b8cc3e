/** The end of a preemptible lease that others displace: what it is called, and until when its guest has time. */
import type { Config } from '../platform/config.ts';
import type { LockedLease } from '../store/leases.ts';
import type { Outcome } from './transitions.ts';

export const PREEMPTED = 'Server.SpotInstanceTermination';

/** How long after its guest's time a lease may still hold its room: a node that answers has ended a guest that does not obey by then; half a minute more is for the way. */
export const endedWithinMs = ({ control }: Pick<Config, 'control'>): number => control.operation_deadline_ms + 30_000;

/** With these the batch system takes a node for jobs that stand above. */
const BY_BATCH_SYSTEM: ReadonlySet<string> = new Set(['Server.BatchSystemPreempted', 'Server.BatchJobPreempted', 'Server.BatchJobRequeued']);

export const isDisplaced = (lease: Pick<LockedLease, 'spot'>, code: string): boolean => lease.spot && BY_BATCH_SYSTEM.has(code);

/** As the lease's user is told. */
export function endOf(lease: Pick<LockedLease, 'spot'>, { code, reason }: { readonly code: string; readonly reason: string }): Outcome {
  return isDisplaced(lease, code) ? { reasonCode: PREEMPTED, reason: `${PREEMPTED}: ${reason}` } : { reasonCode: code, reason };
}
