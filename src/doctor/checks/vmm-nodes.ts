/** The service's own nodes: whether they answer, as whom, with which agent, and what they lack. */
import { fail, note, ok, warn } from '../findings.ts';
import type { Check, DoctorSite, Finding, NodeLook } from '../types.ts';

const CHECK = 'VMM nodes';
const LOCAL_AGENT = 'end its agent (pkill -f "workspace-control.*serve"; VMs run on): the service starts the new one';

export const vmmNodes: Check = {
  name: CHECK,
  look(site) {
    const { nodes, batch, db } = site;
    if (batch !== null || 'missing' in db) return [];
    if (nodes.length === 0) return [warn(CHECK, 'there are none: every lease is refused', 'add one: nimbus node add HOST, or [[local_nodes]] in the configuration')];
    return [...reached(nodes), ...hostKeys(nodes), ...versions(site), ...lacks(nodes)];
  },
};

const answers = (n: NodeLook): boolean => !('missing' in n.answer);
/** As `src/control/ssh/hostkeys.ts` says it. */
const KEY_CHANGED = /host key/;

function reached(nodes: readonly NodeLook[]): Finding[] {
  const away = nodes.flatMap(({ row, answer }) => ('missing' in answer && answer.elsewhere === undefined && !KEY_CHANGED.test(answer.missing)
    ? [fail(CHECK, `${row.name} (${where(row.access)}) does not answer: ${withoutAddress(answer.missing, where(row.access))}`, ...wayTo(row.access, row.name))] : []));
  const elsewhere = nodes.flatMap(({ row, answer }) => ('missing' in answer && answer.elsewhere !== undefined
    ? [note(CHECK, `${row.name} is beside the service on ${answer.elsewhere}, which looks after it`, `on ${answer.elsewhere}: nimbus doctor`)] : []));
  const up = nodes.filter(answers).length;
  const drained = nodes.filter((n) => !n.row.active).map((n) => n.row.name);
  return [
    ...away,
    ...elsewhere,
    ...(up > 0 ? [ok(CHECK, `${up} of ${nodes.length - elsewhere.length} ${up === 1 ? 'answers' : 'answer'}`)] : []),
    ...(drained.length > 0 ? [note(CHECK, `${drained.join(', ')} ${drained.length === 1 ? 'is' : 'are'} drained and ${drained.length === 1 ? 'gets' : 'get'} no leases`, `nimbus node activate ${drained[0] ?? ''}`)] : []),
  ];
}

function hostKeys(nodes: readonly NodeLook[]): Finding[] {
  const changed = nodes.flatMap(({ row, answer }) => ('missing' in answer && KEY_CHANGED.test(answer.missing)
    ? [fail('host keys', `${row.name}: ${answer.missing}`, 'find out who answers there; of a host that was installed anew, end or forget its leases, remove the node and add it again')] : []));
  const pinned = nodes.filter((n) => n.row.access.transport === 'ssh' && answers(n)).length;
  return [...changed, ...(pinned > 0 ? [ok('host keys', `${pinned} ${pinned === 1 ? 'node shows' : 'nodes show'} the key that is pinned`)] : [])];
}

function versions({ nodes, version }: DoctorSite): Finding[] {
  const others = nodes.flatMap(({ row, answer }) => ('missing' in answer || answer.version === version ? [] : [
    warn('agents', `${row.name} runs agent ${answer.version}, the service is ${version}`, row.access.transport === 'ssh' ? `nimbus node upgrade ${row.name}` : LOCAL_AGENT),
  ]));
  const same = nodes.filter(({ answer }) => !('missing' in answer) && answer.version === version).length;
  return [...others, ...(same > 0 ? [ok('agents', `${same} ${same === 1 ? 'runs' : 'run'} agent ${version}, as the service`)] : [])];
}

/** The node's own words, each with how to mend it; those of the helper are a check of their own. */
function lacks(nodes: readonly NodeLook[]): Finding[] {
  return nodes.flatMap(({ row, answer }) => ('missing' in answer ? [] : answer.status.missing.map((m) => (m.startsWith('the helper')
    ? fail('helper', `${row.name}: ${m}`, `on ${row.name}, as root (visudo -f /etc/sudoers.d/nimbus), with the agent’s account for ACCOUNT:`,
      '  ACCOUNT ALL=(root) NOPASSWD: /usr/bin/node /opt/nimbus/workspace-control.cjs helper', `then, as that account: sudo -n -l`)
    : fail(CHECK, `${row.name}: ${m}`, `mend it on ${row.name}, then look there: workspace-control status`)))));
}

type Access = NodeLook['row']['access'];
const where = (a: Access): string => (a.transport === 'ssh' ? `${a.user}@${a.host}:${a.port}` : a.transport);

/** Reasons of SSH begin with it. */
const withoutAddress = (reason: string, address: string): string => (reason.startsWith(`${address}: `) ? reason.slice(address.length + 2) : reason);

function wayTo(a: Access, name: string): string[] {
  if (a.transport !== 'ssh') return ['look at agent.log in its state directory', 'and at the service’s log: agent cannot be reached'];
  return [
    `see that the host is up and its sshd answers: ssh -p ${a.port} ${a.user}@${a.host}`,
    `see that its authorized_keys lets the operating key in; this writes it again: nimbus node upgrade ${name}`,
    'if it will never come back: nimbus lease destroy --forget its leases, then nimbus node remove it',
  ];
}
