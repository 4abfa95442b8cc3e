/** Who sent a request: finds the signature in its place, checks its time, its key and itself. */
import { Fault } from '../../lease/faults.ts';
import type { Context } from '../../platform/context.ts';
import type { Manager } from '../../manager/types.ts';
import type { Claim, SignedRequest } from './request.ts';
import { createSigningKeys } from './signing-keys.ts';
import { claimV1 } from './v1.ts';
import { claimV2 } from './v2.ts';
import { ALGORITHM, claimFromHeader, claimFromQuery } from './v4.ts';

export type Account = NonNullable<Awaited<ReturnType<Manager['credentials']['find']>>>;

export interface Authenticated {
  readonly account: Account;
  /** Names this very signature until it expires. */
  readonly signatureId: string;
  readonly validUntil: number;
}

export interface Authenticator {
  /** @throws Fault */
  authenticate(request: SignedRequest): Promise<Authenticated>;
}

export interface AuthOptions {
  readonly skewMs: number;
  /** Ports that clients may have signed with the host's name. */
  readonly ports: () => readonly string[];
  /** Signatures of version 1 are accepted. */
  readonly signatureV1: boolean;
}

const MAX_AUTHORIZATION = 8192;
const ACCESS_KEY = /^[\x21-\x7e]{1,128}$/;
const SESSION_TOKEN = /^[\x21-\x7e]{0,8192}$/;

export function createAuthenticator(ctx: Context, find: Manager['credentials']['find'], options: AuthOptions): Authenticator {
  const keys = createSigningKeys();
  // Unknown keys are checked against this, so that they take the time that known ones take.
  const nobody = ctx.random.bytes(30).toString('base64');
  return {
    async authenticate(request) {
      const now = ctx.clock.now();
      const claim = readClaim(request, now, { ...options, keys });
      checkTime(claim, now, options.skewMs);
      checkSessionToken(request);
      const account = ACCESS_KEY.test(claim.accessKey) ? await find(claim.accessKey) : null;
      const right = claim.verify(account?.secret ?? nobody);
      if (account === null) throw new Fault('CredentialsUnknown', 'The access key ID that the request names does not exist.');
      if (!right) {
        throw new Fault('SignatureMismatch', 'The request signature we calculated does not match the signature you provided. Check your secret access key and signing method.');
      }
      return { account, signatureId: claim.signature.toString('latin1'), validUntil: claim.validUntil };
    },
  };
}

function readClaim(request: SignedRequest, now: number, options: AuthOptions & { keys: ReturnType<typeof createSigningKeys> }): Claim {
  const authorization = header(request, 'authorization');
  const presigned = request.query.has('X-Amz-Signature') || request.query.has('X-Amz-Algorithm');
  const version = request.params.get('SignatureVersion');
  const old = version !== undefined || request.params.has('Signature');
  const places = Number(authorization !== undefined) + Number(presigned) + Number(old);
  if (places === 0) throw new Fault('CredentialsMissing', 'Request is missing credentials: sign it with signature version 4 or 2.');
  if (places > 1) throw new Fault('AuthFailure', 'The request carries more than one signature.');
  if (presigned) return claimFromQuery(request, options);
  if (old) {
    if (version === '2') return claimV2(request, now, options);
    // A request without SignatureVersion would be of version 0, which nobody accepts.
    if (version === '1' && options.signatureV1) return claimV1(request, now, options);
    throw new Fault('AuthFailure', `Only signature versions ${options.signatureV1 ? '1, 2' : '2'} and 4 are accepted.`);
  }
  if (authorization === undefined || authorization.length > MAX_AUTHORIZATION || !authorization.startsWith(`${ALGORITHM} `)) {
    throw new Fault('AuthFailure', `The Authorization header must begin with ${ALGORITHM}.`);
  }
  return claimFromHeader(request, authorization, options);
}

function checkTime(claim: Claim, now: number, skewMs: number): void {
  if (claim.signedAt > now + skewMs) throw new Fault('RequestExpired', `Request is not valid yet: it was signed ${seconds(claim.signedAt - now)} in the future of this server's clock.`);
  if (claim.validUntil < now) throw new Fault('RequestExpired', `Request has expired ${seconds(now - claim.validUntil)} ago by this server's clock.`);
}
const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;

/** This service issues none: the key alone says who asks, and a token left over in a client's environment changes nothing. */
function checkSessionToken(request: SignedRequest): void {
  const tokens = [header(request, 'x-amz-security-token'), request.params.get('X-Amz-Security-Token'), request.params.get('SecurityToken')];
  if (!tokens.every((t) => t === undefined || SESSION_TOKEN.test(t))) {
    throw new Fault('AuthFailure', 'The security token is none: it has other than printable characters, or too many.');
  }
}

function header(request: SignedRequest, name: string): string | undefined {
  const i = request.rawHeaders.findIndex((h, at) => at % 2 === 0 && h.length === name.length && h.toLowerCase() === name);
  return i < 0 ? undefined : request.rawHeaders[i + 1];
}
