/** The parts of the configuration that adapters read. */
import type { Config } from '../../platform/config.ts';
import type { JobRequest } from './types.ts';

export type SlurmSettings = Config['slurm'];
export type PbsSettings = Config['pbs'];
export type SpotSettings = Config['pilot_spot'];

/** Settings of a job of this standing: what the site says of preemptible ones goes before what it says of all. */
export function standing<T extends { readonly options: readonly string[] }>(settings: T, spot: SpotSettings, job: JobRequest, own: Partial<T>): T {
  if (job.spot !== true) return settings;
  const said = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== ''));
  return { ...settings, ...said, options: [...settings.options, ...spot.options] };
}
