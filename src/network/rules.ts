/** What a network and an address of its pool may be; what administrators write becomes rows. */
import { Fault } from '../lease/faults.ts';
import { isName } from '../lease/ids.ts';
import type { NetworkKind } from '../lease/types.ts';
import type { NetworkRow } from '../store/networks.ts';
import { formatIPv4, isHostAddress, parseIPv4, parseNetmask, sameNetwork } from './ipv4.ts';
import { parseMac } from './mac.ts';

/** IFNAMSIZ is 16 with its NUL (netdevice(7)). */
const INTERFACE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/;
/** RFC 1123 section 2.1. */
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const MOST_NAME_SERVERS = 8;

export interface NetworkAsked {
  readonly name: string;
  readonly kind: NetworkKind;
  readonly bridge?: string | undefined;
  readonly netmask: string;
  readonly gateway?: string | undefined;
  readonly dns?: readonly string[] | undefined;
}

/** @throws Fault ParameterInvalid */
export function checkNetwork(asked: NetworkAsked): Omit<NetworkRow, 'id'> {
  const { name, kind, bridge, dns = [] } = asked;
  if (!isName(name)) throw refused('A network name is 1 to 64 letters, digits, ".", "_" or "-"', name);
  if (kind === 'bridge' && !INTERFACE.test(bridge ?? '')) throw refused('A network of kind bridge needs the name of its host bridge', bridge ?? 'none given');
  if (kind === 'user' && bridge !== undefined) throw refused('A network of kind user has no bridge', bridge);
  const prefix = parseNetmask(asked.netmask);
  if (prefix === undefined) throw refused('The netmask must be like 255.255.255.0 or 24', asked.netmask);
  const gateway = asked.gateway === undefined ? null : hostAddress(asked.gateway, prefix, 'gateway');
  if (dns.length > MOST_NAME_SERVERS || !dns.every((d) => parseIPv4(d) !== undefined)) {
    throw refused(`Name servers are up to ${MOST_NAME_SERVERS} IPv4 addresses`, dns.join(', '));
  }
  return { name, kind, bridge: bridge ?? null, prefix, gateway, dns: [...dns] };
}

export interface AddressAsked {
  readonly ip: string;
  readonly hostname?: string | undefined;
  readonly mac?: string | undefined;
}
/** `mac` is null when one shall be generated. */
export interface CheckedAddress {
  readonly ip: string;
  readonly hostname: string;
  readonly mac: string | null;
}

/** @throws Fault ParameterInvalid, AddressExists when two of them are the same */
export function checkAddresses(network: NetworkRow, asked: readonly AddressAsked[]): CheckedAddress[] {
  if (network.kind === 'user') throw refused('A network of kind user needs no addresses: each guest is alone behind its node', network.name);
  const checked = asked.map((a) => checkAddress(network, a));
  for (const field of ['ip', 'hostname', 'mac'] as const) {
    const seen = new Set<string>();
    for (const value of checked.map((a) => a[field])) {
      if (value === null) continue;
      if (seen.has(value)) throw new Fault('AddressExists', 'The same address is named twice', [`${field} ${value}`]);
      seen.add(value);
    }
  }
  return checked;
}

function checkAddress(network: NetworkRow, asked: AddressAsked): CheckedAddress {
  const ip = hostAddress(asked.ip, network.prefix, 'address');
  if (network.gateway !== null) {
    if (ip === network.gateway) throw refused('The address is the gateway', ip);
    if (!sameNetwork(parseIPv4(ip) ?? 0, parseIPv4(network.gateway) ?? 0, network.prefix)) {
      throw refused(`The address is not in the network of its gateway, ${network.gateway}/${network.prefix}`, ip);
    }
  }
  const hostname = (asked.hostname ?? hostnameFor(network.name, ip)).toLowerCase();
  if (hostname.length > 253 || !hostname.split('.').every((label) => LABEL.test(label))) throw refused('The text is no host name', hostname);
  const mac = asked.mac === undefined ? null : parseMac(asked.mac);
  if (mac === undefined) throw refused('The MAC must be six hex pairs of one host, like 52:54:00:12:34:56', asked.mac ?? '');
  return { ip, hostname, mac };
}

function hostAddress(text: string, prefix: number, what: string): string {
  const ip = parseIPv4(text);
  if (ip === undefined || !isHostAddress(ip, prefix)) throw refused(`The ${what} must be an IPv4 address that a host can have in a /${prefix}`, text);
  return formatIPv4(ip);
}

/** `public`, 192.0.2.11 → `public-192-0-2-11`; as long as a label may be. */
const hostnameFor = (network: string, ip: string): string => `${network.replace(/[._]+/g, '-').slice(0, 40)}-${ip.replaceAll('.', '-')}`;

const refused = (message: string, value: string): Fault => new Fault('ParameterInvalid', message, [JSON.stringify(value.slice(0, 255))]);
