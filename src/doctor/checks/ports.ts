/** The service's listeners: whether it answers there, or could; and what their addresses mean. */
import { connect, createServer, isIP } from 'node:net';
import { errorCode, reasonText } from '../../platform/errors.ts';
import { hostAndPort } from '../../platform/http/address.ts';
import { fail, note, ok, warn } from '../findings.ts';
import type { Check, DoctorSite, Finding } from '../types.ts';

const CHECK = 'ports';
const ANSWER_MS = 3_000;

interface Listener {
  readonly key: string;
  readonly host: string;
  readonly port: number;
}

export const ports: Check = {
  name: CHECK,
  async look(site) {
    const open = listeners(site);
    const free = open.filter((l) => l.port === 0).map((l) => note(CHECK, `${l.key} takes a free port, another one at each start`, 'the ready file and "nimbus status" say which'));
    const looked = await Promise.all(open.filter((l) => l.port !== 0).map((l) => (site.serving ? answers(l) : canListen(l))));
    return [...free, ...looked, ...open.flatMap((l) => forwarded(l, site)), ...exposed(site)];
  },
};

/** The pilots' one has a check of its own. */
function listeners({ config: { ec2, monitoring, wsrf } }: DoctorSite): Listener[] {
  return ([['ec2.listen', ec2.listen], ['monitoring.listen', monitoring.listen], ['wsrf.listen', wsrf.listen], ['wsrf.legacy_listen', wsrf.legacy_listen]] as const)
    .filter(([, listen]) => listen !== '')
    .map(([key, listen]) => ({ key, host: hostAndPort(listen).host, port: Number(hostAndPort(listen).port) }));
}

const shown = ({ key, host, port }: Listener): string => `${key} (${host || '*'}:${port})`;
const everywhere = (host: string): boolean => ['', '*', '0.0.0.0', '::'].includes(host);

function answers(l: Listener): Promise<Finding> {
  return new Promise((resolve) => {
    const socket = connect({ host: everywhere(l.host) ? '127.0.0.1' : l.host, port: l.port, timeout: ANSWER_MS });
    const end = (f: Finding): void => { socket.destroy(); resolve(f); };
    const lost = (why: string): void => end(fail(CHECK, `nothing answers at ${shown(l)}: ${why}`, 'look at the service’s log; start it again (VMs run on)'));
    socket.once('connect', () => end(ok(CHECK, `${shown(l)} takes connections`)));
    socket.once('timeout', () => lost(`no connection within ${ANSWER_MS / 1000} s`));
    socket.once('error', (e) => lost(reasonText(e)));
  });
}

/** Nothing is said on it: it is opened, and closed. */
function canListen(l: Listener): Promise<Finding> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (e) => resolve(fail(CHECK, `${shown(l)} cannot be opened: ${reasonText(e)}`,
      errorCode(e) === 'EADDRINUSE' ? `find out which program has it (ss -ltnp sport = :${l.port}), or set another port` : `set ${l.key} to an address of this machine and a port that the service’s user may open`)));
    server.listen({ port: l.port, exclusive: true, ...(everywhere(l.host) ? {} : { host: l.host }) }, () => server.close(() => resolve(ok(CHECK, `${shown(l)} is free`))));
  });
}

/** Agents beside the service pass over a port that is taken; a service that is started after a guest does not find its own free. */
function forwarded(l: Listener, { config, batch }: DoctorSite): Finding[] {
  const [from = 0, to = 0] = config.network.forward_ports.split('-').map(Number);
  if (batch !== null || config.local_nodes.length === 0 || l.port < from || l.port > to) return [];
  return [warn(CHECK, `${shown(l)} is one of the ports that lead to guests on this machine (network.forward_ports = ${config.network.forward_ports})`, `move one of the two: a guest may have the port when the service starts`)];
}

function isLoopback(listen: string): boolean {
  const { host } = hostAndPort(listen);
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function exposed({ config: { ec2, monitoring } }: DoctorSite): Finding[] {
  return [
    ...(!isLoopback(ec2.listen) && ec2.tls_certificate === '' ? [warn(CHECK, `users reach ec2.listen = ${ec2.listen} without TLS: keys do not cross the network, but user data and answers do, in the clear`, 'set ec2.tls_certificate and ec2.tls_key, or put a proxy with TLS before it')] : []),
    ...(monitoring.listen !== '' && !isLoopback(monitoring.listen) ? [warn(CHECK, `monitoring.listen = ${monitoring.listen} answers whoever reaches it`, 'let nobody but Prometheus through, or listen on 127.0.0.1 behind a proxy')] : []),
  ];
}
