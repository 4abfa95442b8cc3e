/** The authorities of a chain, from the one that signed the end entity to the root: what each may sign, and what it took back. */
import { digestOf } from './algorithms.ts';
import { KEY_USAGE, type Certificate } from './certificate.ts';
import { checkTime } from './checks.ts';
import { called, refused } from './refusals.ts';
import type { Authority, Parts, PathRules, Trust } from './types.ts';

/** @returns until when the revocation lists are good, ms */
export function checkAuthorities({ endEntity, authorities }: Parts, trust: Trust, rules: PathRules, now: number): number {
  let until = Infinity;
  let signed = endEntity;
  /** Authorities between this one and the end entity; those that renew their own key do not count. */
  let between = 0;
  for (const [i, certificate] of authorities.entries()) {
    const isRoot = i === authorities.length - 1;
    checkAuthority(certificate, isRoot, between);
    checkTime(certificate, rules, now);
    // One that a client presents may be of the trust directory too; then its policy and its list count.
    const known = trust.authorities(certificate.subject).find((a) => a.certificate.fingerprint === certificate.fingerprint);
    checkPolicy(known, certificate, signed, rules);
    until = Math.min(until, checkRevocation(known, certificate, signed, rules, now));
    if (certificate.subject.key !== certificate.issuer.key) between += 1;
    signed = certificate;
  }
  return until;
}

function checkAuthority(c: Certificate, isRoot: boolean, between: number): void {
  // A root of the first version says nothing of itself: it is one because the site says so.
  if (c.basic === undefined ? !isRoot : !c.basic.ca) throw refused('NotAnAuthority', `${called(c)} is no authority's, so it can sign nobody's.`);
  if (c.keyUsage?.has(KEY_USAGE.keyCertSign) === false) throw refused('KeyUsage', `${called(c)} may not sign certificates (key usage without keyCertSign).`);
  if (between > (c.basic?.pathLength ?? Infinity)) throw refused('PathTooLong', `${called(c)} lets only ${c.basic?.pathLength ?? 0} authorities follow.`);
}

function checkPolicy(known: Authority | undefined, by: Certificate, signed: Certificate, rules: PathRules): void {
  const policy = known?.policy;
  if (policy !== undefined && 'unusable' in policy) throw refused('SigningPolicyUnusable', `The signing policy of ${by.subject.slash} cannot be read: ${policy.unusable}.`);
  const own = policy?.of(by.subject.slash);
  if (own === undefined) {
    if (rules.signingPolicy === 'when-present' && policy === undefined) return;
    throw refused('SigningPolicyMissing', `This site has no signing policy for the authority ${by.subject.slash}.`);
  }
  if (!own.allows(signed.subject.slash)) throw refused('SigningPolicyRefuses', `${called(signed)} has a name that ${by.subject.slash} may not sign, by its signing policy.`);
}

function checkRevocation(known: Authority | undefined, by: Certificate, signed: Certificate, rules: PathRules, now: number): number {
  const crl = known?.crl;
  if (crl === undefined) {
    if (rules.crl === 'when-present') return Infinity;
    throw refused('CrlMissing', `This site has no revocation list of the authority ${by.subject.slash}.`);
  }
  const unusable = 'unusable' in crl ? crl.unusable
    : crl.unknownCritical.length > 0 ? `it has a critical extension that is not understood (${crl.unknownCritical.join(', ')})`
    : digestOf(crl.signatureAlgorithm)?.sha1 === true && !rules.sha1 ? 'it is signed with SHA-1'
    : undefined;
  if ('unusable' in crl || unusable !== undefined) throw refused('CrlUnusable', `The revocation list of ${by.subject.slash} cannot be used: ${unusable ?? ''}.`);
  if (crl.revoked.has(signed.serial)) throw refused('Revoked', `${called(signed)} was revoked by its authority.`);
  if (now < crl.thisUpdate - rules.skewMs) throw refused('CrlUnusable', `The revocation list of ${by.subject.slash} is of the future.`);
  if (crl.nextUpdate !== undefined && now > crl.nextUpdate + rules.skewMs) throw refused('CrlExpired', `The revocation list of ${by.subject.slash} is out of date: a newer one is needed.`);
  return crl.nextUpdate ?? Infinity;
}
