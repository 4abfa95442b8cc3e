/** Slurm 20.11 or later, by its own commands. */
import { ask, complaint, once } from '../ask.ts';
import { isJobId, isHost, printable } from '../outside.ts';
import type { SlurmSettings, SpotSettings } from '../settings.ts';
import { oneEach } from '../slots.ts';
import type { CancelAnswer, CommandRunner, Listing, Lrm, LrmFacts } from '../types.ts';
import { parseConfig, partitionNodes, spotFacts } from './facts.ts';
import { jobsOf } from './jobs.ts';
import { slurmScript } from './script.ts';
import { parseSqueue, squeueArgv } from './squeue.ts';
import { sbatchArgv, submitAnswer } from './submit.ts';

/** Words with which Slurm says that a job is over or never was (slurm_errno.h, ESLURM_INVALID_JOB_ID, ESLURM_ALREADY_DONE). */
const GONE = /invalid job id|already (?:completing or )?completed/i;

/** @param timeoutMs of each command */
export function slurmLrm(settings: SlurmSettings, spot: SpotSettings, runner: CommandRunner, timeoutMs: number): Lrm {
  const userId = once(async () => {
    const id = (await ask(runner, ['id', '-u'], timeoutMs)).trim();
    if (!/^\d{1,10}$/.test(id)) throw new Error(`"id -u" said no number: ${printable(id) ?? 'nothing'}`);
    return Number(id);
  });
  return {
    name: 'slurm',
    async submit(job) {
      const ran = await runner.run(sbatchArgv(settings, spot, job), { input: slurmScript(settings.srun, job.parts, job.credentials), timeoutMs });
      return submitAnswer(settings.sbatch, ran);
    },
    async cancel(jobId) {
      if (!isJobId(jobId)) return { kind: 'unknown', reason: 'that is no job id of Slurm' };
      // Only when asked to talk does it say that there is no such job; its exit code does not.
      return cancelAnswer(settings.scancel, await runner.run([settings.scancel, '--verbose', jobId], { timeoutMs }));
    },
    list: () => list(settings, runner, userId, timeoutMs),
    facts: () => facts(settings, spot, runner, timeoutMs),
    async shrink(jobId, part, keep) {
      if (!isJobId(jobId) || !Number.isSafeInteger(part) || part < 0 || !keep.every(isHost)) return { kind: 'unknown', reason: 'a job is shrunk to nodes that it has' };
      if (part === 0 && keep.length === 0) return { kind: 'unknown', reason: 'the node of a job’s script goes with the job' };
      // scancel(1): once it runs, a component of a heterogeneous job can be cancelled by itself, unless it is the first.
      if (keep.length === 0) return cancelAnswer(settings.scancel, await runner.run([settings.scancel, '--verbose', `${jobId}+${part}`], { timeoutMs }));
      const id = part === 0 ? jobId : await componentId(settings, runner, jobId, part, timeoutMs);
      if (id === null) return { kind: 'gone' };
      return cancelAnswer(settings.scontrol, await runner.run([settings.scontrol, 'update', `JobId=${id}`, `NodeList=${keep.join(',')}`], { timeoutMs }));
    },
  };
}

/** scontrol knows a component by its own job id only; null = it is over. */
async function componentId({ squeue }: SlurmSettings, runner: CommandRunner, jobId: string, part: number, timeoutMs: number): Promise<string | null> {
  const { stdout } = await runner.run([squeue, '--noheader', '--format=%i %A', `--jobs=${jobId}`], { timeoutMs });
  const id = stdout.split('\n').map((line) => line.trim().split(/\s+/)).find(([name]) => name === `${jobId}+${part}`)?.[1] ?? '';
  return isJobId(id) ? id : null;
}

function cancelAnswer(program: string, ran: Awaited<ReturnType<CommandRunner['run']>>): CancelAnswer {
  if (ran.code !== null && GONE.test(ran.stderr)) return { kind: 'gone' };
  const failed = ran.code !== 0 || /error:/.test(ran.stderr);
  return failed ? { kind: 'unknown', reason: complaint(program, ran) } : { kind: 'cancelled' };
}

async function list(settings: SlurmSettings, runner: CommandRunner, userId: () => Promise<number>, timeoutMs: number): Promise<Listing> {
  let user: number;
  try {
    user = await userId();
  } catch (e) {
    return { kind: 'unavailable', reason: e instanceof Error ? e.message : String(e), tookMs: 0 };
  }
  const ran = await runner.run(squeueArgv(settings.squeue), { timeoutMs });
  if (ran.code !== 0) return { kind: 'unavailable', reason: complaint(settings.squeue, ran), tookMs: ran.tookMs };
  const { lines, ignored } = parseSqueue(ran.stdout, user);
  const each = oneEach(jobsOf(lines, user));
  return { kind: 'listing', jobs: each.jobs, others: each.others, ignored: [...ignored, ...each.ignored], tookMs: ran.tookMs };
}

async function facts(settings: SlurmSettings, spot: SpotSettings, runner: CommandRunner, timeoutMs: number): Promise<LrmFacts> {
  await Promise.all([settings.sbatch, settings.squeue, settings.scancel].map((program) => ask(runner, [program, '--version'], timeoutMs)));
  const config = parseConfig(await ask(runner, [settings.scontrol, 'show', 'config'], timeoutMs));
  const partitions = await ask(runner, [settings.scontrol, '--oneliner', 'show', 'partition'], timeoutMs);
  return {
    lrm: 'slurm', flavour: 'slurm', version: config.version, graceS: config.killWaitS, nodes: partitionNodes(partitions, settings.partition),
    heterogeneous: true, shrinks: true, remembers: true, epilogue: config.epilogue,
    ...(spot.partition === '' ? {} : { spot: spotFacts(partitions, spot.partition) }),
  };
}
