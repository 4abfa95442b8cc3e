/** Whether the batch system cleans a node whose pilot was killed without warning. */
import type { LrmFacts } from '../../pilot/lrm/types.ts';
import { fail, factsOf, note, ok } from '../findings.ts';
import type { BatchCheck, Finding } from '../types.ts';

const WHY = 'a pilot that is killed by SIGKILL restores nothing; only the epilogue gives its memory back and ends its VMs';

export const epilogue: BatchCheck = {
  name: 'epilogue',
  look(batch, { config }): Finding[] {
    const facts = factsOf(batch);
    if (facts === undefined) return [];
    const recover = [...config.pilot.program, '--recover', ...(config.pilot.config_path === '' ? [] : ['--configpath', config.pilot.config_path])].join(' ');
    const lines = facts.lrm === 'slurm' ? slurmLines(recover) : pbsLines(facts, recover);
    if (facts.epilogue === null) return [fail('epilogue', `none is configured: ${WHY}`, ...lines)];
    if (facts.epilogue === 'unknown') return [note('epilogue', `whether one is configured cannot be read from here; ${WHY}`, ...lines)];
    return [ok('epilogue', `${facts.epilogue} is configured; it must run "${recover}" as root on every node`)];
  },
};

const slurmLines = (recover: string): string[] => [
  'in slurm.conf, on every node (then "scontrol reconfigure"):',
  '  Epilog=/etc/slurm/nimbus-epilog',
  '/etc/slurm/nimbus-epilog, owned by root, mode 0755:',
  '  #!/bin/sh',
  `  exec ${recover}`,
];

/** Torque: one script of mom_priv. OpenPBS: a hook. */
function pbsLines(facts: LrmFacts, recover: string): string[] {
  if (facts.flavour === 'slurm-torque') return slurmLines(recover);
  if (facts.flavour !== 'openpbs') {
    return ['on every node, /var/spool/torque/mom_priv/epilogue, owned by root, mode 0500:', '  #!/bin/sh', `  exec ${recover}`];
  }
  return [
    'on the server, with nimbus-epilogue.py as below:',
    '  qmgr -c "create hook nimbus event=execjob_epilogue,enabled=true"',
    '  qmgr -c "import hook nimbus application/x-python default nimbus-epilogue.py"',
    'nimbus-epilogue.py:',
    '  import subprocess',
    `  subprocess.call(${JSON.stringify(recover.split(' '))})`,
  ];
}
