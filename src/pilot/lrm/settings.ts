/** The parts of the configuration that adapters read. */
import type { Config } from '../../platform/config.ts';

export type SlurmSettings = Config['slurm'];
export type PbsSettings = Config['pbs'];
