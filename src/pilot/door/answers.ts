/** Answers of the door: status, headers and body of each, for the form that the pilot speaks. */
import { LEGACY_REALM, REALM, type NotificationAnswer, type RefusalCode } from '../protocol.ts';

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  /** Names and values in turn. */
  readonly headers: readonly string[];
}

export const STATUS: Readonly<Record<RefusalCode, number>> = {
  Malformed: 400, NotAuthenticated: 401, NotInJob: 403, Replayed: 409, SlotEnded: 410, TooLarge: 413, Busy: 429, Unavailable: 503,
};
const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain;charset=UTF-8';
const RETRY = ['Retry-After', '1'];

export const acknowledged = (answer: NotificationAnswer): Answer => ({ status: 200, contentType: JSON_TYPE, body: JSON.stringify(answer), headers: [] });
export const legacyOk: Answer = { status: 200, contentType: TEXT_TYPE, body: 'OK', headers: [] };

/** Why a request is refused: a `PilotRefusal`, or the same without an error's cost. */
export interface Reason {
  readonly code: RefusalCode;
  readonly message: string;
}

export interface Challenge {
  readonly nonce: string;
  /** The secret was right, the nonce was not. */
  readonly stale: boolean;
}
const NONE: Challenge = { nonce: '', stale: false };
const digest = (realm: string, qop: string, algorithm: string, { nonce, stale }: Challenge): string =>
  `Digest realm="${realm}", qop="${qop}", algorithm=${algorithm}, nonce="${nonce}"${stale ? ', stale=true' : ''}`;

/** `challenge` goes with NotAuthenticated. */
export const refused = ({ code, message }: Reason, challenge = NONE): Answer => ({
  status: STATUS[code], contentType: JSON_TYPE, body: JSON.stringify({ error: { code, message } }), headers: extra(code, digest(REALM, 'auth-int', 'SHA-256', challenge)),
});

/** A body that cannot be parsed is 406 in the original. */
export const legacyRefused = ({ code, message }: Reason, challenge = NONE): Answer => ({
  status: code === 'Malformed' ? 406 : STATUS[code], contentType: TEXT_TYPE, body: `NOTOK: ${message}`, headers: extra(code, digest(LEGACY_REALM, 'auth', 'MD5', challenge)),
});

function extra(code: RefusalCode, challenge: string): readonly string[] {
  if (code === 'NotAuthenticated') return ['WWW-Authenticate', challenge];
  return code === 'Busy' || code === 'Unavailable' ? RETRY : [];
}
