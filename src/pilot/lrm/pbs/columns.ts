/**
 * The list of Slurm's qstat: `-n -1 -u USER` prints one line for each of the user's own jobs, hosts at its end. Its `-f` would
 * print every user's jobs with names that may hold newlines, and so blocks that look like jobs of ours. Pure.
 *
 * Columns are as wide as the program makes them (slurm-wlm-torque 22.05): 20 for the job id, 8, 8, then 20 for the name.
 */
import { isHost, isJobId, isSlotId, printable } from '../outside.ts';
import type { Ignored } from '../slots.ts';
import type { JobState, JobView } from '../types.ts';

/** `C` is every end, and a job that is being ended; it does not say how. */
const STATES: Readonly<Record<string, JobState>> = { Q: 'queued', R: 'running', S: 'running', C: 'done', U: 'ending' };
const LINE = /^(\d{1,18}) +\S.{7} .{8} (\S+) +\S+ +\S+ +\S+ +\S+ +\S+ ([A-Z]) \S+ +(\S+)$/;
const MOST_IGNORED = 100;

export const columnsArgv = (qstat: string, user: string): string[] => [qstat, '-n', '-1', '-u', user];

export function jobsOf(text: string): { readonly jobs: readonly JobView[]; readonly ignored: readonly Ignored[] } {
  const jobs: JobView[] = [];
  const ignored: Ignored[] = [];
  for (const raw of text.split('\n')) {
    const [, jobId = '', slotId = '', letter = '', nodes = ''] = LINE.exec(raw) ?? [];
    const named = raw.split(/\s+/)[3] ?? '';
    if (!isSlotId(slotId)) {
      if (isSlotId(named) && ignored.length < MOST_IGNORED) ignored.push({ slotId: named, why: `a line of qstat cannot be read: ${printable(raw) ?? ''}` });
      continue;
    }
    const job = viewOf(jobId, slotId, letter, nodes);
    if (typeof job !== 'string') jobs.push(job);
    else if (ignored.length < MOST_IGNORED) ignored.push({ slotId, why: job });
  }
  return { jobs, ignored };
}

function viewOf(jobId: string, slotId: string, letter: string, nodes: string): JobView | string {
  const state = Object.hasOwn(STATES, letter) ? STATES[letter] : undefined;
  if (!isJobId(jobId) || state === undefined) return `job ${printable(jobId) ?? ''} is in the state "${letter}", which is not known`;
  const hosts = nodes === '--' ? [] : nodes.split('+').map((item) => item.split('/')[0] ?? '');
  if (!hosts.every(isHost)) return `the hosts of job ${jobId} cannot be read: ${printable(nodes) ?? ''}`;
  return { jobId, slotId, state, native: letter, reason: null, position: null, expectedStart: null, hosts: [...new Set(hosts)], requeued: false };
}
