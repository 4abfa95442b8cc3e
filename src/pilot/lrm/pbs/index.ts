/** qsub, qdel and qstat, of whichever of the three families they are. */
import { ask, complaint, once } from '../ask.ts';
import { isJobId, printable } from '../outside.ts';
import { standing, type PbsSettings, type SlurmSettings, type SpotSettings } from '../settings.ts';
import { parseConfig, partitionNodes } from '../slurm/facts.ts';
import { slurmScript } from '../slurm/script.ts';
import { oneEach } from '../slots.ts';
import type { CancelAnswer, CommandResult, CommandRunner, JobRequest, Listing, Lrm, LrmFacts, SubmitAnswer } from '../types.ts';
import * as columns from './columns.ts';
import { factsOf } from './facts.ts';
import { flavourOf, type Flavour } from './flavour.ts';
import { jobsOf } from './jobs.ts';
import { pbsScript } from './script.ts';
import { qsubArgv, submitAnswer, unsafeWord } from './submit.ts';

/** Torque: "Unknown Job Id", "Request invalid for state of job" (it is being ended already); OpenPBS: also "Job has finished". */
const GONE = /unknown job ?id|invalid for state of job|job has finished/i;

interface Site {
  readonly flavour: Flavour;
  readonly version: string;
  /** Whose jobs ours are. */
  readonly user: string;
}

interface Ways {
  readonly settings: PbsSettings;
  readonly spot: SpotSettings;
  readonly slurm: SlurmSettings;
  readonly runner: CommandRunner;
  readonly timeoutMs: number;
  readonly site: () => Promise<Site>;
}

/** @param slurm whose `srun` and `scontrol` serve where the commands are Slurm's @param timeoutMs of each command */
export function pbsLrm(settings: PbsSettings, spot: SpotSettings, slurm: SlurmSettings, runner: CommandRunner, timeoutMs: number): Lrm {
  const site = once(() => look(settings, runner, timeoutMs));
  const ways: Ways = { settings, spot, slurm, runner, timeoutMs, site };
  return {
    name: 'pbs',
    submit: (job) => submit(ways, job),
    cancel: (jobId) => cancel(ways, jobId),
    list: () => list(ways),
    facts: () => facts(ways),
  };
}

async function look(settings: PbsSettings, runner: CommandRunner, timeoutMs: number): Promise<Site> {
  const ran = await runner.run([settings.qstat, '--version'], { timeoutMs });
  if (ran.code === null || ran.code === 127) throw new Error(complaint(settings.qstat, ran));
  const user = (await ask(runner, ['id', '-un'], timeoutMs)).trim();
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(user)) throw new Error(`"id -un" said no user's name: ${printable(user) ?? 'nothing'}`);
  return { ...flavourOf(`${ran.stdout}\n${ran.stderr}`), user };
}

async function submit({ settings, spot, slurm, runner, timeoutMs, site }: Ways, job: JobRequest): Promise<SubmitAnswer> {
  let argv: string[];
  let input: string;
  try {
    const { flavour } = await site();
    if (flavour === 'slurm-torque' && job.parts.length > 1) return { kind: 'rejected', reason: 'Slurm\'s qsub has no jobs of unlike parts; set pilot.lrm = "slurm"' };
    argv = qsubArgv(standing(settings, spot, job, { queue: spot.queue }), flavour, job, job.spot === true ? spot.priority : 0);
    const unsafe = unsafeWord(flavour, argv);
    if (unsafe !== undefined) return { kind: 'rejected', reason: `"${printable(unsafe) ?? ''}" cannot be handed to Slurm's qsub; set pilot.lrm = "slurm"` };
    input = scriptFor(settings, slurm, flavour, job);
  } catch (e) {
    return e instanceof NoWay ? { kind: 'rejected', reason: e.message } : { kind: 'unknown', reason: e instanceof Error ? e.message : String(e) };
  }
  return submitAnswer(settings.qsub, await runner.run(argv, { input, timeoutMs }));
}

/** The settings cannot start such a job. */
class NoWay extends Error {}

function scriptFor(settings: PbsSettings, slurm: SlurmSettings, flavour: Flavour, job: JobRequest): string {
  try {
    return flavour === 'slurm-torque' ? slurmScript(slurm.srun, job.parts, job.credentials) : pbsScript(settings, job);
  } catch (e) {
    throw new NoWay(e instanceof Error ? e.message : String(e), { cause: e });
  }
}

async function cancel({ settings, runner, timeoutMs, site }: Ways, jobId: string): Promise<CancelAnswer> {
  if (!isJobId(jobId)) return { kind: 'unknown', reason: 'that is no job id of this batch system' };
  const ran = await runner.run([settings.qdel, jobId], { timeoutMs });
  if (ran.code === 0) return { kind: 'cancelled' };
  if (ran.code !== null && GONE.test(`${ran.stderr}\n${ran.stdout}`)) return { kind: 'gone' };
  return (await silentlyGone(ran, site)) ? { kind: 'gone' } : { kind: 'unknown', reason: complaint(settings.qdel, ran) };
}

/** Slurm's qdel says of every error what it is but of this one. */
async function silentlyGone(ran: CommandResult, site: Ways['site']): Promise<boolean> {
  if (ran.code !== 1 || ran.stdout.trim() !== '' || ran.stderr.trim() !== '') return false;
  return (await site().catch(() => undefined))?.flavour === 'slurm-torque';
}

async function list({ settings, runner, timeoutMs, site }: Ways): Promise<Listing> {
  let known: Site;
  try {
    known = await site();
  } catch (e) {
    return { kind: 'unavailable', reason: e instanceof Error ? e.message : String(e), tookMs: 0 };
  }
  const ofSlurm = known.flavour === 'slurm-torque';
  const ran = await runner.run(ofSlurm ? columns.columnsArgv(settings.qstat, known.user) : [settings.qstat, '-f'], { timeoutMs });
  if (ran.code !== 0) return { kind: 'unavailable', reason: complaint(settings.qstat, ran), tookMs: ran.tookMs };
  const { jobs, ignored } = ofSlurm ? columns.jobsOf(ran.stdout) : jobsOf(ran.stdout, known.user);
  const each = oneEach(jobs);
  return { kind: 'listing', jobs: each.jobs, others: each.others, ignored: [...ignored, ...each.ignored], tookMs: ran.tookMs };
}

async function facts({ settings, slurm, runner, timeoutMs, site }: Ways): Promise<LrmFacts> {
  const { flavour, version } = await site();
  for (const program of [settings.qsub, settings.qdel]) {
    const ran = await runner.run([program, '--version'], { timeoutMs });
    if (ran.code === null || ran.code === 126 || ran.code === 127) throw new Error(complaint(program, ran));
  }
  if (flavour === 'slurm-torque') {
    const config = parseConfig(await ask(runner, [slurm.scontrol, 'show', 'config'], timeoutMs));
    const nodes = partitionNodes(await ask(runner, [slurm.scontrol, '--oneliner', 'show', 'partition'], timeoutMs), settings.queue);
    return { lrm: 'pbs', flavour, version: config.version, graceS: config.killWaitS, nodes, heterogeneous: false, shrinks: false, remembers: true, epilogue: config.epilogue };
  }
  const { killDelayS, remembers } = factsOf(
    await ask(runner, [settings.qstat, '-B', '-f'], timeoutMs), await ask(runner, [settings.qstat, '-Q', '-f'], timeoutMs), settings.queue);
  return { lrm: 'pbs', flavour, version, graceS: killDelayS, nodes: null, heterogeneous: settings.shared_directory !== '', shrinks: false, remembers, epilogue: 'unknown' };
}
