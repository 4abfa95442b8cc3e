/** Leases that are started and stopped, through whichever door. A stopped lease keeps its disk, its node's room, its addresses and its end. */
import { Fault } from '../lease/faults.ts';
import { ec2State, type LeaseState } from '../lease/states.ts';
import type { LockedLease } from '../store/leases.ts';
import type { TransitionBatch, Cause } from './transitions.ts';

type Asked = Omit<Cause, 'trigger'>;

/** On its way to `Running`, or there. */
export const STARTED: readonly LeaseState[] = ['Pending', 'Starting', 'Running', 'Rebooting', 'Resuming'];

/**
 * False when there was nothing to change. Where it rests ends with its start; what is being fetched for a rest is fetched
 * once more, for a start.
 */
export function start(batch: TransitionBatch, lease: LockedLease, cause: Asked): boolean {
  const rested = lease.target;
  if (rested !== null) {
    lease.target = null;
    batch.note(lease, {});
  }
  switch (lease.state) {
    case 'Unpropagated':
      return rested !== 'Unpropagated' || batch.apply(lease, { ...cause, trigger: 'start' });
    case 'Propagating':
      if (rested === 'Propagated') batch.redo(lease, 'start', cause.requestId);
      return true;
    case 'Propagated':
      // On its way to Running already, unless it came to rest here.
      return batch.apply(lease, { ...cause, trigger: 'start' });
    case 'Paused':
      return batch.apply(lease, { ...cause, trigger: 'resume' });
    case 'Serialized':
      return batch.apply(lease, { ...cause, trigger: 'unserialize' });
    default:
      return false;
  }
}

/** @throws Fault StateRefused */
export function startAsked(batch: TransitionBatch, lease: LockedLease, cause: Asked): void {
  if (start(batch, lease, cause) || STARTED.includes(lease.state)) return;
  throw new Fault('StateRefused', `The instance '${lease.id}' is not in a state from which it can be started.`, [`it is ${lease.state}`]);
}

/** @throws Fault StateRefused, StopProtected */
export function stopAsked(batch: TransitionBatch, lease: LockedLease, cause: Asked): void {
  if (ec2State(lease.state, lease.running_at !== null) === 'stopped') return;
  requireStoppable(lease, cause);
  if (batch.apply(lease, { ...cause, trigger: 'shutdown' }, { reasonCode: 'Client.UserInitiatedShutdown', reason: `stopped by ${cause.who}` })) return;
  if (lease.state !== 'ShuttingDown') {
    throw new Fault('StateRefused', `The instance '${lease.id}' is not in a state from which it can be stopped.`, [`it is ${lease.state}`]);
  }
  // Who is tired of waiting for a guest that does not obey ends it now.
  if (cause.hard === true) batch.redo(lease, 'shutdown', cause.requestId, true);
}

/** Protection binds users; what administrators, the lease's time and its node bring about passes by it. @throws Fault EndProtected */
export function requireEndable(lease: LockedLease, { actor }: Pick<Asked, 'actor'>): void {
  if (!lease.end_protected || actor !== 'user' || lease.final || lease.state === 'Ending') return;
  throw new Fault('EndProtected', `The instance '${lease.id}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.`);
}

/** @throws Fault StopProtected */
export function requireStoppable(lease: LockedLease, { actor }: Pick<Asked, 'actor'>): void {
  if (!lease.stop_protected || actor !== 'user') return;
  throw new Fault('StopProtected', `The instance '${lease.id}' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.`);
}
