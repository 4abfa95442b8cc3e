/**
 * Digest access authentication as servers see it (RFC 7616): the Authorization header read, the response that it should
 * carry computed. Users, nonces and counters are the callers' affair.
 */
import { createHash, timingSafeEqual } from 'node:crypto';

export type DigestAlgorithm = 'MD5' | 'SHA-256';
export type DigestQop = 'auth' | 'auth-int';

export interface DigestClaim {
  readonly username: string;
  readonly realm: string;
  readonly nonce: string;
  readonly uri: string;
  /** Hex digits, lower case. */
  readonly response: string;
  readonly algorithm: DigestAlgorithm;
  readonly qop: DigestQop;
  readonly cnonce: string;
  /** Counter, and the eight hex digits as sent. */
  readonly nc: number;
  readonly ncText: string;
}

const LONGEST_HEADER = 2048;
const LONGEST_CNONCE = 128;
const HASHES = { 'MD5': { name: 'md5', hex: 32 }, 'SHA-256': { name: 'sha256', hex: 64 } } as const;
/** One parameter: a token, `=`, a token or a quoted string (RFC 9110, 11.2). */
const PARAMETER = /\s*([A-Za-z*]{1,16})\s*=\s*(?:"((?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*)"|([!#$%&'*+.^_`|~0-9A-Za-z-]+))\s*(?:,|$)/y;

/** undefined: the header is missing, cannot be read, or asks for what no pilot uses. */
export function readDigest(header: string | undefined): DigestClaim | undefined {
  if (header === undefined || header.length > LONGEST_HEADER || !/^digest /i.test(header)) return undefined;
  const p = parameters(header.slice('digest '.length));
  if (p === undefined) return undefined;
  const get = (name: string): string => p.get(name) ?? '';
  const algorithm = (get('algorithm') || 'MD5').toUpperCase();
  const qop = get('qop').toLowerCase();
  const [response, ncText, cnonce] = [get('response').toLowerCase(), get('nc'), get('cnonce')];
  if (algorithm !== 'MD5' && algorithm !== 'SHA-256') return undefined;
  if (qop !== 'auth' && qop !== 'auth-int') return undefined;
  if (!/^[0-9a-f]+$/.test(response) || response.length !== HASHES[algorithm].hex || !/^[0-9a-fA-F]{8}$/.test(ncText)) return undefined;
  const nc = Number.parseInt(ncText, 16);
  if (nc === 0 || !/^[\x20-\x7e]+$/.test(cnonce) || cnonce.length > LONGEST_CNONCE) return undefined;
  return { username: get('username'), realm: get('realm'), nonce: get('nonce'), uri: get('uri'), response, algorithm, qop, cnonce, nc, ncText };
}

function parameters(text: string): Map<string, string> | undefined {
  const found = new Map<string, string>();
  PARAMETER.lastIndex = 0;
  while (PARAMETER.lastIndex < text.length) {
    const m = PARAMETER.exec(text);
    const name = m?.[1]?.toLowerCase();
    if (m === null || name === undefined || found.has(name)) return undefined;
    found.set(name, m[2]?.replace(/\\(.)/g, '$1') ?? m[3] ?? '');
  }
  return found;
}

/** Hex digits of the response of whoever knows `password` (RFC 7616, 3.4.1 to 3.4.3). */
export function digestResponse(claim: Omit<DigestClaim, 'response' | 'nc'>, password: string, method: string, body: Buffer): string {
  const h = (data: string | Buffer): string => createHash(HASHES[claim.algorithm].name).update(data).digest('hex');
  const a1 = `${claim.username}:${claim.realm}:${password}`;
  const a2 = claim.qop === 'auth-int' ? `${method}:${claim.uri}:${h(body)}` : `${method}:${claim.uri}`;
  return h(`${h(a1)}:${claim.nonce}:${claim.ncText}:${claim.cnonce}:${claim.qop}:${h(a2)}`);
}

/** Takes the same time wherever two texts of one length differ. */
export function sameText(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

/** The request target as the client computed with it: a proxy may send it in absolute form. */
export const originForm = (target: string): string => target.replace(/^https?:\/\/[^/?]*/i, '');
