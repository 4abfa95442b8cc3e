/** What only a node can tell: said, with the command that looks there. */
import { slotTimes } from '../../manager/slots/times.ts';
import { factsOf, note } from '../findings.ts';
import type { BatchCheck } from '../types.ts';

/** As the pilot's default configuration calls them. */
const XL = '/usr/sbin/xl';

export const onNodes: BatchCheck = {
  name: 'nodes',
  look(batch, { config: { pilot, types, lease } }) {
    const memory = types[lease.default_type]?.memory_mb ?? 128;
    const { grace_s: grace, pilot_s: duration } = slotTimes(pilot, lease.default_duration, factsOf(batch)?.graceS ?? null);
    const paths = pilot.config_path === '' ? [] : ['--configpath', pilot.config_path];
    const evaluate = [...pilot.program, '--reserveslot', '--memory', memory, '--duration', duration, '--graceperiod', grace, '--slotid', 'sl-000000000000', ...paths, '--evaluate'];
    return [
      note('nodes', 'QEMU, free memory, the state directory, sudo and the way to this service are seen only from a node; the pilot looks and changes nothing',
        `on a compute node, as the account that jobs run under: ${evaluate.join(' ')}`),
      note('sudo', 'where the memory mechanism is xl and jobs do not run as root, sudo must allow it without a password',
        'in /etc/sudoers.d/nimbus-pilot on every node (visudo -f), with that account for ACCOUNT:',
        `  ACCOUNT ALL=(root) NOPASSWD: ${XL} list, ${XL} list *, ${XL} info, ${XL} mem-set 0 *, ${XL} destroy *`),
    ];
  },
};
