/**
 * AWS Signature Version 4, in the Authorization header or presigned in the query ("Signing AWS API requests", AWS IAM
 * guide). Region and service are not checked: boto 2.49 derives them from the host name (`0/127` for 127.0.0.1).
 */
import { createHmac, hash, timingSafeEqual } from 'node:crypto';
import { Fault } from '../../lease/faults.ts';
import { isoBasic, parseDateHeader, parseIso } from '../time.ts';
import { canonicalQuery, encodeRfc3986 } from './encode.ts';
import { headerMap } from './request.ts';
import type { Claim, SignedRequest } from './request.ts';
import type { Scope, SigningKeys } from './signing-keys.ts';
import { hostVariants, pathVariants } from './variants.ts';

export const ALGORITHM = 'AWS4-HMAC-SHA256';
/** A week, the longest a presigned request may live (AWS IAM guide). */
const MAX_PRESIGNED_S = 604_800;
const MAX_SIGNED_HEADERS = 64;
const HEX_DIGEST = /^[0-9a-f]{64}$/;
const UNSIGNED = 'UNSIGNED-PAYLOAD';

export interface V4Options {
  readonly keys: SigningKeys;
  readonly ports: () => readonly string[];
  readonly skewMs: number;
}

interface Parts {
  readonly accessKey: string;
  readonly scope: Scope;
  readonly signedHeaders: readonly string[];
  readonly signature: Buffer;
  readonly signedAt: number;
}

export function claimFromHeader(request: SignedRequest, authorization: string, options: V4Options): Claim {
  const headers = headerMap(request.rawHeaders);
  const fields = authorizationFields(authorization);
  const date = headers.get('x-amz-date');
  const signedAt = date === undefined ? parseDateHeader(headers.get('date') ?? '') : parseIso(date);
  const parts = readParts(fields.get('Credential'), fields.get('SignedHeaders'), fields.get('Signature'), signedAt);
  return claim(request, headers, parts, canonicalQuery(request.query, 'X-Amz-Signature'), parts.signedAt + options.skewMs, options);
}

export function claimFromQuery(request: SignedRequest, options: V4Options): Claim {
  const q = request.query;
  if (q.get('X-Amz-Algorithm') !== ALGORITHM) throw incomplete(`X-Amz-Algorithm must be ${ALGORITHM}`);
  const parts = readParts(q.get('X-Amz-Credential'), q.get('X-Amz-SignedHeaders'), q.get('X-Amz-Signature'), parseIso(q.get('X-Amz-Date') ?? ''));
  const expires = q.get('X-Amz-Expires') ?? '';
  if (!/^\d{1,6}$/.test(expires) || Number(expires) < 1 || Number(expires) > MAX_PRESIGNED_S) {
    throw incomplete(`X-Amz-Expires must be a number of seconds from 1 to ${MAX_PRESIGNED_S}`);
  }
  const until = parts.signedAt + Number(expires) * 1000;
  return claim(request, headerMap(request.rawHeaders), parts, canonicalQuery(q, 'X-Amz-Signature'), until, options);
}

/** `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`; boto 2 puts no space after the commas. */
function authorizationFields(authorization: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const part of authorization.slice(ALGORITHM.length).split(',')) {
    const eq = part.indexOf('=');
    if (eq > 0) fields.set(part.slice(0, eq).trim(), part.slice(eq + 1).trim());
  }
  return fields;
}

function readParts(credential: string | undefined, signedHeaders: string | undefined, signature: string | undefined, signedAt: number | undefined): Parts {
  if (credential === undefined || signedHeaders === undefined || signature === undefined) {
    throw incomplete('it needs Credential, SignedHeaders and Signature');
  }
  const scope = credential.split('/');
  const [accessKey, date, region, service, end] = scope as [string, string, string, string, string];
  if (scope.length !== 5 || accessKey === '' || !/^\d{8}$/.test(date) || end !== 'aws4_request') {
    throw incomplete('Credential must be ACCESSKEY/DATE/REGION/SERVICE/aws4_request');
  }
  const names = signedHeaders.split(';');
  if (names.length > MAX_SIGNED_HEADERS || !names.includes('host')) throw incomplete("SignedHeaders must have 'host'");
  if (!HEX_DIGEST.test(signature)) throw incomplete('Signature must be 64 lower-case hexadecimal digits');
  if (signedAt === undefined) throw incomplete('it needs a date: X-Amz-Date as YYYYMMDDTHHMMSSZ, or Date');
  if (!isoBasic(signedAt).startsWith(date)) {
    throw new Fault('SignatureMismatch', 'The date in the credential scope is not the date of the request.');
  }
  return { accessKey, scope: { date, region, service }, signedHeaders: names, signature: Buffer.from(signature, 'hex'), signedAt };
}

function claim(request: SignedRequest, headers: ReadonlyMap<string, string>, parts: Parts, query: string, validUntil: number, options: V4Options): Claim {
  const missing = parts.signedHeaders.find((name) => !headers.has(name));
  if (missing !== undefined) throw new Fault('SignatureMismatch', 'A header that the signature names is not in the request.');
  const payload = payloadHash(request, headers);
  const { date, region, service } = parts.scope;
  const prefix = `${ALGORITHM}\n${isoBasic(parts.signedAt)}\n${date}/${region}/${service}/aws4_request\n`;

  const gives = (key: Buffer, path: string, host: string): boolean => {
    const lines = parts.signedHeaders.map((name) => `${name}:${name === 'host' ? host : squeeze(headers.get(name) as string)}\n`).join('');
    const canonical = `${request.method}\n${path}\n${query}\n${lines}\n${parts.signedHeaders.join(';')}\n${payload}`;
    // Header values are octets; Node gives each as one character.
    const digest = hash('sha256', Buffer.from(canonical, 'latin1'), 'hex');
    return timingSafeEqual(createHmac('sha256', key).update(prefix + digest).digest(), parts.signature);
  };

  return {
    accessKey: parts.accessKey,
    signedAt: parts.signedAt,
    validUntil,
    signature: parts.signature,
    verify(secret) {
      const { key, remember } = options.keys.get(parts.accessKey, secret, parts.scope);
      const hosts = hostVariants(headers.get('host') ?? '', options.ports());
      const right = canonicalPaths(request.path).some((path) => hosts.some((host) => gives(key, path, host)));
      if (right) remember();
      return right;
    },
  };
}

/** Version 4 encodes the path once more than it was sent (except for S3); clients that do not are met as well. */
function canonicalPaths(path: string): readonly string[] {
  const variants = pathVariants(path);
  const twice = variants.map((p) => p.split('/').map(encodeRfc3986).join('/'));
  return path.includes('%') ? [...twice, ...variants] : twice;
}

function payloadHash(request: SignedRequest, headers: ReadonlyMap<string, string>): string {
  const stated = headers.get('x-amz-content-sha256') ?? request.query.get('X-Amz-Content-Sha256');
  if (stated === UNSIGNED) {
    if (request.secure) return UNSIGNED;
    throw new Fault('SignatureMismatch', 'An unsigned payload is accepted over TLS only.');
  }
  const actual = hash('sha256', request.body, 'hex');
  if (stated !== undefined && stated.toLowerCase() !== actual) {
    throw new Fault('SignatureMismatch', 'The header x-amz-content-sha256 is not the SHA-256 digest of the body.');
  }
  return stated ?? actual;
}

/** Trimmed, runs of white space as one space. */
function squeeze(value: string): string {
  return /^\s|\s\s|\s$|\t/.test(value) ? value.trim().replace(/\s+/g, ' ') : value;
}

const incomplete = (why: string): Fault => new Fault('AuthFailure', `The signature cannot be read: ${why}.`);
