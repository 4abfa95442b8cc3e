/** What signature checks see of an HTTP request: its bytes as they came, nothing normalized. */
import type { FlatParams } from '../params.ts';

export interface SignedRequest {
  readonly method: string;
  /** Path as sent, percent-encoded, without the query. */
  readonly path: string;
  /** Query of the URL, decoded. */
  readonly query: FlatParams;
  /** Parameters of URL and form body together. */
  readonly params: FlatParams;
  /** Names (any case) and values in turn, as received. */
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
  /** Came over TLS. */
  readonly secure: boolean;
}

/** Lower-case name → values in the order received, joined by commas (Signature Version 4, "canonical headers"). */
export function headerMap(rawHeaders: readonly string[]): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    const value = rawHeaders[i + 1] as string;
    const before = map.get(name);
    map.set(name, before === undefined ? value : `${before},${value}`);
  }
  return map;
}

/** What a scheme found out: whose key, and the functions that compare. */
export interface Claim {
  readonly accessKey: string;
  /** When the request was signed, ms. */
  readonly signedAt: number;
  /** The signature cannot be used from this time on, ms. */
  readonly validUntil: number;
  /** The signature itself, decoded. */
  readonly signature: Buffer;
  /** Compares in constant time; true when any allowed form of the request gives the signature. */
  verify(secret: string): boolean;
}
