/**
 * The job's script: srun starts all pilots of a part at once, hands each the credentials on standard input, and stays until
 * the last has gone. Also for one node: where a partition grants a grace before it preempts, Slurm sends SIGTERM to the
 * steps of srun when the grace begins, and to the script's own processes only when it is over.
 */
import { script, withInput } from '../shell.ts';
import type { JobPart } from '../types.ts';

/** srun(1). `group`: the part of a heterogeneous job. */
function launch(srun: string, part: JobPart, group: number | null): string[] {
  return [
    srun, ...(group === null ? [] : [`--het-group=${group}`]),
    `--nodes=${part.nodes}`, `--ntasks=${part.nodes}`, '--ntasks-per-node=1',
    // The step has what the job has: srun takes a core and a share of the memory otherwise, and where the site confines
    // steps, so would the VMs. They are not bound to single cores.
    `--cpus-per-task=${part.cores}`, '--mem=0', '--overlap', '--cpu-bind=none', '--mpi=none',
    '--input=all',
    // A pilot that ends, fails or is lost with its node ends no other.
    '--kill-on-bad-exit=0', '--wait=0', '--no-kill',
    ...part.argv,
  ];
}

export function slurmScript(srun: string, parts: readonly JobPart[], credentials: string): string {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return script([withInput(['exec', ...launch(srun, only, null)], credentials)]);
  return script([
    // SIGTERM is for the pilots; each srun has its own way with it, and the script ends after the last of them.
    'trap \'\' TERM',
    ...parts.map((part, group) => withInput(launch(srun, part, group), credentials, true)),
    'wait',
  ]);
}
