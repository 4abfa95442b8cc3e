/** Of jobs under one slot's id, the one that counts. */
import type { JobState, JobView, Listing } from './types.ts';

export type Ignored = (Listing & { kind: 'listing' })['ignored'][number];

const OVER: ReadonlySet<JobState> = new Set<JobState>(['done', 'failed', 'cancelled', 'timeout', 'preempted', 'node-failed']);
export const isOver = (state: JobState): boolean => OVER.has(state);

/**
 * A submission whose answer was lost and that was made again leaves two jobs of a slot. A live one counts more than one that
 * is over, and the later more than the earlier; the other is named, and shown apart. A job id that stands twice is nobody's.
 */
export function oneEach(jobs: readonly JobView[]): { readonly jobs: readonly JobView[]; readonly others: readonly JobView[]; readonly ignored: readonly Ignored[] } {
  const others: JobView[] = [];
  const ignored: Ignored[] = [];
  const counts = new Map<string, number>();
  for (const job of jobs) counts.set(job.jobId, (counts.get(job.jobId) ?? 0) + 1);
  const bySlot = new Map<string, JobView>();
  for (const job of jobs) {
    if ((counts.get(job.jobId) ?? 0) > 1) {
      ignored.push({ slotId: job.slotId, why: `job ${job.jobId} stands in the list ${counts.get(job.jobId)} times` });
      continue;
    }
    const other = bySlot.get(job.slotId);
    const [shown, left] = other === undefined ? [job] : better(job, other) ? [job, other] : [other, job];
    bySlot.set(job.slotId, shown);
    if (left !== undefined) others.push(left);
    if (left !== undefined && !isOver(left.state)) ignored.push({ slotId: job.slotId, why: `job ${left.jobId} has the name of job ${shown.jobId} too` });
  }
  return { jobs: [...bySlot.values()], others, ignored };
}

function better(a: JobView, b: JobView): boolean {
  const over = Number(isOver(a.state)) - Number(isOver(b.state));
  return over === 0 ? numberOf(a.jobId) > numberOf(b.jobId) : over < 0;
}

const numberOf = (jobId: string): number => Number(/^\d+/.exec(jobId)?.[0] ?? 0);
