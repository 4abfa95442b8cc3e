/**
 * Addresses of a user-mode network. QEMU's slirp gives the guest exactly the leased address by DHCP and itself needs two
 * more in the same network: the gateway that it plays, and its name server.
 */
import type { LaunchNic } from './launch.ts';

export interface UserNetwork {
  /** `network/prefix` */
  readonly net: string;
  readonly host: string;
  readonly dns: string;
  readonly guest: string;
}

/** Networks smaller than this are widened: each has to hold the guest, the gateway and the name server. */
const LONGEST_PREFIX = 28;
const SHORTEST_PREFIX = 8;

export function userNetwork(nic: Pick<LaunchNic, 'ip' | 'prefix' | 'gateway' | 'dns'>): UserNetwork {
  const guest = toNumber(nic.ip);
  let prefix = Math.min(Math.max(nic.prefix, SHORTEST_PREFIX), LONGEST_PREFIX);
  while (prefix > SHORTEST_PREFIX && !isHost(guest, prefix)) prefix--;
  const network = guest - (guest % sizeOf(prefix));
  const usable = (n: number): boolean => n >= network && n < network + sizeOf(prefix) && isHost(n, prefix);
  const pick = (wanted: string | null | undefined, taken: readonly number[]): number => {
    const n = wanted == null ? network : toNumber(wanted);
    if (usable(n) && !taken.includes(n)) return n;
    let free = network + 1;
    while (taken.includes(free)) free++;
    return free;
  };
  const host = pick(nic.gateway, [guest]);
  const dns = pick(nic.dns[0], [guest, host]);
  return { net: `${toText(network)}/${prefix}`, host: toText(host), dns: toText(dns), guest: nic.ip };
}

const sizeOf = (prefix: number): number => 2 ** (32 - prefix);

/** Neither the network's own address nor its broadcast address. */
function isHost(n: number, prefix: number): boolean {
  const part = n % sizeOf(prefix);
  return part !== 0 && part !== sizeOf(prefix) - 1;
}

const toNumber = (ip: string): number => ip.split('.').reduce((n, octet) => n * 256 + Number(octet), 0);
const toText = (n: number): string => [24, 16, 8, 0].map((shift) => Math.floor(n / 2 ** shift) % 256).join('.');
