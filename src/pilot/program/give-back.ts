/**
 * The end of every pilot: VMs of this slot ended, memory back, nothing left on the node. The service is told beside it and
 * waited for last, and not for long. Whatever fails is said and does not stop the rest.
 */
import type { Agent } from '../../control/agent/agent.ts';
import { within } from '../../control/agent/clock.ts';
import { withDeadline } from './deadline.ts';
import type { Reason } from './ending.ts';
import { enter } from './reservation.ts';
import type { Held, ReserveParts } from './reservation.ts';
import { EXIT } from './stages.ts';

/** Memory is given back however short the grace is: what the batch system kills then, `--recover` ends. */
const RESTORE_MS = 30_000;
/** Guests that have not been told get this part of the grace to power down. */
const POWER_DOWN_PART = 0.25;
const STOP_AGENT_MS = 1_000;
/** VMs that do not end keep their memory, and nothing else from being given back. */
const END_VMS_MS = 35_000;

/** True when something is left. Never rejects. */
export async function giveBack(parts: ReserveParts, held: Held, reason: Reason): Promise<boolean> {
  const { notifier, stamps, log, clock, budget } = parts;
  enter(parts, held, 'unreserving');
  stamps.mark('restore-begun');
  notifier?.post({ state: 'unreserving', code: 0, text: reason.why });
  notifier?.hurry();
  held.channel?.close();
  const troubles: string[] = [];
  const attempt = async (what: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (e) {
      log.error(`${what} failed`, { why: (e as Error).message });
      troubles.push(`${what}: ${(e as Error).message}`);
    }
  };
  const { agent, room } = held;
  const killed = new Set<string>();
  if (agent !== undefined) {
    await attempt('ending the VMs', async () => { for (const lease of await endVms(parts, agent, reason)) killed.add(lease); });
    await attempt('ending the agent', () => within(clock, STOP_AGENT_MS, agent.stop('the node is given back'), () => new Error(`not within ${STOP_AGENT_MS} ms`)));
  }
  if (room !== undefined) {
    await attempt('giving the memory back', () => withDeadline(clock, Math.max(RESTORE_MS, budget.left()), async (signal) => {
      for (const lease of await room.restore(signal)) killed.add(lease);
    }));
    if (killed.size > 0) notifier?.post({ state: 'killed', code: 0, names: [...killed] });
    if (troubles.length === 0) notifier?.endSpool();
    if (troubles.length === 0) await attempt('clearing the directory', () => room.leave());
    if (troubles.length > 0) await room.abandon().catch(() => undefined);
  }
  log.info('stage unreserved', { left: troubles.length });
  stamps.mark('restored');
  await tellRestored(parts, troubles);
  return troubles.length > 0;
}

/** Leases whose VMs ran. @throws Error when one is still there */
async function endVms({ clock, budget, ending, notifier }: ReserveParts, agent: Agent, reason: Reason): Promise<readonly string[]> {
  // After a signal the guests had their time already; after a release there are none.
  const graceMs = reason.kind === 'horizon' || reason.kind === 'failed' ? budget.left() * POWER_DOWN_PART : 0;
  let over = false;
  void ending.hurry.then(() => (over ? undefined : agent.endAll(0)));
  try {
    const ended = await within(clock, graceMs + END_VMS_MS, agent.endAll(Math.round(graceMs)), () => new Error(`a VM did not end within ${Math.round(graceMs + END_VMS_MS)} ms`));
    if (agent.vms() > 0) throw new Error(`${agent.vms()} of ${ended.length} VMs could not be ended`);
    return ended;
  } finally {
    over = true;
    notifier?.hurry();
  }
}

/** The last message, and the only one that is waited for. */
async function tellRestored({ notifier, stamps, budget, log }: ReserveParts, troubles: readonly string[]): Promise<void> {
  if (notifier === null) return;
  const id = notifier.post({
    state: 'restored', code: troubles.length === 0 ? 0 : EXIT.actionFailed, stamps: stamps.all(),
    ...(troubles.length === 0 ? {} : { text: troubles.join('; ') }),
  });
  notifier.hurry();
  const outcome = await notifier.delivered(id, budget.request());
  if (outcome !== 'delivered') log.warn('the service does not know that the node is given back', { outcome });
}
