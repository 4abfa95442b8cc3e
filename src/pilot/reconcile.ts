/**
 * What the batch system's list says, held against what the table says. Pure. A slot is believed to be gone when the list
 * says how its job ended, or when two lists in a row, both asked for after the slot's last own step, do not have it.
 */
import type { JobState, JobView } from './lrm/types.ts';
import type { SlotState } from './states.ts';

/** What is written of a job whose slot stays in its state. */
export interface JobFacts {
  readonly jobId: string | null;
  readonly nativeState: string | null;
  readonly position: number | null;
  readonly reason: string | null;
  readonly expectedStart: number | null;
  readonly hosts: readonly string[];
  readonly missingPolls: number;
}

/** A live slot, with what was written of its job. */
export interface KnownSlot extends JobFacts {
  readonly id: string;
  readonly state: SlotState;
  /** When its submission was begun, and when it was let go, ms. */
  readonly submittedAt: number | null;
  readonly releasedAt: number | null;
}

export interface Reconciliation {
  /** Slots of which only facts changed. */
  readonly notes: ReadonlyArray<{ readonly id: string; readonly facts: JobFacts }>;
  /** Slots that take a step. */
  readonly steps: ReadonlyArray<{ readonly id: string; readonly facts: JobFacts; readonly step: Step }>;
  /** Live jobs under the name of a slot whose own job is another, which is listed too: a submission that was believed lost was not. */
  readonly strays: ReadonlyArray<{ readonly slotId: string; readonly jobId: string }>;
  /** What the list says and cannot be. */
  readonly ignored: ReadonlyArray<{ readonly id: string; readonly why: string }>;
}

export type Step =
  | { readonly trigger: 'submitted' | 'running' | 'not-submitted' }
  | { readonly trigger: 'requeued'; readonly code: string; readonly reason: string }
  | { readonly trigger: 'gone'; readonly code: string | null; readonly reason: string | null };

/** Polls without a job after which it is gone. */
export const POLLS_TO_GO = 2;

const OVER: Readonly<Partial<Record<JobState, string>>> = {
  done: 'Server.BatchJobEnded', failed: 'Server.BatchJobFailed', cancelled: 'Server.BatchJobCancelled', timeout: 'Server.BatchJobTimeout',
  preempted: 'Server.BatchJobPreempted', 'node-failed': 'Server.BatchNodeFailed',
};
const HOW: Readonly<Partial<Record<JobState, string>>> = {
  done: 'has ended', failed: 'has failed', cancelled: 'was deleted', timeout: 'has run out of its time', preempted: 'was preempted', 'node-failed': 'has lost a node',
};

/** The batch system still has to do something about it. */
export const jobLives = (s: JobState): boolean => s === 'queued' || s === 'held' || s === 'starting' || s === 'running';

/**
 * @param jobs of a slot several, where several bear its name; the first is the likeliest
 * @param askedAt when the list was asked for, ms
 * @param unclear slots of which this list says nothing that can be believed: their submission is under way, or their lines were not to be read
 */
export function reconcile(slots: readonly KnownSlot[], jobs: readonly JobView[], askedAt: number, unclear: ReadonlySet<string>): Reconciliation {
  const byId = new Map<string, JobView[]>();
  for (const j of jobs) {
    const same = byId.get(j.slotId);
    if (same === undefined) byId.set(j.slotId, [j]);
    else same.push(j);
  }
  const notes: Array<Reconciliation['notes'][number]> = [];
  const steps: Array<Reconciliation['steps'][number]> = [];
  const strays: Array<Reconciliation['strays'][number]> = [];
  const ignored: Array<Reconciliation['ignored'][number]> = [];
  for (const slot of slots) {
    const named = byId.get(slot.id) ?? [];
    const job = slot.jobId === null ? named[0] : named.find((j) => j.jobId === slot.jobId);
    for (const other of slot.jobId === null ? [] : named.filter((j) => j !== job)) {
      ignored.push({ id: slot.id, why: `the list has job ${other.jobId} under its name, but its job is ${slot.jobId}` });
      if (job !== undefined && jobLives(other.state)) strays.push({ slotId: slot.id, jobId: other.jobId });
    }
    if (job === undefined && unclear.has(slot.id)) continue;
    const facts = job === undefined ? { ...factsOf(slot), missingPolls: missing(slot, askedAt) } : jobFacts(job);
    const step = job === undefined ? absent(slot, facts.missingPolls, askedAt) : present(slot, job);
    if (step !== undefined) steps.push({ id: slot.id, facts, step });
    else if (differ(slot, facts)) notes.push({ id: slot.id, facts });
  }
  return { notes, steps, strays, ignored };
}

function present(slot: KnownSlot, job: JobView): Step | undefined {
  const code = OVER[job.state];
  const words = job.reason === null ? '' : `: ${job.reason}`;
  if (code !== undefined) {
    return slot.state === 'Releasing' ? { trigger: 'gone', code: null, reason: null }
      : { trigger: 'gone', code, reason: `the batch system’s job ${job.jobId} ${HOW[job.state] ?? 'is over'} (${job.native})${words}` };
  }
  const waits = job.state === 'queued' || job.state === 'held';
  if (waits && (slot.state === 'Starting' || slot.state === 'Ready') && job.requeued) {
    return { trigger: 'requeued', code: 'Server.BatchJobRequeued', reason: `the batch system has put job ${job.jobId} back into its queue${words}` };
  }
  if ((slot.state === 'Submitting' || slot.state === 'Requested') && waits) return { trigger: 'submitted' };
  if (job.state === 'running' && (slot.state === 'Requested' || slot.state === 'Submitting' || slot.state === 'Queued')) return { trigger: 'running' };
  return undefined;
}

function absent(slot: KnownSlot, missingPolls: number, askedAt: number): Step | undefined {
  if (slot.state === 'Requested') return undefined;
  if (slot.state === 'Releasing') return askedAt > (slot.releasedAt ?? 0) ? { trigger: 'gone', code: null, reason: null } : undefined;
  if (missingPolls < POLLS_TO_GO) return undefined;
  if (slot.state === 'Submitting') return { trigger: 'not-submitted' };
  return { trigger: 'gone', code: 'Server.BatchJobLost', reason: `the batch system no longer knows job ${slot.jobId ?? slot.id}` };
}

/** A list that was asked for before the slot was submitted cannot have it. */
const missing = (slot: KnownSlot, askedAt: number): number =>
  (slot.state === 'Requested' || askedAt <= (slot.submittedAt ?? 0) ? 0 : slot.missingPolls + 1);

const factsOf = (s: KnownSlot): JobFacts => ({
  jobId: s.jobId, nativeState: s.nativeState, position: s.position, reason: s.reason, expectedStart: s.expectedStart, hosts: s.hosts, missingPolls: s.missingPolls,
});
const jobFacts = (j: JobView): JobFacts => ({
  jobId: j.jobId, nativeState: j.native, position: j.position, reason: j.reason, expectedStart: j.expectedStart, hosts: j.hosts, missingPolls: 0,
});

function differ(slot: KnownSlot, f: JobFacts): boolean {
  return slot.jobId !== f.jobId || slot.nativeState !== f.nativeState || slot.position !== f.position || slot.reason !== f.reason
    || slot.expectedStart !== f.expectedStart || slot.missingPolls !== f.missingPolls
    || slot.hosts.length !== f.hosts.length || slot.hosts.some((h, i) => h !== f.hosts[i]);
}
