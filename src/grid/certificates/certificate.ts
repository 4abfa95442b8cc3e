/** A certificate, with what `X509Certificate` does not tell: names as DER, times, extensions, what kind of proxy it is. */
import { X509Certificate } from 'node:crypto';
import { children, context, expectTag, readBits, readBoolean, readDer, readOid, readSmallInteger, readTime, TAG, type Der } from '../der.ts';
import { readName, type Name } from './name.ts';
import { DRAFT_PROXY, legacyProxy, readDraftProxy, readRfcProxy, RFC_PROXY, type ProxyInfo } from './proxy-info.ts';

export interface Certificate {
  readonly x509: X509Certificate;
  /** SHA-256, hexadecimal. */
  readonly fingerprint: string;
  /** Hexadecimal, as in the certificate. */
  readonly serial: string;
  readonly subject: Name;
  readonly issuer: Name;
  /** ms since the epoch */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly signatureAlgorithm: string;
  /** Undefined: the certificate does not say. */
  readonly basic: { readonly ca: boolean; readonly pathLength: number | undefined } | undefined;
  readonly keyUsage: ReadonlySet<number> | undefined;
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly netscapeType: ReadonlySet<number> | undefined;
  readonly alternativeName: boolean;
  readonly proxy: ProxyInfo | undefined;
  /** Critical extensions that are not understood here. */
  readonly unknownCritical: readonly string[];
}

/** Bits of key usage (RFC 5280, 4.2.1.3). */
export const KEY_USAGE = { digitalSignature: 0, keyCertSign: 5, crlSign: 6 } as const;

const EXTENSION = {
  keyUsage: '2.5.29.15', subjectAltName: '2.5.29.17', issuerAltName: '2.5.29.18', basicConstraints: '2.5.29.19', certificatePolicies: '2.5.29.32',
  extendedKeyUsage: '2.5.29.37', netscapeType: '2.16.840.1.113730.1.1',
} as const;
const UNDERSTOOD = new Set<string>([...Object.values(EXTENSION), RFC_PROXY, DRAFT_PROXY]);
export const MOST_CERTIFICATE_BYTES = 64 * 1024;

/** @throws Error when it is none */
export function readCertificate(der: Buffer): Certificate {
  return fromX509(new X509Certificate(der));
}

/** @throws Error */
export function fromX509(x509: X509Certificate): Certificate {
  const { raw } = x509;
  if (raw.length > MOST_CERTIFICATE_BYTES) throw new Error('the certificate is too large');
  const [tbs, algorithm] = children(readDer(raw, TAG.sequence));
  const fields = children(expectTag(tbs, TAG.sequence));
  if (fields[0]?.tag === context(0)) fields.shift();
  const [serial, , issuer, validity, subject, , ...rest] = fields;
  const [notBefore, notAfter] = children(expectTag(validity, TAG.sequence));
  const names = { subject: readName(subject), issuer: readName(issuer) };
  return {
    x509,
    fingerprint: x509.fingerprint256.replaceAll(':', '').toLowerCase(),
    serial: expectTag(serial, TAG.integer).content.toString('hex'),
    ...names,
    notBefore: readTime(notBefore), notAfter: readTime(notAfter),
    signatureAlgorithm: readOid(children(expectTag(algorithm, TAG.sequence))[0]),
    ...readExtensions(rest.find((f) => f.tag === context(3)), names),
  };
}

interface Extension {
  readonly critical: boolean;
  readonly value: Der;
}

function readExtensions(field: Der | undefined, names: { subject: Name; issuer: Name }): Omit<Certificate, 'x509' | 'fingerprint' | 'serial' | 'subject' | 'issuer' | 'notBefore' | 'notAfter' | 'signatureAlgorithm'> {
  const all = field === undefined ? new Map<string, Extension>() : extensionsOf(expectTag(children(field)[0], TAG.sequence));
  const value = <T>(oid: string, read: (value: Der) => T): T | undefined => {
    const extension = all.get(oid);
    return extension === undefined ? undefined : read(extension.value);
  };
  const kinds = [RFC_PROXY, DRAFT_PROXY].filter((oid) => all.has(oid));
  if (kinds.length > 1) throw new Error('the certificate is two kinds of proxy');
  const proxy = value(RFC_PROXY, readRfcProxy) ?? value(DRAFT_PROXY, readDraftProxy) ?? legacyProxy(names.subject, names.issuer);
  return {
    basic: value(EXTENSION.basicConstraints, readBasic),
    keyUsage: value(EXTENSION.keyUsage, readBits),
    extendedKeyUsage: value(EXTENSION.extendedKeyUsage, (v) => children(v, TAG.sequence).map(readOid)),
    netscapeType: value(EXTENSION.netscapeType, readBits),
    alternativeName: all.has(EXTENSION.subjectAltName) || all.has(EXTENSION.issuerAltName),
    proxy: proxy === undefined ? undefined : { ...proxy, critical: kinds.every((oid) => all.get(oid)?.critical === true) },
    unknownCritical: [...all].flatMap(([oid, { critical }]) => (critical && !UNDERSTOOD.has(oid) ? [oid] : [])),
  };
}

/** By their numbers, each once (RFC 5280, 4.2). @throws Error */
export function extensionsOf(sequence: Der): Map<string, Extension> {
  const all = new Map<string, Extension>();
  for (const extension of children(sequence)) {
    const [oid, ...rest] = children(extension, TAG.sequence);
    const id = readOid(oid);
    if (all.has(id)) throw new Error(`the extension ${id} is there twice`);
    const critical = rest.length === 2 ? readBoolean(rest[0] as Der) : false;
    all.set(id, { critical, value: readDer(expectTag(rest.at(-1), TAG.octets).content) });
  }
  return all;
}

function readBasic(value: Der): { ca: boolean; pathLength: number | undefined } {
  const fields = children(value, TAG.sequence);
  const ca = fields[0]?.tag === TAG.boolean ? readBoolean(fields.shift() as Der) : false;
  return { ca, pathLength: fields[0] === undefined ? undefined : readSmallInteger(fields[0]) };
}
