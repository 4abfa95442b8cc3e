/** The names of files in a trust directory: eight digits made of an authority's name, in one way until OpenSSL 1.0 and in another since. */
import { createHash } from 'node:crypto';
import type { Name } from './name.ts';

/** `openssl x509 -subject_hash` */
export const nameHash = (name: Name): string => digits('sha1', Buffer.concat(name.parts));
/** `openssl x509 -subject_hash_old` */
export const oldNameHash = (name: Name): string => digits('md5', name.der);

export const bothHashes = (name: Name): readonly [string, string] => [nameHash(name), oldNameHash(name)];

function digits(algorithm: string, bytes: Buffer): string {
  return createHash(algorithm).update(bytes).digest().readUInt32LE(0).toString(16).padStart(8, '0');
}
