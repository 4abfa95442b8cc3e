/**
 * OpenSSH host certificates (openssh PROTOCOL.certkeys). ssh2 cannot negotiate `*-cert-v01@openssh.com`, so a certificate
 * is not what a connection is made with: it says once, when a node is added, that its authority vouches for the host's
 * key; that key is pinned, and each connection proves that the host holds it.
 */
import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { fingerprint } from './hostkeys.ts';
import { readKey } from './keys.ts';
import { matchesPattern } from './known-hosts.ts';

const HOST_CERTIFICATE = 2;

export interface HostCertificate {
  /** The certified key, as a plain key blob. */
  readonly key: Buffer;
  readonly type: number;
  readonly keyId: string;
  readonly principals: readonly string[];
  /** Seconds since the epoch. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly criticalOptions: Buffer;
  readonly authority: Buffer;
  readonly signed: Buffer;
  readonly signature: Buffer;
}

/** Fields of the key inside the certificate, after its nonce. */
const KEY_FIELDS: Readonly<Record<string, number>> = {
  'ssh-ed25519-cert-v01@openssh.com': 1,
  'ssh-rsa-cert-v01@openssh.com': 2,
  'ecdsa-sha2-nistp256-cert-v01@openssh.com': 2,
  'ecdsa-sha2-nistp384-cert-v01@openssh.com': 2,
  'ecdsa-sha2-nistp521-cert-v01@openssh.com': 2,
};

/** undefined when the bytes are no certificate of a known type. */
export function readCertificate(blob: Buffer): HostCertificate | undefined {
  try {
    const r = reader(blob);
    const certType = r.string().toString('latin1');
    const fields = KEY_FIELDS[certType];
    if (fields === undefined) return undefined;
    r.string(); // nonce
    const key = Buffer.concat([sshString(Buffer.from(certType.replace('-cert-v01@openssh.com', ''))), ...Array.from({ length: fields }, () => sshString(r.string()))]);
    r.uint64(); // serial
    const type = r.uint32();
    const keyId = r.string().toString('utf8');
    const principals = strings(r.string());
    const [validAfter, validBefore] = [r.uint64(), r.uint64()];
    const criticalOptions = r.string();
    r.string(); // extensions
    r.string(); // reserved
    const authority = r.string();
    const signed = blob.subarray(0, r.at());
    return { key, type, keyId, principals, validAfter, validBefore, criticalOptions, authority, signed, signature: r.string() };
  } catch {
    return undefined;
  }
}

/** undefined when the certificate says that its key is `host`'s now and one of `authorities` signed it; else why not. */
export function refuseCertificate(cert: HostCertificate, host: string, authorities: readonly Buffer[], nowMs: number): string | undefined {
  const seconds = BigInt(Math.floor(nowMs / 1000));
  if (cert.type !== HOST_CERTIFICATE) return 'the certificate is not a host certificate';
  if (!authorities.some((a) => a.equals(cert.authority))) return `the certificate is signed by ${fingerprint(cert.authority)}, which is no authority for this host`;
  if (cert.criticalOptions.length > 0) return 'the certificate has critical options, which hosts must not have';
  if (seconds < cert.validAfter) return 'the certificate is not valid yet';
  if (seconds >= cert.validBefore) return 'the certificate has expired';
  if (!cert.principals.some((p) => matchesPattern(p.toLowerCase(), host.toLowerCase()))) {
    return `the certificate is for ${cert.principals.join(', ') || 'no host'}, not for ${host}`;
  }
  return signatureFits(cert) ? undefined : 'the signature of the certificate is wrong';
}

function signatureFits({ authority, signed, signature }: HostCertificate): boolean {
  try {
    const r = reader(signature);
    const algorithm = r.string().toString('latin1');
    const raw = r.string();
    const authorityType = reader(authority).string().toString('latin1');
    const key = keyObject(authority, authorityType);
    if (algorithm === 'ssh-ed25519' && authorityType === algorithm) return verify(null, signed, key, raw);
    const hash = HASHES[algorithm];
    if (hash === undefined) return false;
    if (algorithm.startsWith('rsa-')) return authorityType === 'ssh-rsa' && verify(hash, signed, key, raw);
    return authorityType === algorithm && verify(hash, signed, { key, dsaEncoding: 'ieee-p1363' }, fixedWidth(raw, algorithm));
  } catch {
    return false;
  }
}

/** `ssh-rsa` as a signature algorithm is SHA-1 and not accepted. */
const HASHES: Readonly<Record<string, string>> = {
  'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512',
  'ecdsa-sha2-nistp256': 'sha256', 'ecdsa-sha2-nistp384': 'sha384', 'ecdsa-sha2-nistp521': 'sha512',
};
const COORDINATE_BYTES: Readonly<Record<string, number>> = { 'ecdsa-sha2-nistp256': 32, 'ecdsa-sha2-nistp384': 48, 'ecdsa-sha2-nistp521': 66 };

function keyObject(blob: Buffer, type: string): KeyObject {
  return createPublicKey(readKey(Buffer.from(`${type} ${blob.toString('base64')}`), 'the authority').getPublicPEM());
}

/** RFC 5656, 3.1.2: r and s as mpints; node:crypto wants both in the curve's width. */
function fixedWidth(raw: Buffer, algorithm: string): Buffer {
  const r = reader(raw);
  const width = COORDINATE_BYTES[algorithm] ?? 0;
  const pad = (mpint: Buffer): Buffer => {
    const bare = mpint.subarray(mpint.findIndex((b) => b !== 0));
    return Buffer.concat([Buffer.alloc(width - bare.length), bare]);
  };
  return Buffer.concat([pad(r.string()), pad(r.string())]);
}

interface Reader {
  string(): Buffer;
  uint32(): number;
  uint64(): bigint;
  at(): number;
}

/** RFC 4251, 5: the data types of SSH. Reading beyond the end throws. */
function reader(bytes: Buffer): Reader {
  let at = 0;
  const take = (n: number): Buffer => {
    if (at + n > bytes.length) throw new RangeError('cut off');
    at += n;
    return bytes.subarray(at - n, at);
  };
  const uint32 = (): number => take(4).readUInt32BE(0);
  return { string: () => take(uint32()), uint32, uint64: () => take(8).readBigUInt64BE(0), at: () => at };
}

function strings(packed: Buffer): string[] {
  const r = reader(packed);
  const all: string[] = [];
  while (r.at() < packed.length) all.push(r.string().toString('utf8'));
  return all;
}

function sshString(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
