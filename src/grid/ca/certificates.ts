/** Certificates of a test authority, made with node-forge. */
import { generateKeyPairSync } from 'node:crypto';
import { isIP } from 'node:net';
import forge from 'node-forge';
import { Fault } from '../../lease/faults.ts';
import { attributeOid, plainValue, slashParts } from '../certificates/name.ts';

const { pki, asn1, md } = forge;

export interface KeyAndCertificate {
  /** PEM; the key as `BEGIN RSA PRIVATE KEY`, which the oldest clients need. */
  readonly key: string;
  readonly certificate: string;
}

/** Who signs. */
export interface Signer extends KeyAndCertificate {
  readonly dn: string;
}

export interface CertificateOrder {
  /** In slash form. */
  readonly subject: string;
  readonly from: number;
  readonly until: number;
  /** 16 random bytes. */
  readonly serial: Buffer;
  /** Clients of Globus 4.0 know no other digest. */
  readonly sha1: boolean;
}

const BITS = 2048;
const SIGN = { digitalSignature: true, keyEncipherment: true };

export function makeAuthority(order: CertificateOrder): KeyAndCertificate {
  return make(order, undefined, [{ name: 'basicConstraints', critical: true, cA: true }, { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true }]);
}

export function makeUser(order: CertificateOrder, authority: Signer): KeyAndCertificate {
  return make(order, authority, [{ name: 'basicConstraints', critical: true, cA: false }, { name: 'keyUsage', critical: true, ...SIGN }]);
}

/** Signed by its own key: for who asks for the certificate itself, and not for who has signed it. */
export function makeOwn(order: CertificateOrder): KeyAndCertificate {
  return make(order, undefined, [{ name: 'basicConstraints', critical: true, cA: false }, { name: 'keyUsage', critical: true, ...SIGN }]);
}

/** `names`: by which clients reach the host, addresses too. */
export function makeHost(order: CertificateOrder, authority: Signer, names: readonly string[]): KeyAndCertificate {
  const altNames = names.map((name) => (isIP(name) === 0 ? { type: 2, value: name } : { type: 7, ip: name }));
  return make(order, authority, [
    { name: 'basicConstraints', critical: true, cA: false }, { name: 'keyUsage', critical: true, ...SIGN }, { name: 'extKeyUsage', serverAuth: true, clientAuth: true }, { name: 'subjectAltName', altNames },
  ]);
}

function make(order: CertificateOrder, authority: Signer | undefined, extensions: object[]): KeyAndCertificate {
  const pair = generateKeyPairSync('rsa', { modulusLength: BITS, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs1', format: 'pem' } });
  const certificate = pki.createCertificate();
  const subject = attributesOf(order.subject);
  certificate.publicKey = pki.publicKeyFromPem(pair.publicKey);
  certificate.serialNumber = positive(order.serial).toString('hex');
  certificate.validity.notBefore = new Date(order.from);
  certificate.validity.notAfter = new Date(order.until);
  certificate.setSubject(subject);
  certificate.setIssuer(authority === undefined ? subject : attributesOf(authority.dn));
  certificate.setExtensions([...extensions, { name: 'subjectKeyIdentifier' }]);
  certificate.sign(pki.privateKeyFromPem(authority?.key ?? pair.privateKey), order.sha1 ? md.sha1.create() : md.sha256.create());
  return { key: pair.privateKey, certificate: pki.certificateToPem(certificate).replaceAll('\r', '') };
}

function attributesOf(slash: string): forge.pki.CertificateField[] {
  return (slashParts(slash) ?? []).map(([short, value]) => {
    const type = attributeOid(short);
    if (type === undefined || value === '') throw new Fault('ParameterInvalid', `The name ${slash.slice(0, 200)} has an attribute that is not known, or is empty: ${short}`);
    // Countries, parts of domains and mail addresses are ASCII by their standards.
    const valueTagClass = short === 'C' ? asn1.Type.PRINTABLESTRING : short === 'DC' || short === 'emailAddress' ? IA5_STRING : asn1.Type.UTF8;
    return { type, value: plainValue(value), valueTagClass: valueTagClass as unknown as forge.asn1.Class };
  });
}
/** node-forge has no name for it. */
const IA5_STRING = 22;

/** Neither negative nor with a zero in front. */
function positive(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[0] = (copy[0] ?? 0) & 0x7f | 0x40;
  return copy;
}
