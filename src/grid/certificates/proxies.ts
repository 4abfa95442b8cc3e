/** The proxies of a chain: each speaks for the one that signed it, at most with its rights (RFC 3820, 4). */
import { type Certificate, KEY_USAGE } from './certificate.ts';
import { COMMON_NAME, extendsByOne } from './name.ts';
import type { ProxyInfo } from './proxy-info.ts';
import { called, refused } from './refusals.ts';
import type { Parts } from './types.ts';

type Proxy = Certificate & { readonly proxy: ProxyInfo };

export function checkProxies({ proxies, endEntity }: Parts): { identity: string; limited: boolean } {
  let [issuer, identity, limited, left] = [endEntity, endEntity.subject.slash, false, Infinity];
  // From the end entity's own signature on.
  for (const p of [...proxies].reverse() as Proxy[]) {
    checkProxy(p, issuer);
    if (left < 1) throw refused('ProxyPathLength', `${called(p)} is a proxy of a proxy that lets no further ones follow.`);
    left = Math.min(left - 1, p.proxy.pathLength ?? Infinity);
    if (p.proxy.rights === 'independent') {
      if (p.subject.ambiguous) throw refused('NameAmbiguous', `${called(p)} has a name that other names look like.`);
      identity = p.subject.slash;
    }
    limited ||= p.proxy.rights === 'limited';
    issuer = p;
  }
  return { identity, limited };
}

function checkProxy(p: Proxy, issuer: Certificate): void {
  if (issuer.basic?.ca === true) throw refused('AuthorityAsUser', `${called(p)} is a proxy of an authority.`);
  const [cn, more] = p.subject.last;
  if (!extendsByOne(p.subject, issuer.subject) || cn?.type !== COMMON_NAME || more !== undefined) throw refused('ProxyName', `${called(p)} is a proxy, but its name is not its issuer's with one common name behind it.`);
  if (p.basic?.ca === true) throw refused('ProxyExtension', `${called(p)} is a proxy and says that it is an authority.`);
  if (p.alternativeName) throw refused('ProxyExtension', `${called(p)} is a proxy and has alternative names.`);
  if (!p.proxy.critical) throw refused('ProxyExtension', `${called(p)} is a proxy whose extension is not critical.`);
  if (issuer.keyUsage?.has(KEY_USAGE.digitalSignature) === false) throw refused('KeyUsage', `${called(issuer)} may not sign proxies (key usage without digitalSignature).`);
  if (p.keyUsage?.has(KEY_USAGE.digitalSignature) === false) throw refused('KeyUsage', `${called(p)} may not sign (key usage without digitalSignature).`);
  if (p.proxy.rights === 'other') throw refused('ProxyRights', `${called(p)} is a proxy with rights of a kind that is not known here.`);
  if (issuer.proxy !== undefined && issuer.proxy.kind !== p.proxy.kind) throw refused('ProxiesMixed', `${called(p)} is a proxy of another kind (${p.proxy.kind}) than the one that signed it (${issuer.proxy.kind}).`);
}
