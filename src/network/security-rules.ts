/** Rules of security groups as users write them, and the one form in which each is kept (EC2 API reference, IpPermission). */
import { isIPv6 } from 'node:net';
import { Fault } from '../lease/faults.ts';
import { formatIPv4, maskOf, parseIPv4 } from './ipv4.ts';

/** Whom the rule lets in or out: a network, or a group by id or name. */
export type PeerAsked = { readonly cidr: string } | { readonly cidr6: string } | { readonly group: string };

export interface RuleAsked {
  readonly protocol: string;
  readonly fromPort?: number | undefined;
  readonly toPort?: number | undefined;
  readonly peer: PeerAsked;
  readonly description?: string | undefined;
}

/** Ports are -1 where the protocol has none, or all are meant. */
export interface RuleFacts {
  readonly protocol: string;
  readonly fromPort: number;
  readonly toPort: number;
  /** A CIDR, or the id of a group. */
  readonly peer: string;
  readonly description: string | null;
}

const NUMBERS: Readonly<Record<string, string>> = { 'all': '-1', '6': 'tcp', '17': 'udp', '1': 'icmp', '58': 'icmpv6' };
const WORDS = new Set(['-1', 'tcp', 'udp', 'icmp', 'icmpv6']);
const DESCRIPTION = /^[a-zA-Z0-9 ._\-:/()#,@[\]+=&;{}!$*]{0,255}$/;

/** `groupId` finds a group that is named. @throws Fault */
export function checkRule(asked: RuleAsked, groupId: (idOrName: string) => string): RuleFacts {
  const protocol = checkProtocol(asked.protocol);
  if (!DESCRIPTION.test(asked.description ?? '')) throw new Fault('ParameterInvalid', 'Invalid rule description: up to 255 of letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*');
  const { peer } = asked;
  return {
    protocol, ...checkPorts(protocol, asked), description: asked.description ?? null,
    peer: 'group' in peer ? groupId(peer.group) : 'cidr' in peer ? checkCidr(peer.cidr) : checkCidr6(peer.cidr6),
  };
}

function checkProtocol(text: string): string {
  const lower = text.toLowerCase();
  const protocol = NUMBERS[lower] ?? lower;
  if (WORDS.has(protocol) || (/^\d{1,3}$/.test(protocol) && Number(protocol) <= 255)) return protocol;
  throw new Fault('ParameterInvalid', `Invalid value '${text.slice(0, 40)}' for IP protocol. Unknown protocol.`);
}

function checkPorts(protocol: string, { fromPort, toPort }: RuleAsked): { fromPort: number; toPort: number } {
  if (protocol === 'icmp' || protocol === 'icmpv6') {
    const [type, code] = [fromPort ?? -1, toPort ?? -1];
    if (type < -1 || type > 255 || code < -1 || code > 255) throw new Fault('ParameterInvalid', `ICMP type (${type}) and code (${code}) must be from -1 to 255.`);
    return { fromPort: type, toPort: code };
  }
  if (protocol !== 'tcp' && protocol !== 'udp') return { fromPort: -1, toPort: -1 };
  if (fromPort === undefined || toPort === undefined) throw new Fault('ParameterMissing', `The request must contain FromPort and ToPort for protocol ${protocol}`);
  if (fromPort < 0 || toPort > 65_535 || fromPort > toPort) throw new Fault('ParameterInvalid', `Invalid port range: ${fromPort} to ${toPort} (0 to 65535, the first not above the second).`);
  return { fromPort, toPort };
}

/** With the bits of the host taken out. */
function checkCidr(text: string): string {
  const [, address = '', length = ''] = /^([\d.]{7,15})\/(\d{1,2})$/.exec(text) ?? [];
  const ip = parseIPv4(address);
  const prefix = Number(length);
  if (ip === undefined || prefix > 32) throw malformed(text);
  return `${formatIPv4((ip & maskOf(prefix)) >>> 0)}/${prefix}`;
}

function checkCidr6(text: string): string {
  const [, address = '', length = ''] = /^([0-9a-f:.]{2,45})\/(\d{1,3})$/i.exec(text) ?? [];
  if (!isIPv6(address) || Number(length) > 128) throw malformed(text);
  // One form for each address (RFC 5952), which URLs have too.
  return `${new URL(`http://[${address}]/`).hostname.slice(1, -1)}/${Number(length)}`;
}

const malformed = (text: string): Fault => new Fault('ParameterInvalid', `CIDR block ${text.slice(0, 60)} is malformed`);

export const sameRule = (a: RuleFacts, b: RuleFacts): boolean =>
  a.protocol === b.protocol && a.fromPort === b.fromPort && a.toPort === b.toPort && a.peer === b.peer;

export function ruleText(r: RuleFacts): string {
  return `peer: ${r.peer}, protocol: ${r.protocol}${r.fromPort < 0 ? '' : `, from port: ${r.fromPort}, to port: ${r.toPort}`}`;
}
