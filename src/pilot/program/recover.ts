/**
 * `--recover`: what a pilot that was killed could not do. For the batch system's epilogue, for a node's boot, and before
 * the next pilot of the account begins. Slots whose pilot lives are left alone; of a dead one the VMs are ended, the memory goes back,
 * the directory goes. Repeatable: what failed is there again the next time.
 *
 * Root does this for the users of the node. It reads and removes with the owner's rights (owner.ts), changes memory only
 * by what sudo lets the owner do (memory/sudo.ts), and ends only processes that work inside the slot's directory.
 */
import { lstatSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isName } from '../../lease/ids.ts';
import { SLOT_ID } from '../protocol.ts';
import { withDeadline } from './deadline.ts';
import { endGuests, hasToolstack, isOwn } from './guests.ts';
import { memoryLockName, waitForLock } from './lock.ts';
import { createMechanism } from './memory/index.ts';
import { asOwner } from './owner.ts';
import type { Owner } from './owner.ts';
import { planRestore, sharesOf } from './shares.ts';
import { bootId, listSlots, pilotLives, slotDirName, writeGivenBack } from './state.ts';
import type { SlotOnNode } from './state.ts';
import type { NodeSettings, NodeState, ProgramContext } from './types.ts';
import { clearTaps, endVm, listVms } from './vms.ts';
import type { VmOnNode } from './vms.ts';

/** One slot whose memory does not come back must not take the time of the others. */
const RESTORE_MS = 30_000;

export interface RecoverScope {
  /** Only this slot. */
  readonly slot?: string | undefined;
  /** Only this node's directories: where one machine is several nodes, or the base lies on a shared file system. */
  readonly host?: string | undefined;
}

export interface RecoverOptions {
  readonly ctx: ProgramContext;
  readonly settings: NodeSettings;
  readonly scope: RecoverScope;
  /** Other accounts' bases too, when this is root. */
  readonly everyone: boolean;
  /** How a VM is ended that this account must not signal: through the agent's helper. `dir` is the VM's directory. */
  readonly endThroughHelper?: ((vm: { readonly lease: string; readonly dir: string }) => Promise<void>) | undefined;
}

export interface Recovery {
  /** Sentences on what was done and what was left alone. */
  readonly done: readonly string[];
  /** Sentences on what is left; empty = the node is clean. */
  readonly failures: readonly string[];
}

export interface Base {
  readonly path: string;
  readonly owner: Owner;
}

/** What the batch system's environment says of the job that just ended: sbatch(1), qsub (POSIX 1003.2d). */
export function scopeOfEnvironment(env: NodeJS.ProcessEnv, host: string): RecoverScope {
  const name = env['SLURM_JOB_NAME'] ?? env['PBS_JOBNAME'];
  return {
    slot: name !== undefined && SLOT_ID.test(name) ? name : undefined,
    // The configuration may call the node by another name than the batch system does; its directories have that one.
    host: env['SLURMD_NODENAME'] === undefined ? undefined : host,
  };
}

export async function recoverNode(o: RecoverOptions, signal: AbortSignal): Promise<Recovery> {
  const done: string[] = [];
  const failures: string[] = [];
  for (const base of basesOf(o.settings.stateBase, o.everyone)) {
    let slots: readonly SlotOnNode[];
    try {
      slots = asOwner(base.owner, () => listSlots(base.path, base.owner.uid)).filter((s) => inScope(s, o.scope));
    } catch (e) {
      // Anybody may have made a directory of this name: it is no slot's, and keeps no other account's slots from being recovered.
      done.push(`left alone: ${(e as Error).message}`);
      continue;
    }
    for (const slot of slots) {
      const result = await recoverSlot(o, base, slot, signal).catch((e: unknown) => ({ done: [], failures: [`${slot.slot} on ${slot.host}: ${(e as Error).message}`] }));
      done.push(...result.done);
      failures.push(...result.failures);
    }
  }
  return { done, failures };
}

/** The configured base; for root, those of all users where its name ends with a user's number. */
export function basesOf(stateBase: string, everyone: boolean): readonly Base[] {
  const uid = process.getuid?.() ?? 0;
  const own: Base = { path: stateBase, owner: { uid, gid: process.getgid?.() ?? 0 } };
  if (uid !== 0 || !everyone) return [own];
  const prefix = /^(.*-)\d+$/.exec(basename(stateBase))?.[1];
  if (prefix === undefined) {
    const stat = lstatSync(stateBase, { throwIfNoEntry: false });
    return stat === undefined ? [] : [{ path: stateBase, owner: stat }];
  }
  const parent = dirname(stateBase);
  return readdirSync(parent).sort().flatMap((name) => {
    const number = name.startsWith(prefix) ? name.slice(prefix.length) : '';
    const stat = /^\d{1,10}$/.test(number) ? lstatSync(join(parent, name), { throwIfNoEntry: false }) : undefined;
    return stat === undefined ? [] : [{ path: join(parent, name), owner: { uid: Number(number), gid: stat.gid } }];
  });
}

const inScope = ({ slot, host }: SlotOnNode, scope: RecoverScope): boolean =>
  (scope.slot === undefined || scope.slot === slot) && (scope.host === undefined || scope.host === host);

async function recoverSlot(o: RecoverOptions, base: Base, found: SlotOnNode, signal: AbortSignal): Promise<Recovery> {
  const { ctx, settings } = o;
  const lock = await waitForLock(ctx.clock, memoryLockName(settings.lockFile), `workspace-pilot --recover (process ${process.pid})`, signal);
  try {
    // Under the lock: a pilot that was just beginning has written its state by now, one that was ending has removed it.
    const slot = asOwner(base.owner, () => listSlots(base.path, base.owner.uid)).find((s) => s.dir === found.dir);
    if (slot === undefined) return { done: [], failures: [] };
    const what = `${slot.slot} on ${slot.host}`;
    if (slot.refused !== null) return { done: [], failures: [`${what}: ${slot.refused}`] };
    if (slot.state !== null && (await pilotLives(slot.state, bootId()))) {
      return { done: [`${what}: left alone, its pilot lives (process ${slot.state.pid})`], failures: [] };
    }
    return await giveBack(o, base, slot, signal);
  } finally {
    await lock.release();
  }
}

async function giveBack(o: RecoverOptions, base: Base, slot: SlotOnNode, signal: AbortSignal): Promise<Recovery> {
  const what = `${slot.slot} on ${slot.host}`;
  const done: string[] = [];
  const failures: string[] = [];
  const step = async (work: () => Promise<readonly string[]>): Promise<void> => {
    try {
      done.push(...(await work()).map((line) => `${what}: ${line}`));
    } catch (e) {
      failures.push(`${what}: ${(e as Error).message}`);
      o.ctx.log.error('a slot could not be recovered', { slot: slot.slot, host: slot.host, why: (e as Error).message });
    }
  };
  const { state } = slot;
  const rebooted = state !== null && state.bootId !== bootId();
  if (!rebooted) {
    await step(() => endVms(o, base.owner, slot));
    if (state !== null) await step(() => giveBackMemory(o, base, slot.dir, state, signal));
  }
  if (failures.length > 0) return { done, failures };
  await step(() => {
    asOwner(base.owner, () => rmSync(slot.dir, { recursive: true, force: true }));
    return Promise.resolve([rebooted ? 'the node was started anew since, and has its memory; the directory was removed' : 'its directory was removed']);
  });
  return { done, failures };
}

async function endVms(o: RecoverOptions, owner: Owner, slot: SlotOnNode): Promise<readonly string[]> {
  const ended: string[] = [];
  const failures: string[] = [];
  const vms = await vmsOf(slot.dir, owner);
  for (const vm of vms) {
    try {
      await endOne(o, slot.dir, vm);
      ended.push(`VM ${vm.lease} was ended (process ${vm.pid})`);
    } catch (e) {
      failures.push((e as Error).message);
    }
  }
  await clearTaps([...leasesIn(slot.dir, owner), ...vms.map((vm) => vm.lease)]).catch((e: unknown) => failures.push((e as Error).message));
  if (failures.length > 0) throw new Error(failures.join('; '));
  return ended;
}

async function endOne(o: RecoverOptions, slotDir: string, vm: VmOnNode): Promise<void> {
  const uid = process.getuid?.() ?? 0;
  if (uid === 0 || uid === vm.uid || o.endThroughHelper === undefined) return endVm(vm, o.ctx.clock);
  await o.endThroughHelper({ lease: vm.lease, dir: join(slotDir, 'control', 'vms', vm.lease) });
}

/** VMs that work inside the slot's directory; where the kernel does not tell, those whose lease has a directory in it. */
export async function vmsOf(slotDir: string, owner: Owner): Promise<readonly VmOnNode[]> {
  const leases = new Set(leasesIn(slotDir, owner));
  const place = placeOf(slotDir, owner);
  return (await listVms()).filter((vm) => {
    // No VM of a user's runs as root, and no file of a user's makes it one.
    if (vm.uid === 0 && owner.uid !== 0) return false;
    return vm.dir === null ? leases.has(vm.lease) : vm.dir.startsWith(`${place}/`);
  });
}

/** As the kernel calls it: what leads to the base may be links. Base and slot are none, and should their user make them some meanwhile, they lead nowhere. */
function placeOf(slotDir: string, owner: Owner): string {
  const base = dirname(slotDir);
  return join(asOwner(owner, () => realpathSync(dirname(base))), basename(base), basename(slotDir));
}

/** Leases that have a directory in the slot's. */
export function leasesIn(slotDir: string, owner: Owner): readonly string[] {
  try {
    return asOwner(owner, () => readdirSync(join(slotDir, 'control', 'vms'))).filter(isName);
  } catch {
    return []; // no agent was ever started
  }
}

/** The caller holds the memory lock. */
async function giveBackMemory(o: RecoverOptions, { path, owner }: Base, dir: string, state: NodeState, signal: AbortSignal): Promise<readonly string[]> {
  const { ctx, settings } = o;
  if (state.mechanism === 'none') return [];
  const mechanism = createMechanism(settings, ctx, { name: state.mechanism, owner: owner.uid });
  const lines: string[] = [];
  if (hasToolstack(mechanism)) {
    const ownership = { slot: state.slot, leases: leasesIn(dir, owner), alone: settings.pilotsPerNode === 1 };
    const { killed, failures } = await endGuests(mechanism, (guest) => isOwn(guest, ownership), ctx.log, signal);
    lines.push(...killed.map((name) => `guest ${name} was ended`));
    if (failures.length > 0) throw new Error(failures.join('; '));
  }
  if (state.target === null) return lines;
  const own = slotDirName(state.slot, state.host);
  const others = asOwner(owner, () => listSlots(path, owner.uid)).filter((s) => slotDirName(s.slot, s.host) !== own);
  const target = planRestore(state.target, sharesOf(others, state.bootId));
  const hostMb = await withDeadline(ctx.clock, RESTORE_MS, (limit) => mechanism.restore(target, limit), signal);
  // From here on a second run has nothing to give back, whatever happens to the directory.
  asOwner(owner, () => writeGivenBack(dir, state));
  return [...lines, `${state.target.mb} MB were given back, the host has ${hostMb} MB`];
}
