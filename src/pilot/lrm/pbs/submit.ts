/** A job as qsub's argv, and what qsub answers (qsub(1B) of Torque and OpenPBS; slurm-wlm-torque 22.05's program). Pure. */
import { complaint } from '../ask.ts';
import { isJobId, printable } from '../outside.ts';
import type { PbsSettings } from '../settings.ts';
import type { CommandResult, JobPart, JobRequest, SubmitAnswer } from '../types.ts';
import type { Flavour } from './flavour.ts';

export function qsubArgv(settings: PbsSettings, flavour: Flavour, job: JobRequest, priority: number): string[] {
  return [
    settings.qsub, '-N', job.slotId, '-j', 'oe', '-o', '/dev/null', '-r', 'n', '-m', 'n',
    ...given('-q', settings.queue), ...given('-A', job.account ?? ''), ...given('-p', priority === 0 ? '' : String(priority)),
    // All in one list: of several, Slurm's qsub heeds only the last.
    '-l', resources(settings, flavour, job),
    ...settings.options,
    ...(flavour === 'slurm-torque' ? FOR_SBATCH : []),
  ];
}

/**
 * Slurm's qsub demands an operand, the script, and puts what it is given at the end of sbatch's command line. sbatch, handed
 * options only, reads the script from standard input.
 */
const FOR_SBATCH = ['--', '--no-kill', '--chdir=/', '--export=ALL'];

const given = (option: string, value: string): string[] => (value === '' ? [] : [option, value]);

export const ppnOf = (settings: PbsSettings, part: JobPart): number => (settings.ppn === 0 ? Math.max(1, part.cores) : settings.ppn);

function resources(settings: PbsSettings, flavour: Flavour, job: JobRequest): string {
  const properties = settings.properties === '' ? '' : `:${settings.properties}`;
  const nodes = job.parts.map((p) => `${p.nodes}:ppn=${ppnOf(settings, p)}${properties}`).join('+');
  // A figure for the whole job; Slurm's qsub makes it sbatch's --mem, which is a node's.
  const memoryMb = flavour === 'slurm-torque' ? Math.max(...job.parts.map((p) => p.memoryMb)) : job.parts.reduce((sum, p) => sum + p.nodes * p.memoryMb, 0);
  return `nodes=${nodes},walltime=${clockTime(job.walltimeS)},mem=${memoryMb}mb`;
}

/** HH:MM:SS; hours have as many digits as they need. */
export function clockTime(seconds: number): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

/** Slurm's qsub hands its words to a shell (it is Perl with backquotes): none may mean anything there. */
export function unsafeWord(flavour: Flavour, argv: readonly string[]): string | undefined {
  return flavour === 'slurm-torque' ? argv.find((word) => !/^[A-Za-z0-9@%_.,:+=/-]+$/.test(word)) : undefined;
}

/** Not asked, or asked and perhaps taken (pbs_error.h of Torque and OpenPBS; Slurm's words come through its qsub). */
const NOT_NOW = /timed out|timeout|cannot connect|connection|connect to|no default server|end of file|pbs_iff|munge|temporarily|try again|busy|unable to contact|socket|zero bytes|premature|network|server (?:is )?(?:down|shutting)|system error|configuration source|communicat/i;

export function submitAnswer(qsub: string, ran: CommandResult): SubmitAnswer {
  if (ran.code === 0) {
    const jobId = ran.stdout.trim().split('\n').at(-1)?.trim() ?? '';
    if (isJobId(jobId)) return { kind: 'submitted', jobId };
    return { kind: 'unknown', reason: `${qsub} told no job id: ${printable(ran.stdout) ?? 'nothing'}` };
  }
  // Slurm's qsub says all on standard output, with the whole command before sbatch's own words.
  const sbatch = [...ran.stdout.matchAll(/sbatch: error: ([^\n']*)/g)].map(([, words = '']) => words).join('; ');
  const said = sbatch || ran.stderr || ran.stdout;
  const reason = sbatch === '' ? complaint(qsub, ran) : printable(`${qsub}: ${sbatch}`) ?? '';
  const asked = ran.code !== null && ran.code !== 126 && ran.code !== 127 && printable(said) !== null;
  return { kind: asked && !NOT_NOW.test(said) ? 'rejected' : 'unknown', reason };
}
