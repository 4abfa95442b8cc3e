import type { Command } from 'commander';
import type { NodeView } from '../../manager/admin-types.ts';
import { path } from '../client.ts';
import { each, envOf, type CliDeps, type Env } from '../env.ts';
import { ipv4, list, wholeNumber } from '../format.ts';
import { printable } from '../io.ts';
import { addNode, upgradeNode, type AddNodeOptions } from '../node-add.ts';
import { drainNodes, removeNodes, type WaitOptions } from '../node-leave.ts';

const GUEST_ADDRESS = "address of the node at which users reach guests behind forwarded ports (default: what the host's name leads to)";

export function addNodeCommands(program: Command, deps: CliDeps): void {
  const node = program.command('node').description('machines that run VMs');
  addCommand(node, deps);
  listCommand(node, deps);
  drainCommand(node, deps);
  activateCommand(node, deps);
  removeCommand(node, deps);

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

function drainCommand(node: Command, deps: CliDeps): void {
  node.command('drain <names...>')
    .description('give nodes no new leases; those they hold live on')
    .option('--wait', 'until they hold none; their leases end when their time is over')
    .option('--timeout <duration>', 'with --wait: how long', '1h')
    .addHelpText('after', `
Examples:
  nimbus node drain n3 n4
  nimbus node drain n3 n4 --wait --timeout 2d

With --wait, exit code 1 when a node still holds leases after that time.`)
    .action((names: string[], o: WaitOptions & { wait?: boolean }, command: Command) => drainNodes(envOf(command, deps), names, o));
}

function activateCommand(node: Command, deps: CliDeps): void {
  node.command('activate <names...>')
    .description('give drained nodes leases again')
    .addHelpText('after', '\nExample:\n  nimbus node activate n3 n4')
    .action(async (names: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, names, (name) => env.client.patch<NodeView>(path`/v1/nodes/${name}`, { active: true }), (n) => `${n.name} takes leases`);
    });
}

function removeCommand(node: Command, deps: CliDeps): void {
  node.command('remove <names...>')
    .description('forget nodes; refused while they hold leases')
    .option('--end-leases', 'drain them and end the leases on them first')
    .option('--timeout <duration>', 'with --end-leases: how long to wait for the ends', '5m')
    .option('--why <text>', 'with --end-leases: for the record of the leases')
    .addHelpText('after', `
Examples:
  nimbus node drain n3 --wait && nimbus node remove n3
  nimbus node remove n3 n4 --end-leases --why "rack 2 goes"`)
    .action((names: string[], o: WaitOptions & { endLeases?: boolean; why?: string }, command: Command) => removeNodes(envOf(command, deps), names, o));
}
