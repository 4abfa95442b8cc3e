/** IPv4 addresses and netmasks as people write them. */
import { isIPv4 } from 'node:net';

/** The four octets as one number, or undefined. Leading zeros are refused: some readers take them for octal. */
export function parseIPv4(text: string): number | undefined {
  if (!isIPv4(text)) return undefined;
  return text.split('.').reduce((n, octet) => n * 256 + Number(octet), 0);
}

export const formatIPv4 = (n: number): string => [24, 16, 8, 0].map((shift) => (n >>> shift) & 255).join('.');

/** Prefix length of `255.255.255.0`, `/24` or `24`; undefined when it is no netmask. */
export function parseNetmask(text: string): number | undefined {
  const length = /^\/?(\d{1,2})$/.exec(text);
  if (length !== null) return Number(length[1]) <= 32 ? Number(length[1]) : undefined;
  const mask = parseIPv4(text);
  if (mask === undefined) return undefined;
  const prefix = Math.clz32(~mask);
  return maskOf(prefix) === mask ? prefix : undefined;
}

export const maskOf = (prefix: number): number => (prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0);

export const sameNetwork = (a: number, b: number, prefix: number): boolean => ((a ^ b) & maskOf(prefix)) === 0;

/** An address that one host can have in a network of this prefix: not the network's own, not broadcast, not multicast. */
export function isHostAddress(ip: number, prefix: number): boolean {
  const first = ip >>> 24;
  if (first === 0 || first === 127 || first >= 224) return false;
  if (prefix >= 31) return true;
  const host = (ip & ~maskOf(prefix)) >>> 0;
  return host !== 0 && host !== (~maskOf(prefix) >>> 0);
}
