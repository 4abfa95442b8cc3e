/** What the validation of a chain is told, and what it finds. */
import type { Certificate } from './certificate.ts';
import type { Crl } from './crl.ts';
import type { Name } from './name.ts';
import type { SigningPolicy } from './signing-policy.ts';

/** A file that is there and cannot be used is no missing one: it says why. */
export interface Unusable {
  readonly unusable: string;
}
export interface Authority {
  readonly certificate: Certificate;
  readonly policy: SigningPolicy | Unusable | undefined;
  readonly crl: Crl | Unusable | undefined;
}

export interface Trust {
  /** Changes whenever anything below does. */
  readonly generation: number;
  /** Authorities of this name: several while one changes its key. */
  authorities(name: Name): readonly Authority[];
}

export interface PathRules {
  /** How far clocks may differ, ms. */
  readonly skewMs: number;
  /** SHA-1 signatures are believed. */
  readonly sha1: boolean;
  readonly crl: 'required' | 'when-present';
  readonly signingPolicy: 'required' | 'when-present';
  /** What the chain's key does: TLS, or signatures of messages. */
  readonly use: 'tls' | 'message';
}

export interface ValidPath {
  /** Who the chain speaks for, in slash form: the end entity; of an independent proxy, the proxy itself. */
  readonly identity: string;
  readonly leaf: Certificate;
  readonly endEntity: Certificate;
  /** Number of proxies in front of the end entity. */
  readonly proxies: number;
  /** A limited proxy is among them. */
  readonly limited: boolean;
  /** The chain is good until then if trust stays what it is, ms. */
  readonly validUntil: number;
}

/** From leaf to root. */
export interface Parts {
  readonly proxies: readonly Certificate[];
  readonly endEntity: Certificate;
  /** The last one is of the trust directory, and nobody's but its own. */
  readonly authorities: readonly Certificate[];
}
