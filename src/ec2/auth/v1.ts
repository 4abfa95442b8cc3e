/**
 * Signature Version 1: names and values of all parameters one after the other, sorted by name without regard to case. Where a
 * name ends is not signed, nor method, host and path, so a site must want it (`ec2.signature_v1`).
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Claim, SignedRequest } from './request.ts';
import { readParameters } from './v2.ts';

export function claimV1(request: SignedRequest, now: number, options: { skewMs: number }): Claim {
  const { algorithm, ...claim } = readParameters(request, now, options.skewMs);
  return {
    ...claim,
    verify: (secret) => timingSafeEqual(createHmac(algorithm, secret).update(signedText(request.params)).digest(), claim.signature),
  };
}

function signedText(params: ReadonlyMap<string, string>): string {
  return [...params].filter(([name]) => name !== 'Signature')
    .map(([name, value]) => ({ key: name.toLowerCase(), text: name + value }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ text }) => text).join('');
}
