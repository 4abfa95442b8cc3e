/** Which slot a request is of: digest access authentication with the slot's own secret and nonce. */
import { createHmac } from 'node:crypto';
import type { Proof } from '../../manager/slots/inbox-admit.ts';
import type { Inbox } from '../../manager/slots/inbox.ts';
import type { Context } from '../../platform/context.ts';
import { REALM, SLOT_ID } from '../protocol.ts';
import { digestResponse, originForm, readDigest, sameText } from './digest.ts';
import type { Received } from './parts.ts';

export type Authentication =
  | { readonly slot: string; readonly proof: Proof }
  /** `named`: the slot that the request says it is of, or ''. `asked`: it carries no credentials, as the first request of most clients. */
  | { readonly challenge: { readonly nonce: string; readonly stale: boolean }; readonly named: string; readonly asked: boolean };

export type Authenticate = (request: Received) => Promise<Authentication>;

export function createAuthenticate({ random }: Pick<Context, 'random'>, inbox: Pick<Inbox, 'secretOf'>): Authenticate {
  // Slots that are not there have a nonce and are checked too, so that the answer does not tell them from those that are.
  const key = random.bytes(32);
  const nobody = { secret: random.bytes(16).toString('hex') };
  const nonceFor = (name: string): string => createHmac('sha256', key).update(name).digest('hex').slice(0, 32);

  return async (request) => {
    const claim = readDigest(request.authorization);
    const named = claim !== undefined && SLOT_ID.test(claim.username) ? claim.username : '';
    if (claim === undefined) return { challenge: { nonce: nonceFor(''), stale: false }, named, asked: request.authorization === undefined };
    const found = await inbox.secretOf(claim.username);
    const { secret, nonce } = found ?? { ...nobody, nonce: nonceFor(claim.username) };
    const fits = claim.realm === REALM && claim.algorithm === 'SHA-256' && claim.qop === 'auth-int' && originForm(claim.uri) === originForm(request.target);
    const right = sameText(digestResponse(claim, secret, request.method, request.body), claim.response) && fits && found !== null;
    if (right && claim.nonce === nonce) return { slot: claim.username, proof: { cnonce: claim.cnonce, nc: claim.nc } };
    // Who knows the secret and not the nonce may try again with it (RFC 7616, 3.3).
    return { challenge: { nonce, stale: right }, named, asked: false };
  };
}
