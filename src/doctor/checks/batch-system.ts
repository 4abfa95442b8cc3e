/** Whether the batch system's commands answer, and as what. */
import { fail, ok, warn } from '../findings.ts';
import type { BatchCheck, BatchSite, DoctorSite, Finding } from '../types.ts';

const PROGRAMS = { slurm: ['sbatch', 'squeue', 'scancel', 'scontrol'], pbs: ['qsub', 'qdel', 'qstat'] } as const;
/** A list that takes longer makes polls rare: the service asks for a fifth of the time at most. */
const SLOW_MS = 2_000;

export const batchSystem: BatchCheck = {
  name: 'batch system',
  async look(batch, site) {
    const { facts } = batch;
    if ('missing' in facts) return [fail('batch system', `it does not answer: ${facts.missing}`, ...howToReach(site))];
    return [ok('batch system', `${facts.flavour} ${facts.version} answers`), await listing(batch, site)];
  },
};

async function listing({ lrm }: BatchSite, { config }: DoctorSite): Promise<Finding> {
  const answer = await lrm.list();
  if (answer.kind === 'unavailable') {
    return fail('batch system', `it does not say what it runs: ${answer.reason}`, 'the service concludes nothing about its jobs while that is so; run the command by hand as the service’s user');
  }
  const took = `${Math.round(answer.tookMs)} ms`;
  if (answer.ignored.length > 0) return warn('batch system', `its list has ${answer.ignored.length} entries that cannot be read`, ...answer.ignored.slice(0, 5).map((i) => i.why));
  if (answer.tookMs > SLOW_MS) return warn('batch system', `its list takes ${took}; the service then asks less often than pilot.poll = ${config.pilot.poll} s says`, 'ask its administrator why it is slow');
  return ok('batch system', `its list of jobs takes ${took}`);
}

function howToReach({ config }: DoctorSite): string[] {
  const named = config.pilot.lrm === 'slurm' ? config.slurm : config.pbs;
  const commands = PROGRAMS[config.pilot.lrm].map((p) => `${config.pilot.lrm}.${p} = ${JSON.stringify((named as unknown as Record<string, string>)[p])}`);
  const where = config.login_node.host === '' ? 'on this machine' : `on the login node ${config.login_node.user}@${config.login_node.host}`;
  return [`these commands must run ${where}, as the service’s user: ${commands.join(', ')}`, 'give full paths where they are not in PATH, or set login_node.host to a machine that has them'];
}
