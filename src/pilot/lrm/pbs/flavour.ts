/** Three programs are called qstat: which one this is, from what `qstat --version` says. Pure. */
import { printable } from '../outside.ts';

export type Flavour = 'torque' | 'openpbs' | 'slurm-torque';

/** @param said what it printed, both outputs. @throws Error with a sentence when it is none of the three */
export function flavourOf(said: string): { readonly flavour: Flavour; readonly version: string } {
  // PBS Pro and OpenPBS: `pbs_version = 23.06.06`
  const openpbs = /^\s*pbs_version = (\S{1,60})/m.exec(said)?.[1];
  if (openpbs !== undefined) return { flavour: 'openpbs', version: openpbs };
  // Torque: `Version: 6.1.2`, `version: 2.5.12` and a line on its source
  const torque = /^\s*version:\s*(\S{1,60})/im.exec(said)?.[1];
  if (torque !== undefined) return { flavour: 'torque', version: torque };
  // The Perl programs that come with Slurm do not know the option, and say which they know.
  if (/Unknown option: version/.test(said) && /qstat \[-f\]/.test(said)) return { flavour: 'slurm-torque', version: 'unknown' };
  throw new Error(`"qstat --version" is none of Torque's, OpenPBS's and Slurm's: ${printable(said) ?? 'it said nothing'}`);
}
