/** Pilot mode's part of the manager, as its worker sees it. */
import type { SlotDeps } from '../deps.ts';
import { applyMessages } from './messages.ts';
import { reconcileSlots } from './reconcile.ts';
import { findDue, findReleases, recordCancelled } from './release.ts';
import { recordSubmission, takeRequested } from './submit.ts';
import type { SlotWork } from './types.ts';

export function slotWork(deps: SlotDeps): SlotWork {
  // Whoever asks for the first time has just begun to listen: a service needs a while from its start to its open door.
  let since: number | undefined;
  return {
    due: () => findDue(deps, since ??= deps.ctx.clock.now()),
    takeRequested: (most) => takeRequested(deps, most),
    submitted: (slotId, answer, at) => recordSubmission(deps, slotId, answer, at),
    reconcile: (listing, askedAt, inFlight) => reconcileSlots(deps, listing, askedAt, inFlight),
    applyMessages: (slotIds) => applyMessages(deps, slotIds),
    releases: (due) => findReleases(deps, since ??= deps.ctx.clock.now(), due),
    cancelled: (slotId, gone) => recordCancelled(deps, slotId, gone),
  };
}
