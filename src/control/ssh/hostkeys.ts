/**
 * Host keys. A pin is the key as known_hosts has it, `ssh-ed25519 AAAA…`; fingerprints are printed as OpenSSH prints them
 * (`SHA256:` and base64 without padding).
 */
import { createHash } from 'node:crypto';

/** Host key algorithms, best first; the ones that ssh2 can negotiate. `ssh-rsa` as an algorithm is SHA-1: left out. */
const ALGORITHMS = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'rsa-sha2-512', 'rsa-sha2-256'] as const;
export type HostKeyAlgorithm = (typeof ALGORITHMS)[number];
const KEY_TYPES: readonly string[] = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa'];

export function fingerprint(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** RFC 4253, 6.6: a key blob begins with its type as an SSH string. */
export function keyType(blob: Buffer): string | undefined {
  const length = blob.length >= 4 ? blob.readUInt32BE(0) : 0;
  const type = length > 0 && length <= 64 && blob.length >= 4 + length ? blob.toString('latin1', 4, 4 + length) : '';
  return KEY_TYPES.includes(type) ? type : undefined;
}

export function pinOf(blob: Buffer): string {
  return `${keyType(blob) ?? 'unknown'} ${blob.toString('base64')}`;
}

/** The blob of `type base64 [comment]`; undefined when it is no public key of a type that can be a host key here. */
export function readPin(pin: string): Buffer | undefined {
  const [type = '', base64 = ''] = pin.trim().split(/\s+/);
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined;
  const blob = Buffer.from(base64, 'base64');
  return keyType(blob) === type ? blob : undefined;
}

/** Algorithms to offer to a host with pins of these types: theirs first, so that a host with several keys shows a pinned one. */
export function algorithmsFor(types: string | readonly string[] | undefined): HostKeyAlgorithm[] {
  const own = (a: HostKeyAlgorithm): boolean => [types ?? []].flat().includes(a.startsWith('rsa-') ? 'ssh-rsa' : a);
  return [...ALGORITHMS.filter(own), ...ALGORITHMS.filter((a) => !own(a))];
}
