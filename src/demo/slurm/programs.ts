/** The programs of Debian's packages, and what to install when one is missing. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { StartError } from '../../platform/errors.ts';

const PROGRAMS = ['munged', 'slurmctld', 'slurmd', 'sinfo', 'scontrol', 'sbatch', 'scancel', 'squeue', 'srun', 'setpriv'] as const;
export type Program = (typeof PROGRAMS)[number];

export const INSTALL = 'apt-get install --no-install-recommends slurmctld slurmd slurm-client munge';

/** Ordinary users have no sbin on their path. */
const MORE_DIRS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];

function find(name: string): string | undefined {
  return [...(process.env['PATH'] ?? '').split(delimiter), ...MORE_DIRS].filter((dir) => dir.startsWith('/')).map((dir) => join(dir, name)).find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export const isInstalled = (name: string): boolean => find(name) !== undefined;

/** Names of programs that this machine lacks; empty when a private Slurm can be started. */
export const missingPrograms = (): string[] => PROGRAMS.filter((name) => find(name) === undefined);

/** @throws StartError that says what to install */
export function findProgram(name: Program): string {
  const file = find(name);
  if (file === undefined) throw new StartError(`${missingPrograms().join(', ')} not found; on Debian: ${INSTALL}`);
  return file;
}
