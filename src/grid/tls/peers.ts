/**
 * Who is at the other end of a connection: the chain that it presents, validated once, and again when trust changes or time has
 * passed. A resumed session brings the leaf only, so chains are kept by their leaf; whoever resumes has had its key.
 */
import type { TLSSocket } from 'node:tls';
import { LRU } from '../lru.ts';
import { fromX509, type Certificate } from '../certificates/certificate.ts';
import { MOST_CERTIFICATES, validatePath } from '../certificates/path.ts';
import { refused } from '../certificates/refusals.ts';
import type { PathRules, Trust, ValidPath } from '../certificates/types.ts';
import { Fault } from '../../lease/faults.ts';
import type { Clock } from '../../platform/context.ts';

export interface Peers {
  /** @throws Fault CertificateMissing, CertificateRefused */
  of(socket: TLSSocket): ValidPath;
}

interface Known {
  readonly chain: readonly Certificate[];
  readonly generation: number;
  readonly path: ValidPath;
}

const MOST_CHAINS = 4_096;

export function createPeers(clock: Clock, trust: Trust, rules: PathRules): Peers {
  const bySocket = new WeakMap<TLSSocket, Known>();
  const byLeaf = new LRU<string, Known>(MOST_CHAINS);
  const stillGood = (known: Known): boolean => known.generation === trust.generation && clock.now() <= known.path.validUntil;

  function validated(chain: readonly Certificate[]): Known {
    const known = { chain, generation: trust.generation, path: validatePath(chain, trust, rules, clock.now()) };
    byLeaf.set(known.path.leaf.fingerprint, known);
    return known;
  }

  function look(socket: TLSSocket): Known {
    const chain = presentedBy(socket);
    const leaf = chain[0] as Certificate;
    const before = byLeaf.get(leaf.fingerprint);
    const same = before !== undefined && (sameChain(before.chain, chain) || (socket.isSessionReused() && chain.length === 1));
    if (!same) return validated(chain);
    return stillGood(before) ? before : validated(before.chain);
  }

  return {
    of(socket) {
      const before = bySocket.get(socket);
      const known = before === undefined ? look(socket) : stillGood(before) ? before : validated(before.chain);
      bySocket.set(socket, known);
      return known.path;
    },
  };
}

function presentedBy(socket: TLSSocket): Certificate[] {
  const chain: Certificate[] = [];
  // The older call, getPeerCertificate(true), loses the issuers of proxies.
  let next = socket.getPeerX509Certificate();
  if (next === undefined) throw new Fault('CertificateMissing', 'The client presents no certificate: configure one, or a proxy.');
  while (next !== undefined) {
    if (chain.length >= MOST_CERTIFICATES) throw refused('ChainTooLong', `A chain may have ${MOST_CERTIFICATES} certificates.`);
    chain.push(readable(next));
    next = next.issuerCertificate;
  }
  return chain;
}

function readable(x509: Parameters<typeof fromX509>[0]): Certificate {
  try {
    return fromX509(x509);
  } catch (e) {
    throw refused('Unreadable', `A certificate of the chain cannot be read: ${e instanceof Error ? e.message : String(e)}.`);
  }
}

const sameChain = (a: readonly Certificate[], b: readonly Certificate[]): boolean => a.length === b.length && a.every((c, i) => c.fingerprint === b[i]?.fingerprint);
