/** What a spot request is: follows from its row and from the last lease that it has had (EC2 user guide, "Spot request status"). */
import { ec2State } from '../lease/states.ts';
import type { SpotRequestRow } from '../store/spot.ts';

export type SpotState = 'open' | 'active' | 'disabled' | 'closed' | 'cancelled' | 'failed';

export interface SpotStanding {
  readonly state: SpotState;
  readonly code: string;
  readonly message: string;
  /** ms */
  readonly at: number;
}

type Facts = Pick<SpotRequestRow, 'persistent' | 'launches' | 'valid_from' | 'valid_until' | 'cancelled_at' | 'failed_at' | 'status_code' | 'status_message' | 'status_at'
  | 'created_at' | 'lease_id' | 'lease_final' | 'lease_state' | 'lease_ran' | 'lease_placed' | 'lease_preempted_at' | 'lease_preempt_ends_at' | 'lease_reason_code' | 'lease_reason' | 'lease_created_at' | 'lease_ended_at'>;

export function spotStanding(r: Facts, now: number): SpotStanding {
  if (r.failed_at !== null) return { state: 'failed', code: r.status_code, message: r.status_message, at: r.failed_at };
  if (r.lease_id !== null && r.lease_final === false) return hasNode(r) ? running(r) : waiting(r);
  const ended = r.launches === 0 ? undefined : afterLease(r);
  if (r.cancelled_at !== null) return { state: 'cancelled', ...(hasNode(r) ? ended : undefined) ?? { code: 'canceled-before-fulfillment', message: 'The request was cancelled before an instance was launched for it.', at: r.cancelled_at } };
  if (ended !== undefined && !r.persistent) return { state: 'closed', ...ended };
  if (r.valid_until !== null && r.valid_until <= now) return { state: 'closed', code: 'schedule-expired', message: 'The request was not fulfilled before its time was over.', at: r.valid_until };
  if (r.valid_from !== null && r.valid_from > now) return { state: 'open', code: 'not-scheduled-yet', message: 'The request is not looked at before its time.', at: r.created_at };
  if (ended !== undefined && ended.at > r.status_at) return { state: 'open', ...ended };
  return { state: 'open', code: r.status_code, message: r.status_message, at: r.status_at };
}

/** A lease that is not kept any more had one. */
export const hasNode = ({ lease_placed: placed }: Pick<Facts, 'lease_placed'>): boolean => placed !== false;

function running(r: Facts): SpotStanding {
  const state = r.cancelled_at === null ? 'active' : 'cancelled';
  if (r.lease_preempted_at !== null) return { state, code: 'marked-for-termination', message: `Others need the room: the instance is being ended${until(r)}.`, at: r.lease_preempted_at };
  if (r.cancelled_at !== null) return { state, code: 'request-canceled-and-instance-running', message: 'The request was cancelled; its instance runs on.', at: r.cancelled_at };
  if (r.lease_state !== null && ec2State(r.lease_state, r.lease_ran === true) === 'stopped') return { state: 'disabled', code: 'instance-stopped-by-user', message: 'The instance was stopped by its user.', at: r.lease_created_at ?? r.status_at };
  return { state, code: 'fulfilled', message: 'The request has its instance.', at: r.lease_created_at ?? r.status_at };
}

const until = ({ lease_preempted_at: from, lease_preempt_ends_at: to }: Facts): string => (to !== null && to > (from ?? to) ? `; its guest has until ${new Date(to).toISOString()} to power down` : '');

/** In the batch system's queue: what EC2 calls fulfilled has a machine. */
const waiting = (r: Facts): SpotStanding =>
  ({ state: 'open', code: 'pending-fulfillment', message: 'The instance waits for a node of the batch system.', at: r.lease_created_at ?? r.status_at });

function afterLease(r: Facts): Omit<SpotStanding, 'state'> {
  const at = r.lease_ended_at ?? r.status_at;
  if (r.lease_preempted_at !== null) return { code: 'instance-terminated-no-capacity', message: 'The instance was ended because others needed its room.', at };
  if (!hasNode(r)) return neverPlaced(r, at);
  if (r.lease_reason_code === 'Server.LeaseExpired') return { code: 'instance-terminated-by-schedule', message: 'The time of the instance is over.', at };
  if (r.lease_reason_code?.startsWith('Server.') === true) return { code: 'instance-terminated-by-service', message: 'The instance was ended by the service, or failed.', at };
  return { code: 'instance-terminated-by-user', message: 'The instance was ended by its user.', at };
}

function neverPlaced(r: Facts, at: number): Omit<SpotStanding, 'state'> {
  const message = r.lease_reason ?? 'The instance ended before it had a node.';
  if (r.lease_reason_code === SCHEDULE_OVER || r.lease_reason_code === 'Server.PendingTimeout') return { code: 'schedule-expired', message, at };
  if (r.lease_reason_code?.startsWith('Server.') === true) return { code: 'system-error', message, at };
  return { code: 'instance-terminated-by-user', message: 'The instance was ended by its user.', at };
}

/** Of a lease that waited for a node until its request's time was over. */
export const SCHEDULE_OVER = 'Server.SpotScheduleExpired';
