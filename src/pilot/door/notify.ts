/** `POST /pilot_notification/v02/`: proved, read, stored, acknowledged, in this order. */
import { PilotRefusal } from '../../manager/slots/inbox-refusal.ts';
import { withDeadline } from '../../platform/deadline.ts';
import { acknowledged, refused, type Answer } from './answers.ts';
import type { Authenticate } from './authenticate.ts';
import { readNotification } from './notification.ts';
import { ANSWER_MS, asRefusal, type PilotDoorParts, type Received } from './parts.ts';

export const NOT_PROVED = 'Digest authentication with the slot\'s own secret (SHA-256, qop=auth-int) is needed.';

export async function notify({ ctx, inbox, refusals }: PilotDoorParts, authenticate: Authenticate, request: Received): Promise<Answer> {
  const { peer } = request;
  let slot = '';
  let host: string | undefined;
  try {
    const who = await authenticate(request);
    if ('challenge' in who) {
      const refusal = new PilotRefusal('NotAuthenticated', NOT_PROVED);
      if (!who.asked) refusals.note({ code: refusal.code, reason: who.challenge.stale ? 'another nonce than the slot\'s' : refusal.message, slot: who.named, proved: false, peer });
      return refused(refusal, who.challenge);
    }
    slot = who.slot;
    const notification = readNotification(request.body);
    host = notification.host;
    return acknowledged(await withDeadline(ctx.clock, ANSWER_MS, 'storing', inbox.take(slot, notification, who.proof)));
  } catch (e) {
    const refusal = asRefusal(ctx, e);
    refusals.note({ code: refusal.code, reason: refusal.message, slot, proved: slot !== '', peer, ...(host === undefined ? {} : { host }) });
    return refused(refusal);
  }
}
