export { startPrivateSlurm } from './start.ts';
export { INSTALL, missingPrograms } from './programs.ts';
export type { PrivateSlurm, PrivateSlurmOptions, Ran } from './types.ts';
