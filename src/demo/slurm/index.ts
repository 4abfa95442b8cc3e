/** What tests, benches and the demo use of a private Slurm. */
export { startPrivateSlurm } from './start.ts';
export { INSTALL, isInstalled, missingPrograms } from './programs.ts';
export type { PrivateSlurm, PrivateSlurmOptions, Ran } from './types.ts';
