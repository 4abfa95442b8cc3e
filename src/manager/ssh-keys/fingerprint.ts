/**
 * Fingerprints as EC2 gives them (EC2 API reference, KeyPairInfo; user guide, "Verify the fingerprint of your key pair"):
 * RSA pairs made by the service: SHA-1 of the private key, PKCS#8 DER; RSA keys brought along: MD5 of the public key,
 * SubjectPublicKeyInfo DER; others: SHA-256 of the OpenSSH blob, base64 with padding.
 */
import { createHash } from 'node:crypto';
import type { PublicKey } from './public-key.ts';

const colons = (hex: string): string => hex.replace(/..(?=.)/g, '$&:');

export function importedFingerprint(key: PublicKey): string {
  return key.type === 'rsa' ? colons(createHash('md5').update(key.der).digest('hex')) : createHash('sha256').update(key.blob).digest('base64');
}

export const createdRsaFingerprint = (pkcs8: Buffer): string => colons(createHash('sha1').update(pkcs8).digest('hex'));
