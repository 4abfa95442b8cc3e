/**
 * `kill-all` while no service runs: the ends are written as always, then their jobs are cancelled from here. A pilot ends its
 * VMs and gives memory back when the batch system sends SIGTERM; what became of the jobs is read from the batch system's list
 * and written by the same functions that the service uses, so that it finds the truth when it starts again.
 */
import type { Lrm } from '../../pilot/lrm/types.ts';
import { sleep } from '../../platform/deadline.ts';
import type { AdminManager, KilledSlot, SlotChoice } from '../admin-types.ts';
import type { SlotDeps } from '../deps.ts';
import type { SlotView, SlotWork } from '../slots/types.ts';
import type { Caller } from '../types.ts';

/** A cancellation is repeated after so long. */
const CANCEL_AGAIN_MS = 10_000;

export interface OfflineKill {
  readonly deps: SlotDeps;
  readonly slots: AdminManager['slots'];
  readonly work: SlotWork;
  readonly lrm: Lrm;
}

export interface OfflineWait {
  readonly why: string;
  /** How long, and how often the batch system is asked meanwhile, ms. */
  readonly waitMs: number;
  readonly pollMs: number;
  /** What goes wrong on the way, each thing once. */
  readonly trouble: (what: string) => void;
}

/** Resolves when every job is gone, or the time is over. */
export async function killAllOffline(site: OfflineKill, caller: Caller, choice: SlotChoice, wait: OfflineWait): Promise<KilledSlot[]> {
  const { ctx } = site.deps;
  const deadline = ctx.clock.monotonic() + wait.waitMs;
  const troubles = new Set<string>();
  const trouble = (what: string): void => {
    if (!troubles.has(what)) wait.trouble(what);
    troubles.add(what);
  };
  // What pilots said before the service went, and jobs whose numbers it never learned.
  await site.work.applyMessages(null);
  await follow(site, trouble);
  const killed = await site.slots.killAll(caller, choice, wait.why);
  const cancelledAt = new Map<string, number>();
  for (;;) {
    const left = await live(site, killed);
    await Promise.all(left.map((slot) => cancel(site, slot, cancelledAt, trouble)));
    await site.work.applyMessages(null);
    await follow(site, trouble);
    if ((await live(site, killed)).length === 0) return killed;
    if (ctx.clock.monotonic() + wait.pollMs > deadline) return killed;
    await sleep(ctx.clock, wait.pollMs);
  }
}

async function live({ slots }: OfflineKill, killed: readonly KilledSlot[]): Promise<SlotView[]> {
  const ids = killed.filter((k) => k.ok).map((k) => k.slot);
  return ids.length === 0 ? [] : slots.list({ live: true, ids });
}

async function cancel({ deps, work, lrm }: OfflineKill, slot: SlotView, cancelledAt: Map<string, number>, trouble: (what: string) => void): Promise<void> {
  const now = deps.ctx.clock.monotonic();
  if (slot.jobId === null || now - (cancelledAt.get(slot.id) ?? -Infinity) < CANCEL_AGAIN_MS) return;
  cancelledAt.set(slot.id, now);
  const answer = await lrm.cancel(slot.jobId);
  if (answer.kind === 'unknown') trouble(`job ${slot.jobId} of ${slot.id} could not be cancelled: ${answer.reason}`);
  await work.cancelled(slot.id, answer.kind === 'gone');
}

/** Writes what the batch system's list says of every slot; without a list nothing is concluded. */
async function follow({ deps, work, lrm }: OfflineKill, trouble: (what: string) => void): Promise<void> {
  const askedAt = deps.ctx.clock.now();
  const listing = await lrm.list();
  if (listing.kind === 'unavailable') return trouble(`the batch system does not say what it runs: ${listing.reason}`);
  await work.reconcile(listing, askedAt, new Set());
}
