/**
 * Which addresses the service sends to because a user says so. By default not to itself, nor to what only this machine or its link can
 * reach: a user must not use the service to talk to what he cannot talk to himself.
 */
import { lookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';

const NOBODYS: ReadonlyArray<readonly [net: string, prefix: number, what: string]> = [
  ['0.0.0.0', 8, 'no address of a machine'], ['127.0.0.0', 8, 'this machine itself'], ['169.254.0.0', 16, 'link-local'], ['224.0.0.0', 4, 'multicast'],
  ['240.0.0.0', 4, 'reserved'], ['::', 128, 'no address of a machine'], ['::1', 128, 'this machine itself'], ['fe80::', 10, 'link-local'], ['ff00::', 8, 'multicast'],
];

export interface AddressPolicy {
  /** Why nothing is sent to this address; undefined when it may be. */
  refusal(address: string): string | undefined;
  /** As node:dns, for sockets: a name is refused when any of its addresses is. */
  readonly lookup: LookupFunction;
}

type Resolve = (hostname: string, options: LookupOptions & { all: true }, callback: (error: Error | null, found: LookupAddress[]) => void) => void;

/**
 * @param allowed addresses and networks (`10.0.0.0/8`) that may be sent to whatever they are
 * @param resolve what says where a name leads
 */
export function createAddressPolicy(allowed: readonly string[], resolve: Resolve = lookup): AddressPolicy {
  const open = new BlockList();
  for (const entry of allowed) {
    const [address = '', prefix] = entry.split('/');
    open.addSubnet(address, Number(prefix ?? (isIP(address) === 6 ? 128 : 32)), family(address));
  }
  const nobodys = NOBODYS.map(([net, prefix, what]) => {
    const list = new BlockList();
    list.addSubnet(net, prefix, family(net));
    return { list, what };
  });

  function refusal(given: string): string | undefined {
    // An IPv4 address in the clothes of an IPv6 one.
    const address = given.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
    if (isIP(address) === 0) return 'is no address';
    if (open.check(address, family(address))) return undefined;
    const found = nobodys.find(({ list }) => list.check(address, family(address)));
    if (found !== undefined) return `is ${found.what}`;
    return ownAddresses().check(address, family(address)) ? 'is this machine itself' : undefined;
  }

  return {
    refusal,
    lookup(hostname, options, callback) {
      resolve(hostname, { ...options, all: true }, (error, found) => {
        if (error !== null) return callback(error, '', 0);
        const bad = found.find((a) => refusal(a.address) !== undefined);
        if (bad !== undefined) return callback(new Error(`${hostname} is ${bad.address}, which ${refusal(bad.address) ?? ''}`), '', 0);
        const [first] = found;
        if (options.all === true) callback(null, found);
        else callback(null, first?.address ?? '', first?.family ?? 0);
      });
    },
  };
}

const family = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4');

/** As a list that also knows an IPv4 address in the form of an IPv6 one. */
function ownAddresses(): BlockList {
  const own = new BlockList();
  for (const { address } of Object.values(networkInterfaces()).flatMap((all) => all ?? [])) own.addAddress(address.replace(/%.*$/, ''), family(address));
  return own;
}
