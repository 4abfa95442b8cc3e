/** Signature Version 2: `Signature`, `SignatureVersion=2`, `SignatureMethod`, and `Timestamp` or `Expires` as parameters. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Fault } from '../../lease/faults.ts';
import { parseIso } from '../time.ts';
import { canonicalQuery } from './encode.ts';
import { headerMap } from './request.ts';
import type { Claim, SignedRequest } from './request.ts';
import { hostVariants, pathVariants, queryVariants } from './variants.ts';

const METHODS: Readonly<Record<string, { algorithm: string; bytes: number }>> = {
  HmacSHA256: { algorithm: 'sha256', bytes: 32 },
  HmacSHA1: { algorithm: 'sha1', bytes: 20 },
};
/** An `Expires` further away is refused, as for presigned requests of version 4. */
const MAX_LIFE_MS = 604_800_000;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

export function claimV2(request: SignedRequest, now: number, options: { ports: () => readonly string[]; skewMs: number }): Claim {
  const { algorithm, ...claim } = readParameters(request, now, options.skewMs);
  return {
    ...claim,
    verify(secret) {
      const hosts = hostVariants(headerMap(request.rawHeaders).get('host') ?? '', options.ports());
      const queries = queryVariants(canonicalQuery(request.params, 'Signature'));
      return queries.some((query) => pathVariants(request.path).some((path) => hosts.some((host) => timingSafeEqual(
        createHmac(algorithm, secret).update(`${request.method}\n${host}\n${path}\n${query}`).digest(), claim.signature,
      ))));
    },
  };
}

/** What versions 1 and 2 have in common. */
export function readParameters(request: SignedRequest, now: number, skewMs: number): Omit<Claim, 'verify'> & { readonly algorithm: string } {
  const p = request.params;
  const accessKey = p.get('AWSAccessKeyId') ?? '';
  if (accessKey === '') throw new Fault('CredentialsMissing', 'The request must contain AWSAccessKeyId.');
  const name = p.get('SignatureMethod') ?? 'HmacSHA1';
  const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined;
  if (method === undefined) throw new Fault('AuthFailure', 'SignatureMethod must be HmacSHA1 or HmacSHA256.');
  // A client that forgets to escape `+` sends what reads as a space; base64 has none.
  const encoded = (p.get('Signature') ?? '').replaceAll(' ', '+');
  const signature = Buffer.from(encoded, 'base64');
  // One signature has one form: bits that base64 leaves over must be zero, or a replay could be written anew.
  const canonical = unpadded(signature.toString('base64')) === unpadded(encoded);
  if (!BASE64.test(encoded) || signature.length !== method.bytes || !canonical) throw new Fault('AuthFailure', `Signature must be the base64 of ${method.bytes} bytes for ${name}.`);
  return { accessKey, ...life(p, now, skewMs), signature, algorithm: method.algorithm };
}

const unpadded = (text: string): string => text.replace(/=+$/, '');

function life(params: ReadonlyMap<string, string>, now: number, skewMs: number): { signedAt: number; validUntil: number } {
  const timestamp = params.get('Timestamp');
  const expires = params.get('Expires');
  if ((timestamp === undefined) === (expires === undefined)) {
    throw new Fault('AuthFailure', 'The request must contain either Timestamp or Expires.');
  }
  const at = parseIso(timestamp ?? expires ?? '');
  if (at === undefined) throw new Fault('AuthFailure', `${timestamp === undefined ? 'Expires' : 'Timestamp'} must be a time as 2026-11-22T14:41:03Z.`);
  if (timestamp !== undefined) return { signedAt: at, validUntil: at + skewMs };
  if (at > now + MAX_LIFE_MS) throw new Fault('AuthFailure', 'Expires is more than a week away.');
  return { signedAt: now, validUntil: at };
}
