/**
 * The batch system wants the node before the time is over: the service is told, so are the guests, and both get a part of
 * the grace. The wait ends as soon as there is nothing to wait for.
 */
import type { Agent } from '../../control/agent/agent.ts';
import type { Held, ReserveParts } from './reservation.ts';
import type { Stage } from './stages.ts';

const LOOK_MS = 25;
/** For the service's acknowledgement: so much, or this part of the grace. */
const TOLD_MS = 1_000;
const TOLD_PART = 0.125;

export async function waitEarly(parts: ReserveParts, { agent }: Held, enter: (stage: Stage) => void): Promise<void> {
  const { budget, notifier, ending, config, log, stamps } = parts;
  enter('early-unreserving');
  const told = notifier?.post({ state: 'early-unreserving', code: 0, graceMs: Math.round(budget.left()), stamps: stamps.all() });
  notifier?.hurry();
  if (agent === undefined || agent.vms() === 0) return;
  // A guest that obeys at once must not be off before the service knows that its disk is to be saved.
  if (told !== undefined) await Promise.race([notifier?.delivered(told, Math.min(TOLD_MS, budget.left() * TOLD_PART)), ending.hurry]);
  const waitMs = budget.left() * config.earlyWaitRatio;
  const seconds = Math.max(1, Math.round(waitMs / 1000));
  agent.notice(`The batch system wants this machine's node back: the machine is switched off in ${seconds} s.`).catch((e: unknown) => {
    log.warn('guests were not told', { why: String(e) });
  });
  await waitFor(parts, agent, waitMs);
  log.info('waited for the service', { vms: agent.vms(), released: ending.first?.kind !== 'signal' });
}

/** Resolves after `ms`; when no VM is left; when the service gives the node back; with the next signal. */
function waitFor({ clock, ending }: ReserveParts, agent: Agent, ms: number): Promise<void> {
  const end = clock.monotonic() + ms;
  return new Promise((resolve) => {
    let waiting = true;
    const done = (): void => {
      waiting = false;
      resolve();
    };
    const look = (): void => {
      if (!waiting) return;
      if (agent.vms() === 0 || clock.monotonic() >= end) done();
      else clock.after(LOOK_MS, look);
    };
    ending.onMore(done);
    void ending.hurry.then(done);
    look();
  });
}
