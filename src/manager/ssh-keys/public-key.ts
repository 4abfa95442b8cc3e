/** Public keys as users hand them in: an OpenSSH line, an RFC 4716 block, or SubjectPublicKeyInfo as DER, PEM or bare base64. */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { Fault } from '../../lease/faults.ts';
import { decodePublicKey, encodePublicKey } from './wire.ts';

/** Room for RSA of 16,384 bits in any of the forms. */
const LONGEST = 16 * 1024;
const RSA_BITS = { least: 1024, most: 16_384 };

export interface PublicKey {
  readonly type: 'rsa' | 'ed25519' | 'ecdsa';
  readonly algorithm: string;
  /** What OpenSSH has in base64. */
  readonly blob: Buffer;
  /** SubjectPublicKeyInfo. */
  readonly der: Buffer;
}

/** @throws Fault KeyFormat */
export function parsePublicKey(material: Buffer): PublicKey {
  if (material.length === 0) throw refused('the key is empty');
  if (material.length > LONGEST) throw refused(`the key has ${material.length} bytes, more than any key of a known type`);
  const text = material.toString('latin1').trim();
  if (/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(text)) throw refused('this is a private key: send the public one, and make a new pair, as this one has travelled');
  const key = material[0] === 0x30 ? fromDer(material) : fromText(text);
  if (key === undefined) throw refused('it is no OpenSSH line, no RFC 4716 block, and no public key in DER or PEM');
  return publicKey(key);
}

/** @throws Fault KeyFormat when SSH cannot use the key */
export function publicKey(key: KeyObject): PublicKey {
  const ssh = encodePublicKey(key);
  if (ssh === undefined) throw refused(`keys of type ${key.asymmetricKeyType ?? 'unknown'} are not supported: use rsa, ed25519 or ecdsa`);
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && (bits < RSA_BITS.least || bits > RSA_BITS.most)) {
    throw refused(`the RSA key has ${bits} bits; ${RSA_BITS.least} to ${RSA_BITS.most} are allowed`);
  }
  const type = ssh.algorithm === 'ssh-rsa' ? 'rsa' : ssh.algorithm === 'ssh-ed25519' ? 'ed25519' : 'ecdsa';
  return { type, ...ssh, der: key.export({ format: 'der', type: 'spki' }) };
}

export const openSshLine = (key: PublicKey, comment: string): string => `${key.algorithm} ${key.blob.toString('base64')} ${comment}`;

function fromText(text: string): KeyObject | undefined {
  if (text.startsWith('-----BEGIN ')) return fromPem(text);
  if (text.startsWith('---- BEGIN SSH2 PUBLIC KEY ----')) return fromRfc4716(text);
  if (isBase64(text)) return fromDer(Buffer.from(text, 'base64'));
  return fromLine(text);
}

function fromLine(text: string): KeyObject | undefined {
  const line = /^([a-z0-9-]+)[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t][^\r\n]*)?$/.exec(text);
  if (line === null) return undefined;
  const blob = Buffer.from(line[2] ?? '', 'base64');
  // The blob begins with the algorithm's name; a line that says something else was tampered with or cut.
  const named = blob.subarray(4, 4 + (line[1]?.length ?? 0)).toString('latin1');
  return named === line[1] ? decodePublicKey(blob) : undefined;
}

/** Header lines end with a line that is not continued by a backslash (RFC 4716 section 3.3). */
function fromRfc4716(text: string): KeyObject | undefined {
  const lines = text.replace(/\\\r?\n/g, '').split(/\r?\n/).map((l) => l.trim());
  if (lines.at(-1) !== '---- END SSH2 PUBLIC KEY ----') return undefined;
  const body = lines.slice(1, -1).filter((l) => !l.includes(':')).join('');
  return isBase64(body) ? decodePublicKey(Buffer.from(body, 'base64')) : undefined;
}

function fromPem(text: string): KeyObject | undefined {
  try {
    return /^-----BEGIN (RSA )?PUBLIC KEY-----/.test(text) ? createPublicKey(text) : undefined;
  } catch {
    return undefined;
  }
}

function fromDer(der: Buffer): KeyObject | undefined {
  try {
    return createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

const isBase64 = (text: string): boolean => text.length > 0 && /^[A-Za-z0-9+/\s]+={0,2}$/.test(text);

const refused = (why: string): Fault => new Fault('KeyFormat', 'Key is not in valid OpenSSH public key format', [why]);
