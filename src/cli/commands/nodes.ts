import type { Command } from 'commander';
import type { NodeView } from '../../manager/admin-types.ts';
import { path } from '../client.ts';
import { each, envOf, type CliDeps, type Env } from '../env.ts';
import { ipv4, list, wholeNumber } from '../format.ts';
import { printable } from '../io.ts';
import { addNode, upgradeNode, type AddNodeOptions } from '../node-add.ts';

const GUEST_ADDRESS = "address of the node at which users reach guests behind forwarded ports (default: what the host's name leads to)";

export function addNodeCommands(program: Command, deps: CliDeps): void {
  const node = program.command('node').description('machines that run VMs');
  addCommand(node, deps);
  listCommand(node, deps);
  switchCommand(node, deps, 'drain', 'give nodes no new leases; those they hold live on', false);
  switchCommand(node, deps, 'activate', 'give drained nodes leases again', true);

  node.command('remove <names...>')
    .description('forget nodes that hold no leases')
    .addHelpText('after', '\nExample:\n  nimbus node drain n3 && nimbus node remove n3')
    .action(async (names: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, names, (name) => env.client.delete(path`/v1/nodes/${name}`), (_r, name) => `${name} was removed`);
    });

  node.command('upgrade <names...>')
    .description("put this version's agent on SSH nodes; VMs run on")
    .option('--install-key <file>', 'your private key for the nodes (default: SSH agent, ~/.ssh/id_*)')
    .option('--driver <driver>', 'auto, qemu or simulated', 'auto')
    .option('--guest-address <ip>', GUEST_ADDRESS, ipv4)
    .addHelpText('after', '\nExample:\n  nimbus node upgrade n1 n2 --install-key ~/.ssh/cluster')
    .action(async (names: string[], o: { installKey?: string; driver: string; guestAddress?: string }, command: Command) => {
      const env = envOf(command, deps);
      const nodes = await env.client.get<NodeView[]>('/v1/nodes');
      await each(env, names, (name) => upgradeNode(env, nodes, name, o), (r, name) => `${name} runs agent ${r.agentVersion}`);
    });
}

function addCommand(node: Command, deps: CliDeps): void {
  node.command('add <host>')
    .description('install the agent on a machine over SSH and give it leases')
    .option('--name <name>', 'name of the node (default: the host up to its first dot)')
    .option('--user <user>', 'account on the node', 'root')
    .option('--port <port>', 'SSH port', wholeNumber, 22)
    .option('--install-key <file>', 'your private key for the node (default: SSH agent, ~/.ssh/id_*)')
    .option('--host-key <key>', "the node's host key or its SHA256 fingerprint, if you know it")
    .option('--known-hosts <file>', 'known_hosts file that has the host key or its CA')
    .option('--yes', 'trust the host key that the node shows')
    .option('--memory <MiB>', "for VMs (default: three quarters of the node's)", wholeNumber)
    .option('--cores <n>', "for VMs (default: the node's)", wholeNumber)
    .option('--zone <zone>', 'availability zone', 'default')
    .option('--networks <names>', 'networks that reach the node, with commas (default: all)', list)
    .option('--driver <driver>', 'auto, qemu or simulated', 'auto')
    .option('--guest-address <ip>', GUEST_ADDRESS, ipv4)
    .addHelpText('after', `
Examples:
  nimbus node add n1.example.org
  nimbus node add 10.0.0.7 --name n7 --user nimbus \\
      --install-key ~/.ssh/cluster --host-key SHA256:… \\
      --memory 65536 --cores 32 --zone rack2 --networks public

Your key installs; the service gets a key of its own that can start the agent
and nothing else. Running the command again repeats the installation.`)
    .action(async (host: string, o: AddNodeOptions, command: Command) => addNode(envOf(command, deps), host, o));
}

function listCommand(node: Command, deps: CliDeps): void {
  node.command('list')
    .description('all nodes with their room')
    .addHelpText('after', '\nExample:\n  nimbus node list')
    .action(async (_o: unknown, command: Command) => {
      const env = envOf(command, deps);
      showNodes(env, await env.client.get<NodeView[]>('/v1/nodes'));
    });
}

export function nodeState(n: NodeView): string {
  return [n.reachable ? 'up' : 'down', ...(n.active ? [] : ['drained'])].join(', ');
}

export function showNodes(env: Env, nodes: readonly NodeView[]): void {
  env.table(nodes, [
    { title: 'NODE', value: (n) => n.name, shrinks: true },
    { title: 'STATE', value: nodeState },
    { title: 'VMS', value: (n) => n.leases },
    { title: 'MEMORY MiB', value: (n) => `${n.memoryUsed}/${n.memoryMb}` },
    { title: 'CORES', value: (n) => `${n.coresUsed}/${n.cores}` },
    { title: 'ZONE', value: (n) => n.zone, shrinks: true },
    { title: 'DRIVER', value: (n) => n.driver ?? '-' },
    { title: 'ADDRESS', value: (n) => n.address, shrinks: true },
  ], 'There are no nodes. Add one with: nimbus node add HOST');
  if (env.json) return;
  for (const n of nodes) if (!n.reachable && n.lastError !== null) env.io.err(`${printable(`${n.name}: ${n.lastError}`)}\n`);
}

function switchCommand(node: Command, deps: CliDeps, verb: string, description: string, active: boolean): void {
  node.command(`${verb} <names...>`)
    .description(description)
    .addHelpText('after', `\nExample:\n  nimbus node ${verb} n3 n4`)
    .action(async (names: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, names, (name) => env.client.patch<NodeView>(path`/v1/nodes/${name}`, { active }),
        (n) => (active ? `${n.name} takes leases` : `${n.name} takes no new leases; it holds ${n.leases}`));
    });
}
