/** `POST /pilot_notification/v01/`: pilots of the original, which share one account and answer a challenge each time. */
import { PilotRefusal } from '../../manager/slots/inbox-refusal.ts';
import type { Config } from '../../platform/config.ts';
import { withDeadline } from '../../platform/deadline.ts';
import { LEGACY_REALM } from '../protocol.ts';
import { legacyOk, legacyRefused, type Answer, type Reason } from './answers.ts';
import { digestResponse, originForm, readDigest, sameText } from './digest.ts';
import { readLegacy } from './legacy-message.ts';
import { createLegacyNonces } from './legacy-nonces.ts';
import { ANSWER_MS, asRefusal, type PilotDoorParts, type Received } from './parts.ts';

const NOT_CONFIGURED = 'This service takes no notifications of this form: pilot.legacy_account is not set.';
const NOT_PROVED: Reason = { code: 'NotAuthenticated', message: 'Digest authentication with the pilots\' account is needed.' };

export function createLegacy(parts: PilotDoorParts, account: Pick<Config['pilot'], 'legacy_account' | 'legacy_secret'>): (request: Received) => Promise<Answer> {
  const { ctx, inbox, refusals } = parts;
  const nonces = createLegacyNonces(ctx);
  const configured = account.legacy_account !== '' && account.legacy_secret !== '';

  /** undefined: proved; else the challenge to answer. @throws PilotRefusal Replayed, Busy */
  const challengeFor = (request: Received): { nonce: string; stale: boolean } | undefined => {
    const claim = readDigest(request.authorization);
    const right = claim !== undefined && sameText(digestResponse(claim, account.legacy_secret, request.method, request.body), claim.response)
      && sameText(claim.username, account.legacy_account)
      && claim.realm === LEGACY_REALM && claim.algorithm === 'MD5' && originForm(claim.uri) === originForm(request.target);
    if (!right || !nonces.isFresh(claim.nonce)) return { nonce: nonces.issue(), stale: right };
    const use = nonces.use(claim.nonce, claim.nc);
    if (use === 'replayed') throw new PilotRefusal('Replayed', 'this request came before');
    if (use === 'full') throw new PilotRefusal('Busy', 'too many pilots report; try again shortly');
    return undefined;
  };

  return async (request) => {
    let slot = '';
    const note = ({ code, message }: Reason, proved: boolean): void => refusals.note({ code, message, slot, proved, peer: request.peer() });
    try {
      if (!configured) throw new PilotRefusal('NotInJob', NOT_CONFIGURED);
      const challenge = challengeFor(request);
      if (challenge !== undefined) {
        if (request.authorization !== undefined && !challenge.stale) note(NOT_PROVED, false);
        return legacyRefused(NOT_PROVED, challenge);
      }
      const notification = readLegacy(request.body, ctx.clock.now());
      slot = notification.slot;
      await withDeadline(ctx.clock, ANSWER_MS, 'storing', inbox.take(slot, notification, null));
      return legacyOk;
    } catch (e) {
      const refusal = asRefusal(ctx, e);
      note(refusal, slot !== '');
      return legacyRefused(refusal);
    }
  };
}
