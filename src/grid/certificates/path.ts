/**
 * Whether a chain of certificates, as a client presents it, leads to an authority that the site trusts, and who it speaks for.
 * RFC 5280 (6) for authorities, RFC 3820 (4) for proxies, and what Globus asks besides: signing policies, proxies of Globus 2 and 3,
 * limited proxies. Pure: time and trust are given.
 */
import type { Certificate } from './certificate.ts';
import { checkAuthorities } from './authorities.ts';
import { checkEach, checkEndEntity } from './checks.ts';
import { checkProxies } from './proxies.ts';
import { called, refused } from './refusals.ts';
import type { Parts, PathRules, Trust, ValidPath } from './types.ts';

export const MOST_CERTIFICATES = 16;

/**
 * @param presented the leaf first; the others in any order, with or without authorities
 * @throws Fault CertificateRefused, its first reason a word of `CertificateReason`
 */
export function validatePath(presented: readonly Certificate[], trust: Trust, rules: PathRules, now: number): ValidPath {
  if (presented.length > MOST_CERTIFICATES) throw refused('ChainTooLong', `A chain may have ${MOST_CERTIFICATES} certificates; this one has ${presented.length}.`);
  const parts = buildPath(presented, trust);
  const untrusted = [...parts.proxies, parts.endEntity, ...parts.authorities.slice(0, -1)];
  for (const certificate of untrusted) checkEach(certificate, rules, now);
  checkEndEntity(parts.endEntity, rules);
  const { identity, limited } = checkProxies(parts);
  const crlsUntil = checkAuthorities(parts, trust, rules, now);
  return {
    identity, limited, leaf: presented[0] as Certificate, endEntity: parts.endEntity, proxies: parts.proxies.length,
    validUntil: Math.min(crlsUntil, ...[...untrusted, ...parts.authorities].map((c) => c.notAfter)) + rules.skewMs,
  };
}

/** Each certificate is signed by the next one's key. */
function buildPath(presented: readonly Certificate[], trust: Trust): Parts {
  const rest = [...presented];
  let current = rest.shift();
  if (current === undefined) throw refused('Unreadable', 'There is no certificate.');
  const proxies: Certificate[] = [];
  while (current.proxy !== undefined) {
    proxies.push(current);
    current = takeIssuer(current, rest) ?? missing(current);
  }
  const endEntity = current;
  const authorities: Certificate[] = [];
  // Each step takes one of `rest`, or one of the trust directory: those are roots at some time.
  for (let step = 0; step <= MOST_CERTIFICATES; step += 1) {
    const trusted = trust.authorities(current.issuer).map((a) => a.certificate).find((a) => signed(current as Certificate, a));
    const next: Certificate = trusted ?? takeIssuer(current, rest, (c) => c.proxy === undefined) ?? missing(current);
    authorities.push(next);
    if (trusted !== undefined && selfIssued(trusted)) return { proxies, endEntity, authorities };
    current = next;
  }
  throw refused('ChainTooLong', `${called(endEntity)} has no root within ${MOST_CERTIFICATES} steps.`);
}

function takeIssuer(of: Certificate, among: Certificate[], may: (c: Certificate) => boolean = () => true): Certificate | undefined {
  const named = among.filter((c) => may(c) && c.subject.key === of.issuer.key && c.fingerprint !== of.fingerprint);
  const found = named.find((c) => signed(of, c));
  if (found === undefined) {
    if (named.length > 0) throw refused('BadSignature', `${called(of)} was not signed by the key of its issuer.`);
    return undefined;
  }
  among.splice(among.indexOf(found), 1);
  return found;
}

function missing(of: Certificate): never {
  if (selfIssued(of)) throw refused('SelfSigned', `${called(of)} is signed by itself, and no authority of this site.`);
  throw refused('UnknownAuthority', `${called(of)} is signed by ${of.issuer.slash.slice(0, 300)}, which is not an authority of this site, or did not sign it.`);
}

const selfIssued = (c: Certificate): boolean => c.subject.key === c.issuer.key;

function signed(certificate: Certificate, by: Certificate): boolean {
  try {
    return certificate.x509.verify(by.x509.publicKey);
  } catch {
    // A key of a kind that signs nothing.
    return false;
  }
}
