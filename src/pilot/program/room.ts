/**
 * What a pilot holds of its node: a place, a directory, and memory. Every step is on disk before it is taken, so that
 * `--recover` can go back from wherever the pilot was killed.
 *
 *   const room = await Room.enter(options, signal);       // place, directory, state
 *   await room.reduce(mb, signal);                        // memory for VMs
 *   …
 *   await room.restore(signal);                           // own guests ended, memory given back; repeatable
 *   await room.leave();                                   // directory and place
 *
 * When `reduce` fails, or its signal fires, `restore` puts the host back; it waits for a change that is under way.
 */
import { rm } from 'node:fs/promises';
import { withDeadline } from './deadline.ts';
import { endGuests, hasToolstack, isOwn } from './guests.ts';
import type { Ended, Ownership } from './guests.ts';
import { memoryLockName, placeName, takePlace, waitForLock, whoHolds } from './lock.ts';
import type { NodeLock } from './lock.ts';
import type { Owner } from './owner.ts';
import { leasesIn, recoverNode } from './recover.ts';
import { planReduce, planRestore, sharesOf } from './shares.ts';
import type { Stage } from './stages.ts';
import { EXIT } from './stages.ts';
import { bootId, listSlots, makeSlotDir, slotDirName, writeGivenBack, writeNodeState } from './state.ts';
import { PilotError } from './types.ts';
import type { HostTarget, MemoryMechanism, NodeSettings, NodeState, ProgramContext } from './types.ts';
import { startTicksOf } from './vms.ts';

/** Slots of dead pilots of this account, before a new one begins. */
const RECOVER_MS = 30_000;
/** A host that has not come down by then will not. */
const REDUCE_MS = 120_000;

export interface RoomOptions {
  readonly ctx: ProgramContext;
  readonly settings: NodeSettings;
  readonly mechanism: MemoryMechanism;
  readonly slot: string;
  readonly host: string;
  /** This process: 16 hex digits. */
  readonly pilot: string;
}

export class Room {
  /** `STATEBASE/SLOT.HOST`, 0700. */
  readonly dir: string;
  readonly #o: RoomOptions;
  readonly #place: NodeLock;
  #state: NodeState;

  private constructor(o: RoomOptions, dir: string, place: NodeLock, state: NodeState) {
    this.#o = o;
    this.dir = dir;
    this.#place = place;
    this.#state = state;
  }

  /** @throws PilotError: no place on the node (actionFailed), or no trustworthy directory (badEnvironment) */
  static async enter(o: RoomOptions, signal: AbortSignal): Promise<Room> {
    const { ctx, settings, slot, host, pilot, mechanism } = o;
    const place = await takePlace(ctx.clock, settings.lockFile, settings.pilotsPerNode, holderOf(o));
    try {
      await refuseOtherAccounts(o);
      await recoverDead(o, signal);
      const startTicks = (await startTicksOf(process.pid)) ?? '0';
      const state: NodeState = { v: 1, slot, host, pilot, pid: process.pid, startTicks, bootId: bootId(), mechanism: mechanism.name, target: null, stage: 'begin' };
      // Under the lock: `--recover` must not take a directory that has no state yet for one that was left.
      const lock = await waitForLock(ctx.clock, memoryLockName(settings.lockFile), holderOf(o), signal);
      try {
        refuseLeftOver(o);
        const dir = makeSlotDir(settings.stateBase, slot, host);
        writeNodeState(dir, state);
        return new Room(o, dir, place, state);
      } finally {
        await lock.release();
      }
    } catch (e) {
      await place.release();
      throw e;
    }
  }

  stage(stage: Stage): void {
    this.#write({ ...this.#state, stage });
  }

  /** MiB that VMs may use, as reached. @throws PilotError actionFailed; then `restore` puts back what was taken */
  async reduce(mb: number, signal: AbortSignal): Promise<number> {
    const { mechanism, settings, ctx } = this.#o;
    return withDeadline(ctx.clock, REDUCE_MS, (limit) => this.#locked(limit, async (others) => {
      const target = planReduce(await mechanism.hostMb(limit), others, mb, settings.minMb);
      this.#write({ ...this.#state, target });
      const hostMb = await mechanism.reduce(target, limit);
      return Math.min(mb, target.afterMb + mb - hostMb);
    }), signal);
  }

  /**
   * Ends the guests of this slot that the hypervisor still has, while the memory goes back.
   * @throws PilotError actionFailed: something of the slot is left; it may be called again
   */
  async restore(signal: AbortSignal): Promise<readonly string[]> {
    // Both to their end, whatever becomes of the other.
    const [ended, back] = await Promise.allSettled([this.#endGuests(signal), this.#giveBack(signal)]);
    const failures = [
      ...(ended.status === 'fulfilled' ? ended.value.failures : [String(ended.reason)]),
      ...(back.status === 'fulfilled' ? [] : [(back.reason as Error).message]),
    ];
    if (failures.length > 0 || ended.status === 'rejected') throw new PilotError(EXIT.actionFailed, failures.join('; '));
    return ended.value.killed;
  }

  /** Nothing of the slot is left on the node. @throws PilotError when memory is out still, or what the file system throws */
  async leave(): Promise<void> {
    if (this.#state.target !== null) throw new PilotError(EXIT.internal, 'a node is left only when its memory is back');
    // Broken off, it leaves a directory without a state, or one that says that nothing is out.
    await rm(this.dir, { recursive: true, force: true });
    await this.abandon();
  }

  /** The place is free, and what is left waits for `--recover`. */
  abandon(): Promise<void> {
    return this.#place.release();
  }

  async #giveBack(signal: AbortSignal): Promise<void> {
    if (this.#state.target === null) return;
    await this.#locked(signal, async (others) => {
      const { target } = this.#state;
      if (target === null) return;
      await this.#o.mechanism.restore(planRestore(target, others), signal);
      writeGivenBack(this.dir, this.#state);
      this.#state = { ...this.#state, target: null };
    });
  }

  async #endGuests(signal: AbortSignal): Promise<Ended> {
    const { mechanism, ctx, slot, settings } = this.#o;
    if (!hasToolstack(mechanism)) return { killed: [], failures: [] };
    const ownership: Ownership = { slot, leases: leasesIn(this.dir, self()), alone: settings.pilotsPerNode === 1 };
    return endGuests(mechanism, (guest) => isOwn(guest, ownership), ctx.log, signal);
  }

  /** Under the memory lock, with the shares of the other pilots of this boot, dead ones too: they hold memory until they are recovered. */
  async #locked<T>(signal: AbortSignal, work: (others: readonly HostTarget[]) => Promise<T>): Promise<T> {
    const { ctx, settings } = this.#o;
    const lock = await waitForLock(ctx.clock, memoryLockName(settings.lockFile), holderOf(this.#o), signal);
    try {
      return await work(this.#others());
    } finally {
      await lock.release();
    }
  }

  #others(): readonly HostTarget[] {
    const { slot, host, settings } = this.#o;
    const own = slotDirName(slot, host);
    return sharesOf(listSlots(settings.stateBase, self().uid).filter((s) => slotDirName(s.slot, s.host) !== own), this.#state.bootId);
  }

  #write(state: NodeState): void {
    writeNodeState(this.dir, state);
    this.#state = state;
  }
}

const self = (): Owner => ({ uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 });

/** What others are told who find the node taken. */
const holderOf = ({ slot, host }: RoomOptions): string => `slot ${slot} on ${host} (process ${process.pid}, user ${self().uid})`;

/** One account cannot read what another one's pilots have, so it could not reckon with it. */
async function refuseOtherAccounts({ ctx, settings }: RoomOptions): Promise<void> {
  for (let i = 0; i < settings.pilotsPerNode && settings.pilotsPerNode > 1; i++) {
    const holder = await whoHolds(ctx.clock, placeName(settings.lockFile, i));
    if (holder === null || holder.endsWith(`user ${self().uid})`)) continue;
    throw new PilotError(EXIT.actionFailed, `pilots of one account only may share this node, and it is held by ${holder}`);
  }
}

/** What stands in the directory already is another pilot's account of what it holds. */
function refuseLeftOver({ settings, slot, host }: RoomOptions): void {
  const found = listSlots(settings.stateBase, self().uid).find((s) => s.slot === slot && s.host === host);
  if (found === undefined || (found.state === null && found.refused === null)) return;
  const why = found.refused ?? `process ${found.state?.pid} has it, or had it and could not be recovered; run: workspace-pilot --recover --slotid ${slot}`;
  throw new PilotError(EXIT.actionFailed, `slot ${slot} has something on this node already: ${why}`);
}

async function recoverDead({ ctx, settings, host }: RoomOptions, signal: AbortSignal): Promise<void> {
  const { done, failures } = await withDeadline(ctx.clock, RECOVER_MS, (limit) => recoverNode({ ctx, settings, scope: { host }, everyone: false }, limit), signal);
  for (const line of done) ctx.log.info('recovering before this slot', { line });
  // What a dead pilot holds stays its share: this one has to do with less, or is refused for want of memory.
  for (const line of failures) ctx.log.error('a slot of before could not be recovered', { line });
}
