/** What a lease waits for in the batch system, and what grace it has left, in words. */
import type { LeaseView, Waiting } from './types.ts';

/** `job 123 waits at place 3 of the queue: Resources; expected to start 2026-11-22 17:40Z` */
export function waitingText(w: Waiting): string {
  if (w.jobId === null) return w.reason ?? 'not submitted yet';
  const place = w.position === null ? 'in the queue' : `at place ${w.position} of the queue`;
  const why = [w.state, w.reason].filter((t): t is string => t !== null && t !== '');
  const start = w.expectedStart === null ? '' : `; expected to start ${new Date(w.expectedStart).toISOString().slice(0, 16).replace('T', ' ')}Z`;
  return `job ${w.jobId} waits ${place}${why.length === 0 ? '' : `: ${why.join(', ')}`}${start}`;
}

/** Whole seconds until the batch system takes the node, of a lease that still has one; null = it does not. */
export function graceLeftS(lease: Pick<LeaseView, 'graceEndsAt' | 'endedAt'>, now: number): number | null {
  if (lease.graceEndsAt === null || lease.endedAt !== null) return null;
  return Math.max(0, Math.floor((lease.graceEndsAt - now) / 1000));
}
