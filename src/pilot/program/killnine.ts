/**
 * `--killnine`: the node as if no pilot had ever been there, whoever asks and whatever is running. Every guest of the VMM
 * and every VM of this product is ended, the host gets its memory, the slots' directories go. Nothing that fails keeps the
 * rest from being done; each guest is reported, and the exit code says whether something stayed (the original said 0 always).
 */
import { rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { withDeadline } from './deadline.ts';
import { hasToolstack } from './guests.ts';
import { memoryLockName, waitForLock } from './lock.ts';
import { asOwner } from './owner.ts';
import { basesOf, leasesIn } from './recover.ts';
import type { Base } from './recover.ts';
import { baselineOf, sharesOf } from './shares.ts';
import { bootId, listSlots, pilotLives } from './state.ts';
import type { SlotOnNode } from './state.ts';
import type { Guest, MemoryMechanism, NodeSettings, NodeState, ProgramContext } from './types.ts';
import { clearTaps, endVm, listVms } from './vms.ts';

/** One guest that hangs must not take the others' time. */
const GUEST_MS = 20_000;
const LOCK_MS = 20_000;
/** Part of the free memory that stays free, so that the target can be reached. */
const HYPERVISOR_PART = 0.05;

export interface KillNineOptions {
  readonly ctx: ProgramContext;
  readonly settings: NodeSettings;
  readonly mechanism: MemoryMechanism;
}

export interface KillReport {
  readonly done: readonly string[];
  /** Sentences on what stayed; empty = the node is clean. */
  readonly failures: readonly string[];
}

type Slot = SlotOnNode & { readonly base: Base };

export async function killNine(o: KillNineOptions, signal: AbortSignal): Promise<KillReport> {
  const report = new Report(o.ctx);
  const slots = slotsOf(o.settings, report);
  // Pilots first: one that lives would take the end of its VMs for its own affair, and may hold the lock.
  for (const { state, base } of slots) if (state !== null) await report.step(() => killPilot(state, base.owner.uid));
  const guestsMb = await endAllGuests(o, report, signal);
  await endAllVms(o, slots, report);
  await report.step(() => giveBack(o, slots, guestsMb, signal));
  // What stands in them is needed as long as something stayed.
  if (report.failures.length === 0) for (const slot of slots) await report.step(() => removeSlot(slot));
  return report;
}

class Report implements KillReport {
  readonly done: string[] = [];
  readonly failures: string[] = [];
  readonly #ctx: ProgramContext;

  constructor(ctx: ProgramContext) {
    this.#ctx = ctx;
  }

  /** Runs `work`, which may return a sentence on what it did; a failure is a sentence too. */
  async step(work: () => Promise<string | null> | string | null): Promise<void> {
    try {
      const line = await work();
      if (line !== null) this.done.push(line);
    } catch (e) {
      this.failures.push((e as Error).message);
      this.#ctx.log.error('kill-nine: something stays', { why: (e as Error).message });
    }
  }
}

function slotsOf(settings: NodeSettings, report: Report): readonly Slot[] {
  return basesOf(settings.stateBase, true).flatMap((base) => {
    try {
      const slots = asOwner(base.owner, () => listSlots(base.path, base.owner.uid));
      return slots.map((slot) => ({ ...slot, base }));
    } catch (e) {
      report.done.push(`left alone: ${(e as Error).message}`);
      return [];
    }
  });
}

/** A user's file names no process but the user's own. */
async function killPilot(state: NodeState, owner: number): Promise<string | null> {
  if (state.pid === process.pid || !(await pilotLives(state, bootId()))) return null;
  const { uid } = await stat(`/proc/${state.pid}`);
  if (uid !== owner) throw new Error(`slot ${state.slot} on ${state.host}: process ${state.pid} is user ${uid}'s and no pilot of user ${owner}'s; it was left alone`);
  process.kill(state.pid, 'SIGKILL');
  return `pilot of slot ${state.slot} on ${state.host} was killed (process ${state.pid})`;
}

/** MiB of the guests that were ended. */
async function endAllGuests({ ctx, mechanism }: KillNineOptions, report: Report, signal: AbortSignal): Promise<number> {
  if (!hasToolstack(mechanism)) return 0;
  let guests: readonly Guest[] = [];
  await report.step(async () => {
    guests = await mechanism.guests(signal);
    return guests.length === 0 ? 'the VMM had no guests' : null;
  });
  const refused = new Map<string, string>();
  for (const guest of guests) {
    await withDeadline(ctx.clock, GUEST_MS, (limit) => mechanism.destroy(guest, limit), signal)
      .catch((e: unknown) => refused.set(guest.id, (e as Error).message));
  }
  // What counts is who is still there, not what each command said.
  let left: readonly Guest[] = [];
  if (guests.length > 0) await report.step(async () => { left = await mechanism.guests(signal); return null; });
  const stayed = new Set(left.map(({ id }) => id));
  for (const { id, name } of guests) {
    const line = `guest ${name} (${id})`;
    if (stayed.has(id)) report.failures.push(`${line} is still there: ${refused.get(id) ?? 'it was told to end'}`);
    else report.done.push(`${line} was ended`);
  }
  return guests.filter(({ id }) => !stayed.has(id)).reduce((mb, guest) => mb + guest.memoryMb, 0);
}

async function endAllVms({ ctx }: KillNineOptions, slots: readonly Slot[], report: Report): Promise<void> {
  const vms = await listVms();
  for (const vm of vms) {
    await report.step(async () => {
      await endVm(vm, ctx.clock);
      return `VM ${vm.lease} was ended (process ${vm.pid})`;
    });
  }
  await report.step(async () => {
    await clearTaps([...vms.map((vm) => vm.lease), ...slots.flatMap((slot) => leasesIn(slot.dir, slot.base.owner))]);
    return null;
  });
}

/** To `dom0_mem`, or to what the host had before the pilots of this boot where that is more; else all that is free. */
async function giveBack({ ctx, settings, mechanism }: KillNineOptions, slots: readonly Slot[], guestsMb: number, signal: AbortSignal): Promise<string | null> {
  if (mechanism.name === 'none' || !settings.bubble) return null;
  const lock = await withDeadline(ctx.clock, LOCK_MS, (limit) =>
    waitForLock(ctx.clock, memoryLockName(settings.lockFile), `workspace-pilot --killnine (process ${process.pid})`, limit), signal);
  try {
    const known = [hasToolstack(mechanism) ? settings.xen.dom0Mb : null, baselineOf(sharesOf(slots, bootId()))].filter((mb) => mb !== null);
    // A pool of huge pages that no pilot has a share in is somebody else's.
    if (known.length === 0 && !hasToolstack(mechanism)) return 'no pilot had taken memory';
    const wanted = known.length > 0 ? Math.max(...known) : await allFree(mechanism, guestsMb, signal);
    const hostMb = await mechanism.restore({ mb: 0, beforeMb: wanted, afterMb: wanted }, signal);
    return `the host has ${hostMb} MB`;
  } finally {
    await lock.release();
  }
}

/** What the host would have with all that is free, or soon will be; the hypervisor keeps a part of it. */
async function allFree(mechanism: MemoryMechanism, guestsMb: number, signal: AbortSignal): Promise<number> {
  const { hostMb, freeMb } = await mechanism.read(signal);
  return hostMb + Math.floor(Math.max(freeMb, guestsMb) * (1 - HYPERVISOR_PART));
}

function removeSlot({ dir, refused, base, slot, host }: Slot): string {
  if (refused !== null) throw new Error(`${slot} on ${host}: ${refused}`);
  asOwner(base.owner, () => rmSync(dir, { recursive: true, force: true }));
  return `the directory of slot ${slot} on ${host} was removed`;
}
