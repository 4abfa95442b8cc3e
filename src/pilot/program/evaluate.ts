/**
 * `--evaluate`: everything that a pilot will need, looked at and not changed. Each finding that is not well says how to mend
 * it. What the configuration says was checked when it was read; the service is asked by who knows how (`contact`).
 */
import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { withDeadline } from './deadline.ts';
import { guestAddress, isLoopback } from './guest-address.ts';
import { placeName, whoHolds } from './lock.ts';
import { mechanismName } from './memory/index.ts';
import { readMemInfo } from './memory/none.ts';
import { EXIT } from './stages.ts';
import { directoryFault, listSlots } from './state.ts';
import type { Finding, MemoryMechanism, NodeSettings, ProgramContext } from './types.ts';
import { HOW_TO_GET_A_VMM, findVmm } from './vmm.ts';

const READ_MS = 20_000;
const CONTACT_MS = 20_000;
/** A slot's state, records and log; images come on top. */
const DISK_MB = 64;
const MIB = 1024 * 1024;

export interface EvaluateOptions {
  readonly ctx: ProgramContext;
  readonly settings: NodeSettings;
  readonly mechanism: MemoryMechanism;
  /** `--memory`; null when it was not said. */
  readonly memoryMb: number | null;
  readonly driver: 'auto' | 'qemu' | 'simulated';
  /** QEMU's path, or its bare name where it was not found. */
  readonly qemu: string;
  /** `[other] guestaddress`; null = it is not said. */
  readonly guestAddress: string | null;
  /** Whom pilots report to; null = nobody. */
  readonly service: URL | null;
  /** Sends a `test` message and resolves when it was taken; null when no credentials or contact were given. */
  readonly contact: ((signal: AbortSignal) => Promise<void>) | null;
}

export interface Evaluation {
  readonly findings: readonly Finding[];
  readonly exit: number;
}

export async function evaluate(o: EvaluateOptions): Promise<Evaluation> {
  const { settings: { stateBase } } = o;
  const groups = await Promise.all([
    attempt('the state directory', () => Promise.resolve(checkStateBase(stateBase))),
    attempt('the places for pilots', () => checkPlaces(o)),
    attempt(`mechanism ${o.mechanism.name}`, () => o.mechanism.check()),
    attempt('the memory of the host', () => checkMemory(o)),
    attempt('the VMM', () => Promise.resolve(checkVmm(o))),
    attempt('where guests are reached', () => checkGuestAddress(o)),
    attempt('the service', () => checkContact(o)),
  ]);
  const findings = [{ ok: true, what: `memory mechanism: ${mechanismName(o.settings)}` }, ...groups.flat()];
  return { findings, exit: findings.every((f) => f.ok) ? EXIT.ok : EXIT.badEnvironment };
}

/** Findings as lines for a terminal. */
export const describe = (findings: readonly Finding[]): string =>
  findings.map(({ ok, what, mend }) => `${ok ? 'ok   ' : 'WRONG'}  ${what}${mend === undefined ? '' : `\n       -> ${mend}`}`).join('\n');

/** A check that cannot be made is a finding. */
async function attempt(what: string, work: () => Promise<readonly Finding[]>): Promise<readonly Finding[]> {
  try {
    return await work();
  } catch (e) {
    return [{ ok: false, what: `${what} could not be checked: ${(e as Error).message}`, mend: 'mend what the sentence names, and evaluate again' }];
  }
}

function checkStateBase(base: string): readonly Finding[] {
  if (existsSync(base)) {
    const fault = directoryFault(base, process.getuid?.() ?? 0);
    if (fault !== null) return [{ ok: false, what: fault, mend: 'remove it, or set another [other] statedir' }];
    return [...checkRoom(base), ...checkSlots(base)];
  }
  const parent = dirname(base);
  if (!writable(parent)) return [{ ok: false, what: `${base} is not there and cannot be made in ${parent}`, mend: `make it with mode 0700 for this account, or set another [other] statedir` }];
  return [{ ok: true, what: `${base} will be made` }, ...checkRoom(parent)];
}

function checkRoom(dir: string): readonly Finding[] {
  const { bavail, bsize } = statfsSync(dir);
  const freeMb = Math.floor((bavail * bsize) / MIB);
  const ok = freeMb >= DISK_MB && writable(dir);
  return [ok ? { ok, what: `${dir} can be written and has ${freeMb} MB free` } : { ok, what: `${dir} cannot be written or has less than ${DISK_MB} MB free (${freeMb})`, mend: 'free space there, or set another [other] statedir' }];
}

function checkSlots(base: string): readonly Finding[] {
  return listSlots(base, process.getuid?.() ?? 0).filter((s) => s.refused !== null)
    .map((s) => ({ ok: false, what: s.refused ?? '', mend: `look what it is, then remove ${s.dir}` }));
}

function writable(dir: string): boolean {
  try {
    accessSync(dir, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** One free place is enough. */
async function checkPlaces({ ctx, settings }: EvaluateOptions): Promise<readonly Finding[]> {
  const holders: string[] = [];
  for (let i = 0; i < settings.pilotsPerNode; i++) {
    const holder = await whoHolds(ctx.clock, placeName(settings.lockFile, i));
    if (holder === null) return [{ ok: true, what: 'the node is free for a pilot' }];
    holders.push(holder);
  }
  return [{ ok: false, what: `the node is held by ${holders.join(' and ')}`, mend: 'wait for its end, or raise [other] pilots_per_node' }];
}

async function checkMemory({ ctx, settings, mechanism, memoryMb }: EvaluateOptions): Promise<readonly Finding[]> {
  const { hostMb, freeMb } = await withDeadline(ctx.clock, READ_MS, (signal) => mechanism.read(signal));
  const has = { ok: true, what: `the host has ${hostMb} MB for itself, and ${freeMb} MB are free for VMs` };
  if (memoryMb === null || !settings.bubble) return [has];
  const leftMb = mechanism.name === 'none' ? (await readMemInfo()).availableMb - memoryMb : hostMb - memoryMb;
  const keepsMb = mechanism.name === 'none' ? 0 : settings.minMb;
  if (leftMb >= keepsMb) return [has, { ok: true, what: `${memoryMb} MB can be taken; the host keeps ${leftMb} MB` }];
  return [has, { ok: false, what: `${memoryMb} MB cannot be taken: the host would keep ${leftMb} MB, less than ${keepsMb}`, mend: 'ask for less (--memory), or lower [xen] minmem' }];
}

function checkVmm({ driver, qemu }: EvaluateOptions): readonly Finding[] {
  const { program, lack } = findVmm(driver, qemu);
  if (lack !== null) return [{ ok: false, what: lack, mend: HOW_TO_GET_A_VMM }];
  return [{ ok: true, what: program === null ? 'VMs are simulated' : `VMs run under ${program}` }];
}

async function checkGuestAddress({ ctx, guestAddress: said, service }: EvaluateOptions): Promise<readonly Finding[]> {
  if (said === null && service === null) return [];
  try {
    const { reachHost } = await guestAddress(said, service, ctx);
    const what = `ports of this node that lead to guests are reached at ${reachHost}`;
    if (said !== null || !isLoopback(reachHost)) return [{ ok: true, what }];
    if (isHere(service)) return [{ ok: true, what: `${what}: from this node only, as the service` }];
    return [{ ok: false, what: `${what}, from this node only`, mend: `set [other] guestaddress to where users reach this node, or see that ${service?.hostname ?? ''} leads to the service` }];
  } catch (e) {
    return [{ ok: false, what: (e as Error).message, mend: 'correct the key, or the name service of this node' }];
  }
}

const isHere = (service: URL | null): boolean => service !== null && (isLoopback(service.hostname) || ['localhost', '[::1]'].includes(service.hostname));

async function checkContact({ ctx, contact }: EvaluateOptions): Promise<readonly Finding[]> {
  if (contact === null) return [];
  try {
    await withDeadline(ctx.clock, CONTACT_MS, contact);
    return [{ ok: true, what: 'the service takes messages of this pilot' }];
  } catch (e) {
    return [{ ok: false, what: `the service does not take messages of this pilot: ${(e as Error).message}`, mend: 'see that the service runs, that its notification address is reachable from this node, and that the credentials are of a slot that has not ended' }];
  }
}
