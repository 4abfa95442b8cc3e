/**
 * The site's networks as EC2 clients look for them: one VPC, a subnet for each network and zone, an interface for each NIC,
 * and a default security group for each account. Nothing of it is stored: ids follow from what is mirrored, so they are
 * the same in every process and after every restart.
 */
import { createHash } from 'node:crypto';
import { formatIPv4, maskOf, parseIPv4 } from './ipv4.ts';

const MOST_REMEMBERED = 10_000;
/** Networks that one guest joins, at most. */
const MOST_NICS = 16;
const remembered = new Map<string, string>();

function derivedId(prefix: string, ...of: readonly string[]): string {
  const key = `${prefix} ${of.join('\0')}`;
  let id = remembered.get(key);
  if (id === undefined) {
    if (remembered.size >= MOST_REMEMBERED) remembered.clear();
    remembered.set(key, id = `${prefix}-${createHash('sha256').update(key).digest('hex').slice(0, 17)}`);
  }
  return id;
}

export const vpcId = (region: string): string => derivedId('vpc', region);
export const subnetId = (network: string, zone: string): string => derivedId('subnet', network, zone);
export const interfaceId = (leaseId: string, index: number): string => `eni-${shifted(leaseId, index)}`;
/** Leases of which it may be an interface, each with the index that it would have. */
export function leasesOfInterface(id: string): Array<{ readonly lease: string; readonly index: number }> {
  if (!/^eni-(?:[0-9a-f]{8}|[0-9a-f]{17})$/.test(id)) return [];
  return Array.from({ length: MOST_NICS }, (_, index) => ({ lease: `i-${shifted(id.slice(2), -index)}`, index }));
}
export const attachmentId = (leaseId: string, index: number): string => `eni-attach-${shifted(leaseId, index)}`;
export const routeTableId = (region: string): string => derivedId('rtb', region);
export const routeAssociationId = (region: string): string => derivedId('rtbassoc', region);
export const gatewayId = (region: string): string => derivedId('igw', region);
export const subnetArn = (region: string, ownerId: string, id: string): string => `arn:aws:ec2:${region}:${ownerId}:subnet/${id}`;

export const DEFAULT_GROUP_NAME = 'default';
export const defaultGroupId = (ownerId: string): string => derivedId('sg', ownerId);
export const isDefaultGroup = (id: string, ownerId: string): boolean => id === defaultGroupId(ownerId);
/** Of the rules that the default group begins with. */
export const defaultRuleId = (ownerId: string, egress: boolean): string => derivedId('sgr', ownerId, String(egress));

/** A lease's id is random already; its NICs are told apart by the last digits. Leases are many, and hashing each would cost. */
function shifted(leaseId: string, index: number): string {
  const digits = leaseId.slice(2);
  const last = (Number.parseInt(digits.slice(-4), 16) + index + 0x10000) % 0x10000;
  return digits.slice(0, -4) + last.toString(16).padStart(4, '0');
}

/** What QEMU's user network gives the first NIC of every guest. */
export const USER_CIDR = '10.0.2.0/24';
/** Each guest is alone there: as many as a network of that size has beside those that EC2 keeps. */
export const USER_FREE = 251;

/** The smallest network that holds all of these, as CIDR; of none, that of user-mode guests. */
export function coveringCidr(cidrs: readonly string[]): string {
  const [first, ...others] = cidrs.map((c) => ({ ip: parseIPv4(c.slice(0, c.indexOf('/'))) ?? 0, prefix: Number(c.slice(c.indexOf('/') + 1)) }));
  if (first === undefined) return USER_CIDR;
  const prefix = others.reduce((p, o) => Math.min(p, o.prefix, Math.clz32((first.ip ^ o.ip) >>> 0)), first.prefix);
  return `${formatIPv4((first.ip & maskOf(prefix)) >>> 0)}/${prefix}`;
}
