/** A job as sbatch's argv, and what sbatch answers (sbatch(1)). Pure. */
import { isJobId, printable } from '../outside.ts';
import { complaint } from '../ask.ts';
import { standing, type SlurmSettings, type SpotSettings } from '../settings.ts';
import type { CommandResult, JobPart, JobRequest, SubmitAnswer } from '../types.ts';

export function sbatchArgv(settings: SlurmSettings, spot: SpotSettings, job: JobRequest): string[] {
  const own = standing(settings, spot, job, { partition: spot.partition, qos: spot.qos });
  const nice = job.spot === true && spot.nice > 0 ? [`--nice=${spot.nice}`] : [];
  const parts = job.parts.map((part) => partOptions(own, job, part, nice));
  return [settings.sbatch, '--parsable', ...parts.flatMap((options, i) => (i === 0 ? options : [':', ...options]))];
}

/** sbatch carries some options of the first part over to the others, by release: each says all of them. */
function partOptions(settings: SlurmSettings, job: JobRequest, part: JobPart, nice: readonly string[]): string[] {
  return [
    `--job-name=${job.slotId}`,
    `--nodes=${part.nodes}`, `--ntasks=${part.nodes}`, '--ntasks-per-node=1', `--cpus-per-task=${part.cores}`,
    ...(settings.exclusive ? ['--exclusive', '--mem=0'] : [`--mem=${part.memoryMb}M`]),
    // Slurm counts in minutes.
    `--time=${Math.ceil(job.walltimeS / 60)}`,
    '--no-requeue', '--no-kill',
    '--chdir=/', '--output=/dev/null', '--error=/dev/null',
    // What the command runner gives sbatch is little already. With a list of names Slurm has each node load the user's login
    // environment first (sbatch(1), --export), which takes a second and more.
    '--export=ALL',
    ...given('partition', settings.partition), ...given('account', job.account ?? ''), ...given('qos', settings.qos),
    ...given('reservation', settings.reservation), ...given('constraint', settings.constraint), ...nice,
    // Last: what the site says wins.
    ...settings.options,
  ];
}

const given = (option: string, value: string): string[] => (value === '' ? [] : [`--${option}=${value}`]);

/**
 * Slurm's own words for "not now" (slurm_errno.h, sbatch's messages): the controller was not reached, or may have taken the job
 * before the answer was lost. Everything else that sbatch says with an exit code is a refusal.
 */
const NOT_NOW = /timed out|timeout|unable to contact|unable to establish|connection|connect failure|zero bytes|temporarily|try again|standby|transport endpoint|munge|authentication|socket|configuration source|not respond|network|i\/o error|slurmctld|communicat/i;

export function submitAnswer(sbatch: string, ran: CommandResult): SubmitAnswer {
  if (ran.code === 0) {
    // With several clusters: `123;cluster`.
    const jobId = /^(\d+)(?:;\S*)?$/.exec(ran.stdout.trim().split('\n').at(-1) ?? '')?.[1] ?? '';
    if (isJobId(jobId)) return { kind: 'submitted', jobId };
    return { kind: 'unknown', reason: `${sbatch} told no job id: ${printable(ran.stdout) ?? 'nothing'}` };
  }
  const reason = complaint(sbatch, ran);
  // 126, 127: a shell on the login node that did not find the command.
  const asked = ran.code !== null && ran.code !== 126 && ran.code !== 127 && printable(ran.stderr) !== null;
  return { kind: asked && !NOT_NOW.test(ran.stderr) ? 'rejected' : 'unknown', reason };
}
