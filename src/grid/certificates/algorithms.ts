/** Signature algorithms of certificates and revocation lists. What is not here (MD5, of old) is not believed. */
export interface Digest {
  /** As `node:crypto` names it; null where the algorithm has its own. */
  readonly hash: string | null;
  /** Only where the site allows SHA-1. */
  readonly sha1: boolean;
}

const DIGESTS: Readonly<Record<string, Digest>> = {
  '1.2.840.113549.1.1.5': { hash: 'sha1', sha1: true },
  '1.2.840.10045.4.1': { hash: 'sha1', sha1: true },
  '1.2.840.113549.1.1.11': { hash: 'sha256', sha1: false },
  '1.2.840.113549.1.1.12': { hash: 'sha384', sha1: false },
  '1.2.840.113549.1.1.13': { hash: 'sha512', sha1: false },
  '1.2.840.10045.4.3.2': { hash: 'sha256', sha1: false },
  '1.2.840.10045.4.3.3': { hash: 'sha384', sha1: false },
  '1.2.840.10045.4.3.4': { hash: 'sha512', sha1: false },
  '1.3.101.112': { hash: null, sha1: false },
};

export const digestOf = (oid: string): Digest | undefined => (Object.hasOwn(DIGESTS, oid) ? DIGESTS[oid] : undefined);
