/**
 * Which processes belong to a private Slurm, from proc(5). Steps outlive their daemon and have no parent, so they are
 * found by what they have: a `slurmstepd` by the daemon's log, open in it; a job's process by the cluster's name, which
 * is unique, in the environment that it was started with; and whatever descends from either.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface Belongings {
  readonly dir: string;
  readonly cluster: string;
}

/** Zombies are not among them: they have ended. */
export function processesOf(slurm: Belongings): number[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync('/proc')) {
    const parent = /^\d+$/.test(entry) ? parentOf(Number(entry)) : undefined;
    if (parent !== undefined) parents.set(Number(entry), parent);
  }
  const found = new Set([...parents.keys()].filter((pid) => pid !== process.pid && isMarked(pid, slurm)));
  const belongs = (pid: number): boolean => {
    for (let at: number | undefined = pid, steps = 0; at !== undefined && steps < parents.size; at = parents.get(at), steps++) if (found.has(at)) return true;
    return false;
  };
  return [...parents.keys()].filter((pid) => pid !== process.pid && belongs(pid));
}

/** Of a living process. */
function parentOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  // The state follows the program's name, which may itself contain ")".
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return parent === undefined || state === 'Z' || state === 'X' ? undefined : Number(parent);
}

function isMarked(pid: number, { dir, cluster }: Belongings): boolean {
  if (read(`/proc/${pid}/environ`).split('\0').includes(`SLURM_CLUSTER_NAME=${cluster}`)) return true;
  return read(`/proc/${pid}/comm`).startsWith('slurmstepd') && openFiles(pid).some((file) => file.startsWith(`${dir}/log/`));
}

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  } catch {
    return []; // It ended meanwhile, or is another user's.
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
