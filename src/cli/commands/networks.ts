import type { Command } from 'commander';
import type { AddressView, NetworkView } from '../../manager/admin-types.ts';
import { newAddresses } from '../addresses.ts';
import { path } from '../client.ts';
import { each, envOf, type CliDeps } from '../env.ts';
import { list } from '../format.ts';

export function addNetworkCommands(program: Command, deps: CliDeps): void {
  const network = program.command('network').description('pools of addresses that leases get');

  network.command('add <name>')
    .description('make a pool')
    .requiredOption('--netmask <mask>', 'netmask or prefix length')
    .option('--bridge <bridge>', 'bridge on the nodes (default: user-mode network, SSH is forwarded)')
    .option('--gateway <ip>', 'default route of the guests')
    .option('--dns <ips>', 'name servers, with commas', list)
    .addHelpText('after', `
Example:
  nimbus network add public --bridge br0 --netmask 255.255.255.0 \\
      --gateway 192.0.2.1 --dns 192.0.2.2,192.0.2.3
  nimbus network address add public 192.0.2.10-192.0.2.99`)
    .action(async (name: string, o: { netmask: string; bridge?: string; gateway?: string; dns?: string[] }, command: Command) => {
      const env = envOf(command, deps);
      const made = await env.client.post<NetworkView>('/v1/networks', { name, kind: o.bridge === undefined ? 'user' : 'bridge', ...o });
      env.say(made, `${made.name} was made; give it addresses with: nimbus network address add ${made.name} FROM-TO`);
    });

  network.command('list')
    .description('all pools')
    .addHelpText('after', '\nExample:\n  nimbus network list')
    .action(async (_o: unknown, command: Command) => {
      const env = envOf(command, deps);
      env.table(await env.client.get<NetworkView[]>('/v1/networks'), [
        { title: 'NETWORK', value: (n) => n.name, shrinks: true },
        { title: 'KIND', value: (n) => (n.bridge === null ? n.kind : `bridge ${n.bridge}`) },
        { title: 'PREFIX', value: (n) => n.prefix },
        { title: 'GATEWAY', value: (n) => n.gateway ?? '-' },
        { title: 'DNS', value: (n) => n.dns.join(',') || '-', shrinks: true },
        { title: 'ADDRESSES', value: (n) => n.addresses },
        { title: 'IN USE', value: (n) => n.inUse },
      ], 'There are no networks. Make one with: nimbus network add NAME --netmask 24');
    });

  network.command('remove <names...>')
    .description('remove pools that no lease uses')
    .addHelpText('after', '\nExample:\n  nimbus network remove lab')
    .action(async (names: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, names, (name) => env.client.delete(path`/v1/networks/${name}`), (_r, name) => `${name} was removed`);
    });

  addAddressCommands(network, deps);
}

function addAddressCommands(network: Command, deps: CliDeps): void {
  const address = network.command('address').description('addresses of a pool');

  address.command('add <network> [addresses...]')
    .description('add addresses: single ones, FROM-TO ranges, or a file of them')
    .option('--hostname <name>', 'of a single address (default: made from network and address)')
    .option('--mac <mac>', 'of a single address (default: made with the prefix of the site)')
    .option('--file <file>', 'lines of IP [HOSTNAME [MAC]]; # begins a comment; - is stdin')
    .addHelpText('after', `
Examples:
  nimbus network address add public 192.0.2.10-192.0.2.99
  nimbus network address add public 192.0.2.5 --hostname head \\
      --mac A2:AA:BB:00:00:05
  nimbus network address add public --file pool.txt`)
    .action(async (name: string, texts: string[], o: { hostname?: string; mac?: string; file?: string }, command: Command) => {
      const env = envOf(command, deps);
      const made = await env.client.post<AddressView[]>(path`/v1/networks/${name}/addresses`, newAddresses(texts, o));
      env.say(made, `${name} has ${made.length} more ${made.length === 1 ? 'address' : 'addresses'}`);
    });

  address.command('list <network>')
    .description('addresses of a pool and the leases that have them')
    .addHelpText('after', '\nExample:\n  nimbus network address list public')
    .action(async (name: string, _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      env.table(await env.client.get<AddressView[]>(path`/v1/networks/${name}/addresses`), [
        { title: 'ADDRESS', value: (a) => a.ip },
        { title: 'HOSTNAME', value: (a) => a.hostname, shrinks: true },
        { title: 'MAC', value: (a) => a.mac },
        { title: 'LEASE', value: (a) => a.lease ?? '-' },
      ], `${name} has no addresses. Add some with: nimbus network address add ${name} FROM-TO`);
    });

  address.command('remove <network> <addresses...>')
    .description('remove addresses that no lease has')
    .addHelpText('after', '\nExample:\n  nimbus network address remove public 192.0.2.10 192.0.2.11')
    .action(async (name: string, ips: string[], _o: unknown, command: Command) => {
      const env = envOf(command, deps);
      await each(env, ips, (ip) => env.client.delete(path`/v1/networks/${name}/addresses/${ip}`), (_r, ip) => `${ip} was removed`);
    });
}
