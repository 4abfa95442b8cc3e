/** `nimbus node add` and `node upgrade`: the administrator's key installs the agent, then the service is told of the node. */
import type { NetworkView, NodeView } from '../manager/admin-types.ts';
import type { NodeAccess } from '../lease/node.ts';
import type { NodeStatus } from '../control/protocol.ts';
import { Refused, UsageError } from './exit.ts';
import type { Env } from './env.ts';
import { printable } from './io.ts';
import type { Installed, InstallRequest, InstallWatcher } from './node-installer.ts';

export interface AddNodeOptions {
  readonly name?: string;
  readonly user: string;
  readonly port: number;
  readonly installKey?: string;
  readonly hostKey?: string;
  readonly knownHosts?: string;
  readonly yes?: boolean;
  readonly memory?: number;
  readonly cores?: number;
  readonly zone: string;
  readonly networks?: string[];
  readonly driver: string;
  readonly guestAddress?: string;
}

export async function addNode(env: Env, host: string, o: AddNodeOptions): Promise<void> {
  const name = o.name ?? (/^[\d.]+$|:/.test(host) ? host.replaceAll(':', '-').replace(/^-+|-+$/g, '') : (host.split('.')[0] ?? host));
  const request = { host, port: o.port, user: o.user, installKey: o.installKey, hostKey: o.hostKey, knownHosts: o.knownHosts, driver: driver(o.driver), guestAddress: o.guestAddress };
  await acceptable(env, name, o.networks ?? []);
  const installed = await install(env, request, o.yes === true);
  const { status } = installed;
  const access: NodeAccess = { transport: 'ssh', host, port: o.port, user: o.user, hostKey: installed.hostKey };
  const node = await env.client.post<NodeView>('/v1/nodes', {
    name, zone: o.zone, memoryMb: o.memory ?? Math.floor(status.memoryMb * 0.75), cores: o.cores ?? status.cores,
    ...(o.networks === undefined ? {} : { networks: o.networks }), access,
  });
  env.say({ ...node, hostKey: installed.hostKey, fingerprint: installed.fingerprint, status }, `${node.name} takes leases: ${node.memoryMb} MiB and ${node.cores} cores for VMs, `
    + `driver ${status.driver}${status.accelerator === null ? '' : ` (${status.accelerator})`}, agent ${installed.agentVersion}\n`
    + `host key ${installed.fingerprint} is pinned`);
}

/** What the service would refuse afterwards is said before the host is touched. */
async function acceptable(env: Env, name: string, networks: readonly string[]): Promise<void> {
  const nodes = await env.client.get<NodeView[]>('/v1/nodes');
  if (nodes.some((n) => n.name === name)) {
    throw new Refused('NodeExists', `A VMM node named ${name} exists already`, [`renew its agent with: nimbus node upgrade ${name}`, 'or choose another name for this one: --name']);
  }
  if (networks.length === 0) return;
  const known = (await env.client.get<NetworkView[]>('/v1/networks')).map((n) => n.name);
  const unknown = networks.filter((n) => n !== '*' && !known.includes(n));
  if (unknown.length > 0) throw new Refused('NetworkNotFound', 'A VMM node can only offer networks that exist', unknown.map((n) => `no network is named ${n}`));
}

export async function upgradeNode(env: Env, nodes: readonly NodeView[], name: string, o: { installKey?: string; driver: string; guestAddress?: string }): Promise<Installed> {
  const node = nodes.find((n) => n.name === name);
  if (node === undefined) throw new Refused('NodeNotFound', 'no VMM node has this name');
  const target = /^(.+)@\[?(.+?)\]?:(\d+)$/.exec(node.address);
  if (node.transport !== 'ssh' || target === null || node.hostKey === null) {
    throw new Refused('Unsupported', 'the node is on the machine of the service; its agent is upgraded with the service');
  }
  const [, user = '', host = '', port = ''] = target;
  return install(env, { host, port: Number(port), user, installKey: o.installKey, hostKey: node.hostKey, knownHosts: undefined, driver: driver(o.driver), guestAddress: o.guestAddress ?? 'keep' }, false);
}

type Ready = Installed & { readonly status: NodeStatus };

async function install(env: Env, request: Omit<InstallRequest, 'operatingKey' | 'agentConfig' | 'dataDir'>, yes: boolean): Promise<Ready> {
  const agent = await env.client.get<{ operatingKey: string; agentConfig: InstallRequest['agentConfig'] }>('/v1/agent');
  const installed = await env.installer.install({ ...request, ...agent, dataDir: env.dataDir }, watcher(env, request.host, yes));
  const { status, missing } = installed;
  if (status === null || missing.length > 0) throw new Refused('NodeRefused', `${request.host} cannot run VMs yet; mend this and run the command again`, missing);
  if (status.driver === 'simulated' && request.driver !== 'simulated') {
    throw new Refused('NodeRefused', `${request.host} has no QEMU, so its VMs would only be simulated`, [
      'install it there (Debian: apt-get install qemu-system-x86 qemu-utils) and run the command again', 'or mean it: --driver simulated',
    ]);
  }
  return { ...installed, status };
}

function watcher(env: Env, host: string, yes: boolean): InstallWatcher {
  return {
    progress: (what) => {
      if (env.io.watched) env.io.err(`${printable(what)}\n`);
    },
    async trust({ fingerprint, type }) {
      env.io.err(`${printable(`${host} shows the host key ${type} ${fingerprint}`)}\n`);
      if (yes) return true;
      const answer = await env.io.ask('Compare it with the key on the node (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub). Is it the same? [y/N] ');
      if (answer === null) throw new UsageError('nobody is here to confirm the host key: pass --host-key, --known-hosts or --yes');
      return /^y(es)?$/i.test(answer.trim());
    },
  };
}

function driver(text: string): InstallRequest['driver'] {
  if (text === 'auto' || text === 'qemu' || text === 'simulated') return text;
  throw new UsageError(`--driver is auto, qemu or simulated, not "${text}"`);
}
