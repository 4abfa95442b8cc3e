/** Blocks of `qstat -f` as jobs of slots (Torque 6, qstat(1B); OpenPBS 23, qstat(1B) and "Job attributes"). Pure. */
import { isHost, isJobId, isSlotId, printable } from '../outside.ts';
import type { Ignored } from '../slots.ts';
import type { JobState, JobView } from '../types.ts';
import { parseBlocks, type Block } from './blocks.ts';

export interface Jobs {
  readonly jobs: readonly JobView[];
  readonly ignored: readonly Ignored[];
}

const STATES: Readonly<Record<string, JobState>> = {
  Q: 'queued', W: 'queued', T: 'queued', M: 'queued', H: 'held', R: 'running', S: 'running', U: 'running', B: 'running', E: 'ending', C: 'done', F: 'done', X: 'done',
};
const MOST_IGNORED = 100;

/** @param user whose jobs may be slots': a name alone proves nothing */
export function jobsOf(text: string, user: string): Jobs {
  const jobs: JobView[] = [];
  const ignored: Ignored[] = [];
  const waiting = new Map<string, number>();
  for (const block of parseBlocks(text, 'Job Id')) {
    const { attributes } = block;
    const queue = attributes.get('queue') ?? '';
    const place = attributes.get('job_state') === 'Q' ? (waiting.get(queue) ?? 0) + 1 : null;
    if (place !== null) waiting.set(queue, place);
    const slotId = attributes.get('Job_Name') ?? '';
    if (!isSlotId(slotId) || attributes.get('Job_Owner')?.split('@')[0] !== user) continue;
    const job = viewOf(block, attributes, user, place);
    if (typeof job !== 'string') jobs.push(job);
    else if (ignored.length < MOST_IGNORED) ignored.push({ slotId, why: job });
  }
  return { jobs, ignored };
}

function viewOf(block: Block, attributes: ReadonlyMap<string, string>, user: string, place: number | null): JobView | string {
  if (!isJobId(block.name)) return `"${printable(block.name) ?? ''}" is no job id`;
  if (block.doubled !== null) return `in the list's block of job ${block.name} ${block.doubled} stands twice`;
  // The server's own word for whose job it is, where it is shown.
  if ((attributes.get('euser') ?? user) !== user) return `job ${block.name} is of another user than its owner`;
  const letter = attributes.get('job_state') ?? '';
  const known = Object.hasOwn(STATES, letter) ? STATES[letter] : undefined;
  if (known === undefined) return `job ${block.name} is in the state "${printable(letter) ?? ''}", which is not known`;
  const hosts = hostsOf(attributes.get('exec_host') ?? '');
  if (hosts === undefined) return `the hosts of job ${block.name} cannot be read: ${printable(attributes.get('exec_host') ?? '') ?? ''}`;
  const exit = attributes.get('exit_status') ?? attributes.get('Exit_status');
  const starts = Number(attributes.get('start_count') ?? attributes.get('run_count') ?? 0);
  const waits = known === 'queued' || known === 'held';
  return {
    jobId: block.name,
    slotId: attributes.get('Job_Name') ?? '',
    state: known === 'done' ? howItEnded(exit) : known,
    native: letter,
    reason: printable([attributes.get('comment') ?? '', exit === undefined ? '' : `exit status ${exit}`].filter((w) => w !== '').join('; ')),
    position: place,
    expectedStart: null,
    hosts: waits ? [] : hosts,
    requeued: starts > 1 || (waits && starts > 0),
  };
}

/** A job that a signal ended has 256 (Torque, OpenPBS) or 128 plus the signal's number; deletion and walltime are SIGTERM, then SIGKILL. */
function howItEnded(exit: string | undefined): JobState {
  if (exit === undefined || exit === '0') return 'done';
  return ['271', '265', '143', '137'].includes(exit) ? 'cancelled' : 'failed';
}

/** `n1/0+n1/1+n2/0`, `n1/0-3`, `n1/0*4`: a host stands once per processor or set of them; each once here. undefined = no such list. */
export function hostsOf(execHost: string): string[] | undefined {
  if (execHost === '') return [];
  const hosts = execHost.split('+').map((item) => /^([^/]+)(?:\/[0-9,*-]+)?$/.exec(item)?.[1] ?? '');
  return hosts.every(isHost) ? [...new Set(hosts)] : undefined;
}
