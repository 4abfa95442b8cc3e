/** Certificate revocation lists (RFC 5280, 5): what an authority takes back, until when the list is good. */
import { verify } from 'node:crypto';
import { children, context, each, expectTag, readDer, readOid, readTime, TAG, type Der } from '../der.ts';
import { digestOf } from './algorithms.ts';
import { extensionsOf, KEY_USAGE, type Certificate } from './certificate.ts';
import { readName, type Name } from './name.ts';

export interface Crl {
  readonly issuer: Name;
  readonly thisUpdate: number;
  /** Undefined: the list does not say. */
  readonly nextUpdate: number | undefined;
  readonly signatureAlgorithm: string;
  /** Serial numbers, hexadecimal, as in certificates. */
  readonly revoked: ReadonlySet<string>;
  readonly unknownCritical: readonly string[];
  /** The authority's key made it, and may. */
  signedBy(authority: Certificate): boolean;
}

/** Entries say why and since when; that does not change that they are revoked. */
const UNDERSTOOD = new Set(['2.5.29.20', '2.5.29.35']);

/** @throws Error when it is none */
export function readCrl(der: Buffer): Crl {
  const [tbs, algorithm, signature] = children(readDer(der, TAG.sequence));
  const fields = children(expectTag(tbs, TAG.sequence));
  if (fields[0]?.tag === TAG.integer) fields.shift();
  const [, issuer, thisUpdate, ...rest] = fields;
  const nextUpdate = rest[0]?.tag === TAG.utcTime || rest[0]?.tag === TAG.time ? readTime(rest.shift()) : undefined;
  const list = rest[0]?.tag === TAG.sequence ? rest.shift() : undefined;
  const extensions = rest[0]?.tag === context(0) ? extensionsOf(expectTag(children(rest[0])[0], TAG.sequence)) : new Map<string, { critical: boolean }>();
  const name = readName(issuer);
  const signatureAlgorithm = readOid(children(expectTag(algorithm, TAG.sequence))[0]);
  return {
    issuer: name, thisUpdate: readTime(thisUpdate), nextUpdate, signatureAlgorithm,
    revoked: list === undefined ? new Set() : serials(list),
    unknownCritical: [...extensions].flatMap(([oid, { critical }]) => (critical && !UNDERSTOOD.has(oid) ? [oid] : [])),
    signedBy(authority) {
      const digest = digestOf(signatureAlgorithm);
      return digest !== undefined && authority.subject.key === name.key && authority.keyUsage?.has(KEY_USAGE.crlSign) !== false
        && verify(digest.hash, (tbs as Der).bytes, authority.x509.publicKey, expectTag(signature, TAG.bits).content.subarray(1));
    },
  };
}

function serials(list: Der): Set<string> {
  const found = new Set<string>();
  for (const entry of each(list)) {
    const [serial] = each(expectTag(entry, TAG.sequence));
    found.add(expectTag(serial, TAG.integer).content.toString('hex'));
  }
  return found;
}
