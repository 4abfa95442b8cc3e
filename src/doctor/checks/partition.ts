/** Whether jobs have somewhere to run. */
import { fail, factsOf, ok, warn } from '../findings.ts';
import type { BatchCheck } from '../types.ts';

export const partition: BatchCheck = {
  name: 'partition',
  look(batch, { config }) {
    const facts = factsOf(batch);
    if (facts === undefined) return [];
    const [key, own, ask] = config.pilot.lrm === 'slurm'
      ? ['slurm.partition', config.slurm.partition, 'scontrol show partition']
      : ['pbs.queue', config.pbs.queue, 'qstat -Q'] as const;
    const named = own === '' ? 'the default partition or queue' : own;
    if (facts.nodes === null) return [warn('partition', `how many nodes ${named} has cannot be read; pilot_caps.share has no effect`, `look at it with: ${ask}`)];
    if (facts.nodes === 0) return [fail('partition', `${named} has no nodes, or does not exist`, `set ${key} to one that "${ask}" shows`)];
    return [ok('partition', `${named} has ${facts.nodes} ${facts.nodes === 1 ? 'node' : 'nodes'}`)];
  },
};
