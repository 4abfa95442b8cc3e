/** NICs of a lease, from the networks that it joins. */
import type { Nic } from '../lease/types.ts';
import type { Random } from '../platform/context.ts';
import type { NetworkRow } from '../store/networks.ts';
import type { PoolAddress } from './addresses.ts';
import { formatIPv4 } from './ipv4.ts';
import { generateMac } from './mac.ts';

export type NetworkFacts = Pick<NetworkRow, 'name' | 'kind' | 'bridge' | 'prefix' | 'gateway' | 'dns'>;

/** A NIC on a bridge: its address is an entry of the network's pool. */
export function bridgeNic(network: NetworkFacts, address: PoolAddress): Nic {
  return {
    network: network.name, kind: 'bridge', bridge: network.bridge, mac: address.mac, ip: address.ip,
    prefix: network.prefix, gateway: network.gateway, dns: network.dns, hostname: address.hostname,
  };
}

/**
 * A NIC of user-mode networking: each guest is alone behind its node, so every guest has the same address and no pool is
 * needed. Guest .15, gateway .2, name server .3 are what QEMU's user network gives (QEMU documentation, "Using the user
 * mode network stack"); `index` is the NIC's place in the lease, and each has a subnet of its own.
 */
export function userNic(random: Random, macPrefix: string, network: NetworkFacts, leaseId: string, index: number): Nic {
  const subnet = USER_SUBNET + index * 256;
  const at = (host: number): string => formatIPv4(subnet + host);
  return {
    network: network.name, kind: 'user', bridge: null, mac: generateMac(random, macPrefix), ip: at(15),
    prefix: 24, gateway: at(2), dns: network.dns.length > 0 ? network.dns : [at(3)], hostname: leaseId,
  };
}

const USER_SUBNET = 0x0a000200;
