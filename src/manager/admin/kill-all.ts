/**
 * The end of a slot that an administrator wants: written as any other end, so that leases, addresses and usage follow. The
 * leases' VMs are ended first, as far as their nodes answer; pilots that were heard get a while to give their nodes back by
 * themselves; then the job is cancelled, again and again until the batch system says that it is gone.
 */
import type { SlotChange } from '../admin-types.ts';
import type { SlotDeps } from '../deps.ts';
import { changeSlots, type OpenSlot, type SlotBatch } from '../slots/batch.ts';
import type { Caller } from '../types.ts';

/** As long as pilots get whose leases ended in any other way, ms. */
const GOODBYE_MS = 15_000;

/** Undefined when there is no such slot; one that has ended stays as it is. */
export function killSlot(deps: SlotDeps, caller: Caller, id: string, why: string): Promise<SlotChange | undefined> {
  return changeSlots(deps, [id], (batch) => {
    const open = batch.slots.get(id);
    return open === undefined ? undefined : killOpen(batch, open, caller, why);
  });
}

function killOpen(batch: SlotBatch, open: OpenSlot, caller: Caller, why: string): SlotChange {
  const { slot, nodes } = open;
  const before = slot.state;
  const leases = slot.final ? [] : endLeases(batch, open, caller, why);
  if (slot.state === 'Releasing') {
    slot.next_at = batch.now;
    batch.touch(slot);
  } else if (batch.step(open, 'release', { code: 'Server.SlotKilled', reason: why }) && !slot.final) {
    slot.next_at = nodes.some((n) => n.state === 'Reserved') ? batch.now + GOODBYE_MS : batch.now;
  }
  return { id: slot.id, before, after: slot.state, jobId: slot.job_id, leases };
}

/** Under the administrator's name; returns those that were not ending already. */
function endLeases(batch: SlotBatch, { nodes }: OpenSlot, caller: Caller, why: string): string[] {
  const cause = { trigger: 'end', actor: 'admin', who: caller.name, why, at: batch.now, requestId: caller.requestId } as const;
  return nodes.flatMap((n) => batch.leasesOn(n))
    .filter((lease) => batch.leases.apply(lease, cause, { reasonCode: 'Server.SlotKilled', reason: why }))
    .map((lease) => lease.id);
}
