/** What holds of every certificate, and of an end entity's. */
import { digestOf } from './algorithms.ts';
import { type Certificate, KEY_USAGE } from './certificate.ts';
import { called, refused } from './refusals.ts';
import type { PathRules } from './types.ts';

const LEAST_RSA_BITS = 1024;
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ANY_PURPOSE = '2.5.29.37.0';
const NETSCAPE_CLIENT = 0;

export function checkEach(c: Certificate, rules: PathRules, now: number): void {
  checkTime(c, rules, now);
  const digest = digestOf(c.signatureAlgorithm);
  if (digest === undefined) throw refused('WeakSignature', `${called(c)} is signed with an algorithm that is not accepted (${c.signatureAlgorithm}).`);
  if (digest.sha1 && !rules.sha1) throw refused('WeakSignature', `${called(c)} is signed with SHA-1, which this service does not accept (grid.sha1_chains).`);
  const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = c.x509.publicKey;
  if (kind === 'rsa' && (details?.modulusLength ?? 0) < LEAST_RSA_BITS) throw refused('WeakKey', `${called(c)} has a key of ${details?.modulusLength ?? 0} bits; the least is ${LEAST_RSA_BITS}.`);
  if (kind !== 'rsa' && kind !== 'ec' && kind !== 'ed25519') throw refused('WeakKey', `${called(c)} has a key of a kind that is not accepted (${kind ?? 'unknown'}).`);
  const [unknown] = c.unknownCritical;
  if (unknown !== undefined) throw refused('ExtensionUnknown', `${called(c)} has a critical extension that is not understood (${unknown}).`);
}

export function checkTime(c: Certificate, rules: Pick<PathRules, 'skewMs'>, now: number): void {
  if (now < c.notBefore - rules.skewMs) throw refused('NotYetValid', `${called(c)} is valid from ${iso(c.notBefore)} on only.`);
  if (now > c.notAfter + rules.skewMs) throw refused('Expired', `${called(c)} expired at ${iso(c.notAfter)}.`);
}

export function checkEndEntity(c: Certificate, rules: PathRules): void {
  if (c.basic?.ca === true) throw refused('AuthorityAsUser', `${called(c)} is an authority's, and nobody's own.`);
  if (c.subject.slash === '') throw refused('NameAmbiguous', 'The certificate has no name.');
  if (c.subject.ambiguous) throw refused('NameAmbiguous', `${called(c)} has a name that other names look like.`);
  if (c.keyUsage?.has(KEY_USAGE.digitalSignature) === false) throw refused('KeyUsage', `${called(c)} may not sign (key usage without digitalSignature).`);
  if (rules.use !== 'tls') return;
  if (c.extendedKeyUsage?.some((u) => u === CLIENT_AUTH || u === ANY_PURPOSE) === false) throw refused('KeyUsage', `${called(c)} is not for clients (extended key usage without clientAuth).`);
  if (c.netscapeType?.has(NETSCAPE_CLIENT) === false) throw refused('KeyUsage', `${called(c)} is not for clients (Netscape certificate type).`);
}

const iso = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');
