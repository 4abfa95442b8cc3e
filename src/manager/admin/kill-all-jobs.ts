/** The last resort, without any database: every job of this user whose name is a slot's id is cancelled. */
import type { JobState, JobView, Lrm } from '../../pilot/lrm/types.ts';
import type { Context } from '../../platform/context.ts';
import { sleep } from '../../platform/deadline.ts';

export interface JobOutcome {
  readonly slot: string;
  readonly jobId: string;
  readonly hosts: readonly string[];
  readonly gone: boolean;
  /** Why it is still there, in words. */
  readonly reason: string | null;
}

export interface JobsWait {
  /** Only jobs that have this host. */
  readonly node?: string | undefined;
  readonly waitMs: number;
  readonly pollMs: number;
}

const OVER: ReadonlySet<JobState> = new Set<JobState>(['done', 'failed', 'cancelled', 'timeout', 'preempted', 'node-failed']);

/** @throws Error when the batch system does not say what it runs */
export async function killJobs(ctx: Context, lrm: Lrm, wait: JobsWait): Promise<JobOutcome[]> {
  const deadline = ctx.clock.monotonic() + wait.waitMs;
  const first = await running(lrm);
  const chosen = first.filter((j) => wait.node === undefined || j.hosts.includes(wait.node));
  const why = new Map<string, string>();
  for (const job of chosen) {
    const answer = await lrm.cancel(job.jobId);
    if (answer.kind === 'unknown') why.set(job.jobId, `it could not be cancelled: ${answer.reason}`);
  }
  for (;;) {
    const left = await stillThere(lrm, chosen, why);
    if (left.size === 0 || ctx.clock.monotonic() + wait.pollMs > deadline) {
      return chosen.map((j) => ({ slot: j.slotId, jobId: j.jobId, hosts: j.hosts, gone: !left.has(j.jobId), reason: left.get(j.jobId) ?? null }));
    }
    await sleep(ctx.clock, wait.pollMs);
  }
}

async function running(lrm: Lrm): Promise<JobView[]> {
  const listing = await lrm.list();
  if (listing.kind === 'unavailable') throw new Error(`the batch system does not say what it runs: ${listing.reason}`);
  return listing.jobs.filter((j) => !OVER.has(j.state));
}

/** Job → why it is there. Without a list nothing is known to be gone. */
async function stillThere(lrm: Lrm, chosen: readonly JobView[], why: ReadonlyMap<string, string>): Promise<Map<string, string>> {
  if (chosen.length === 0) return new Map();
  try {
    const now = new Map((await running(lrm)).map((j) => [j.jobId, j]));
    return new Map(chosen.flatMap(({ jobId }): Array<[string, string]> => {
      const job = now.get(jobId);
      return job === undefined ? [] : [[jobId, why.get(jobId) ?? `the batch system says ${job.native}`]];
    }));
  } catch (e) {
    return new Map(chosen.map(({ jobId }) => [jobId, (e as Error).message]));
  }
}
