/**
 * Digest access authentication, client side: RFC 7616 with SHA-256 and qop=auth-int for our own service, RFC 2617 with MD5 and
 * qop=auth (or none) for an original one.
 */
import { createHash } from 'node:crypto';

export type Algorithm = 'MD5' | 'SHA-256';
export type Qop = 'auth' | 'auth-int';

export interface Challenge {
  readonly realm: string;
  readonly nonce: string;
  readonly algorithm: Algorithm;
  /** null = the form without qop (RFC 2069), which RFC 2617 keeps. */
  readonly qop: Qop | null;
  readonly opaque?: string;
  readonly stale?: boolean;
}

export interface Account {
  readonly user: string;
  readonly secret: string;
}

export interface SignedRequest {
  readonly method: string;
  /** Path and query as they stand in the request line. */
  readonly uri: string;
  readonly body: string;
}

/** The value of `Authorization`. `nc` counts the requests with this nonce, from 1. */
export function authorization(account: Account, challenge: Challenge, request: SignedRequest, nc: number, cnonce: string): string {
  const { realm, nonce, algorithm, qop, opaque } = challenge;
  const count = nc.toString(16).padStart(8, '0');
  const hash = (text: string): string => createHash(algorithm === 'MD5' ? 'md5' : 'sha256').update(text).digest('hex');
  const a1 = hash(`${account.user}:${realm}:${account.secret}`);
  const a2 = hash(`${request.method}:${request.uri}${qop === 'auth-int' ? `:${hash(request.body)}` : ''}`);
  const response = hash(qop === null ? `${a1}:${nonce}:${a2}` : `${a1}:${nonce}:${count}:${cnonce}:${qop}:${a2}`);
  return `Digest ${[
    `username=${quoted(account.user)}`, `realm=${quoted(realm)}`, `nonce=${quoted(nonce)}`, `uri=${quoted(request.uri)}`, `algorithm=${algorithm}`,
    `response="${response}"`,
    ...(qop === null ? [] : [`qop=${qop}`, `nc=${count}`, `cnonce="${cnonce}"`]),
    ...(opaque === undefined ? [] : [`opaque=${quoted(opaque)}`]),
  ].join(', ')}`;
}

const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

const PARAMETER = /([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))/g;

/** What a `WWW-Authenticate` asks for; undefined when it is nothing that is known here. */
export function parseChallenge(header: string | undefined): Challenge | undefined {
  const text = /^Digest\s+(.*)$/is.exec(header ?? '')?.[1];
  if (text === undefined) return undefined;
  const given = new Map([...text.matchAll(PARAMETER)].map((m) => [(m[1] ?? '').toLowerCase(), m[2] === undefined ? m[3] ?? '' : m[2].replace(/\\(.)/g, '$1')]));
  const [realm, nonce] = [given.get('realm'), given.get('nonce')];
  const algorithm = (['MD5', 'SHA-256'] as const).find((a) => a === (given.get('algorithm') ?? 'MD5').toUpperCase());
  const offered = given.get('qop')?.toLowerCase().split(',').map((w) => w.trim());
  const qop = offered === undefined ? null : (['auth-int', 'auth'] as const).find((q) => offered.includes(q));
  if (realm === undefined || nonce === undefined || algorithm === undefined || qop === undefined) return undefined;
  const opaque = given.get('opaque');
  return { realm, nonce, algorithm, qop, ...(opaque === undefined ? {} : { opaque }), stale: given.get('stale')?.toLowerCase() === 'true' };
}
