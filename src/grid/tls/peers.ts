/**
 * Who is at the other end of a connection: the chain that it presents. A resumed session brings the leaf only, so chains are kept
 * by their leaf; whoever resumes has had its key.
 */
import type { TLSSocket } from 'node:tls';
import { Fault } from '../../lease/faults.ts';
import { fromX509, type Certificate } from '../certificates/certificate.ts';
import type { Chains, KnownPath } from '../certificates/chains.ts';
import { MOST_CERTIFICATES } from '../certificates/path.ts';
import { refused } from '../certificates/refusals.ts';
import type { ValidPath } from '../certificates/types.ts';
import { LRU } from '../lru.ts';

export interface Peers {
  /** @throws Fault CertificateMissing, CertificateRefused */
  of(socket: TLSSocket): ValidPath;
}

interface Known extends KnownPath {
  readonly chain: readonly Certificate[];
}

const MOST_LEAVES = 4_096;

export function createPeers(chains: Chains): Peers {
  const bySocket = new WeakMap<TLSSocket, Known>();
  const byLeaf = new LRU<string, readonly Certificate[]>(MOST_LEAVES);

  function chainOf(socket: TLSSocket): readonly Certificate[] {
    const chain = presentedBy(socket);
    const leaf = (chain[0] as Certificate).fingerprint;
    return (socket.isSessionReused() && chain.length === 1 ? byLeaf.get(leaf) : undefined) ?? chain;
  }

  return {
    of(socket) {
      const before = bySocket.get(socket);
      if (before !== undefined && chains.holds(before)) return before.path;
      const chain = before?.chain ?? chainOf(socket);
      const path = chains.validate(chain);
      byLeaf.set(path.leaf.fingerprint, chain);
      bySocket.set(socket, { chain, path, generation: chains.generation });
      return path;
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
