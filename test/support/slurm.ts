/** Private Slurms for tests: started in the run's temporary directory, stopped by whoever started them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sleep } from '../../src/platform/deadline.ts';
import { realClock } from '../../src/platform/real.ts';
import { startPrivateSlurm, type PrivateSlurm, type PrivateSlurmOptions } from '../../src/demo/slurm/index.ts';

const POLL_MS = 50;
const JOB_MS = 90_000;

/** `root` is for the test's own files and goes with the Slurm. */
export interface TestSlurm extends PrivateSlurm {
  readonly root: string;
}

export async function startTestSlurm(options: Omit<PrivateSlurmOptions, 'dir'> = {}): Promise<TestSlurm> {
  const root = mkdtempSync(join(tmpdir(), 'slurm-'));
  const remove = (): void => rmSync(root, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  try {
    const slurm = await startPrivateSlurm({ ...options, dir: join(root, 's') });
    return { ...slurm, root, stop: () => slurm.stop().finally(remove) };
  } catch (e) {
    remove();
    throw e;
  }
}

/** What a command says that must succeed, without space around it. */
export async function ask(slurm: PrivateSlurm, argv: readonly string[], input?: string): Promise<string> {
  const ran = await slurm.run(argv, input);
  if (ran.code !== 0) throw new Error(`${argv.join(' ')} failed with exit code ${ran.code}: ${ran.stderr}${ran.stdout}`);
  return ran.stdout.trim();
}

/** The job's id. */
export const submit = (slurm: PrivateSlurm, script: string, args: readonly string[] = []): Promise<string> =>
  ask(slurm, ['sbatch', '--parsable', '--output=/dev/null', ...args], script);

/** `RUNNING`, `CANCELLED` …; '' when Slurm does not know the job (any more). */
export async function jobState(slurm: PrivateSlurm, job: string): Promise<string> {
  const ran = await slurm.run(['squeue', '--noheader', '--states=all', '--jobs', job, '--format=%T']);
  return ran.stdout.trim();
}

/** Polls until `look` finds something. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined> | T | undefined, ms = JOB_MS): Promise<T> {
  const deadline = realClock.monotonic() + ms;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (realClock.monotonic() > deadline) throw new Error(`${what} did not happen within ${ms} ms`);
    await sleep(realClock, POLL_MS);
  }
}

export const reaches = (slurm: PrivateSlurm, job: string, state: string, ms = JOB_MS): Promise<true> =>
  eventually(`job ${job} ${state}`, async () => (await jobState(slurm, job)) === state || undefined, ms);
