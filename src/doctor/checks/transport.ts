/** How agents on borrowed nodes are reached. */
import { readFileSync } from 'node:fs';
import { reasonText } from '../../platform/errors.ts';
import { fail, note, ok } from '../findings.ts';
import type { BatchCheck, DoctorSite, Finding } from '../types.ts';

export const transport: BatchCheck = {
  name: 'transport',
  look: (_batch, site) => [...toNodes(site), ...toLoginNode(site)],
};

function toNodes({ config: { control, pilot } }: DoctorSite): Finding[] {
  if (control.transport === 'pilot') return [ok('transport', 'pilots open the channels themselves (control.transport = "pilot"): nothing listens on nodes')];
  const forced = [...pilot.program, 'control', ...(pilot.config_path === '' ? [] : ['--configpath', pilot.config_path])];
  const key = note('transport', `the service’s operating key must let it in at port ${pilot.ssh_port} of every node, as the account that jobs run under`,
    `put keys/operate_ed25519.pub of the data directory into that account’s authorized_keys, with restrict,command="${forced.join(' ')}" and a space before it`);
  if (pilot.ssh_known_hosts === '') return [ok('transport', 'nodes’ host keys come with pilots’ authenticated messages'), key];
  try {
    const lines = readFileSync(pilot.ssh_known_hosts, 'utf8').split('\n').filter((l) => l.trim() !== '' && !l.startsWith('#')).length;
    if (lines === 0) return [fail('transport', `pilot.ssh_known_hosts = ${pilot.ssh_known_hosts} has no keys: no node can be reached`, 'fill it, or leave the setting empty'), key];
    return [ok('transport', `${pilot.ssh_known_hosts} has ${lines} host ${lines === 1 ? 'key' : 'keys'}`), key];
  } catch (e) {
    return [fail('transport', `pilot.ssh_known_hosts = ${pilot.ssh_known_hosts} cannot be read: ${reasonText(e)}`, 'make it readable for the service’s user, or leave the setting empty'), key];
  }
}

function toLoginNode({ config: { login_node: login } }: DoctorSite): Finding[] {
  if (login.host === '' || login.host_key !== '') return [];
  return [fail('transport', `login_node.host_key is empty: ${login.host} could be anyone`, `set it to what the host’s own administrator says, or to what shows: ssh-keyscan ${login.host}`)];
}
