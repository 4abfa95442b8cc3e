/** `POST /pilot_notification/v02/`: proved, read, stored, acknowledged, in this order. */
import { withDeadline } from '../../platform/deadline.ts';
import { acknowledged, refused, type Answer, type Reason } from './answers.ts';
import type { Authenticate } from './authenticate.ts';
import { readNotification } from './notification.ts';
import { ANSWER_MS, asRefusal, type PilotDoorParts, type Received } from './parts.ts';

/** No error object: most clients are told so before each request. */
export const NOT_PROVED: Reason = { code: 'NotAuthenticated', message: 'Digest authentication with the slot\'s own secret (SHA-256, qop=auth-int) is needed.' };

export async function notify({ ctx, inbox, refusals, contacts }: PilotDoorParts, authenticate: Authenticate, request: Received): Promise<Answer> {
  const { peer } = request;
  let slot = '';
  let host: string | undefined;
  try {
    const who = await authenticate(request);
    if ('challenge' in who) {
      if (!who.asked) refusals.note({ ...NOT_PROVED, ...(who.challenge.stale ? { message: 'another nonce than the slot\'s' } : {}), slot: who.named, proved: false, peer: peer() });
      return refused(NOT_PROVED, who.challenge);
    }
    slot = who.slot;
    const notification = readNotification(request.body);
    host = notification.host;
    const taken = await withDeadline(ctx.clock, ANSWER_MS, 'storing', inbox.take(slot, notification, who.proof));
    const known = contacts();
    return acknowledged(known.length === 0 ? taken : { ...taken, contacts: known });
  } catch (e) {
    const refusal = asRefusal(ctx, e);
    refusals.note({ code: refusal.code, message: refusal.message, slot, proved: slot !== '', peer: peer(), ...(host === undefined ? {} : { host }) });
    return refused(refusal);
  }
}
