/** Slurm's words for the states of a job (squeue(1), "JOB STATE CODES", releases 20.11 to 24.11) in ours. */
import type { JobState } from '../types.ts';

const STATES: Readonly<Record<string, JobState>> = {
  PENDING: 'queued',
  REQUEUED: 'queued', REQUEUE_FED: 'queued', REQUEUE_HOLD: 'held', SPECIAL_EXIT: 'held', RESV_DEL_HOLD: 'held',
  CONFIGURING: 'starting', POWER_UP_NODE: 'starting',
  RUNNING: 'running', RESIZING: 'running', SIGNALING: 'running',
  // Its processes stand still, and are there.
  SUSPENDED: 'running', STOPPED: 'running',
  COMPLETING: 'ending', STAGE_OUT: 'ending',
  COMPLETED: 'done',
  FAILED: 'failed', OUT_OF_MEMORY: 'failed', LAUNCH_FAILED: 'failed', RECONFIG_FAIL: 'failed',
  CANCELLED: 'cancelled', REVOKED: 'cancelled',
  TIMEOUT: 'timeout', DEADLINE: 'timeout',
  PREEMPTED: 'preempted',
  NODE_FAIL: 'node-failed', BOOT_FAIL: 'node-failed',
};

/** Reasons with which a job waits for a person, not for nodes. */
const HELD = /^JobHeld(?:User|Admin)$/;

/** undefined = a word that is not known. */
export function stateOf(word: string, reason: string): JobState | undefined {
  const state = Object.hasOwn(STATES, word) ? STATES[word] : undefined;
  return state === 'queued' && HELD.test(reason) ? 'held' : state;
}
