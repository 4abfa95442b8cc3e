/**
 * What stands on the node's disk about its slots: `STATEBASE/SLOT.HOST/state.json`, written whole (rename) and synced before
 * anything is changed. A reader may be root and the directory a user's: it is read with the owner's rights (`asOwner`), and what
 * is not exactly of this form and of this owner is refused with a sentence and left alone.
 */
import { closeSync, constants, fstatSync, fsyncSync, lstatSync, mkdirSync, openSync, readFileSync, readSync, readdirSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { syncDirectory } from '../../platform/durable.ts';
import { makeDirectory } from '../../platform/make-directory.ts';
import { ANY_SLOT_ID, HOST_NAME, PILOT_ID } from '../protocol.ts';
import { STAGES, EXIT } from './stages.ts';
import { PilotError } from './types.ts';
import type { HostTarget, NodeState } from './types.ts';
import { startTicksOf } from './vms.ts';

export const STATE_FILE = 'state.json';
/** Beside the slots' directories: what pilots of the account leave for the next, images above all. No slot's, as it has no dot. */
export const SHARED_DIR = 'cache';
const MAX_STATE = 4096;
const MAX_SLOTS = 4096;
const MAX_MB = 2 ** 30;
const MAX_PID = 2 ** 22;
const MECHANISMS = ['xl', 'libvirt', 'hugepages', 'none'] as const;
const BOOT_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const slotDirName = (slot: string, host: string): string => `${slot}.${host}`;

/** null when the name is none of a slot's directory. Slot ids have no dot. */
export function parseSlotDirName(name: string): { slot: string; host: string } | null {
  const dot = name.indexOf('.');
  const [slot, host] = [name.slice(0, dot), name.slice(dot + 1)];
  return dot > 0 && ANY_SLOT_ID.test(slot) && HOST_NAME.test(host) && !host.includes('..') ? { slot, host } : null;
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Makes the base and the slot's directory, or takes the slot's own of before. @throws PilotError badEnvironment */
export function makeSlotDir(base: string, slot: string, host: string): string {
  const dir = join(base, slotDirName(slot, host));
  for (const path of [base, dir]) {
    try {
      if (path === base) makeDirectory(path, 0o700);
      else {
        mkdirSync(path, { mode: 0o700 });
        syncDirectory(base);
      }
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'EEXIST') throw new PilotError(EXIT.badEnvironment, `${path} cannot be made: ${(e as Error).message}`);
    }
    const fault = directoryFault(path, process.getuid?.() ?? 0);
    if (fault !== null) throw new PilotError(EXIT.badEnvironment, fault);
  }
  return dir;
}

/** Why the directory cannot be trusted with a slot of `owner`; null when it can. */
export function directoryFault(path: string, owner: number): string | null {
  try {
    const stat = lstatSync(path);
    if (!stat.isDirectory()) return `${path} is not a directory`;
    if (stat.uid !== owner) return `${path} belongs to user ${stat.uid}, not to user ${owner}`;
    return (stat.mode & 0o077) === 0 ? null : `${path} is open to other users; run: chmod 700 ${path}`;
  } catch (e) {
    return `${path} cannot be read: ${(e as NodeJS.ErrnoException).code ?? String(e)}`;
  }
}

/** Durable when this returns. */
export function writeNodeState(dir: string, state: NodeState): void {
  const file = join(dir, STATE_FILE);
  const draft = `${file}.new`;
  rmSync(draft, { force: true });
  const fd = openSync(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    writeSync(fd, `${JSON.stringify(state)}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(draft, file);
  syncDirectory(dir);
}

/**
 * Nothing is out any more that the state would have to tell. On a full disk its file goes instead.
 * @throws what the file system throws when that cannot be done either
 */
export function writeGivenBack(dir: string, state: NodeState): void {
  try {
    writeNodeState(dir, { ...state, target: null });
  } catch {
    rmSync(join(dir, STATE_FILE), { force: true });
  }
}

export interface SlotOnNode {
  readonly dir: string;
  readonly slot: string;
  readonly host: string;
  /** null = the pilot ended before it wrote one, or after it had removed it: it holds nothing. */
  readonly state: NodeState | null;
  /** Why the directory or its state is not believed; then `state` is null and nothing is done to it. */
  readonly refused: string | null;
}

/** The slots below `base`, which has to be `owner`'s; empty when there is no base. @throws PilotError badEnvironment */
export function listSlots(base: string, owner: number): readonly SlotOnNode[] {
  if (lstatSync(base, { throwIfNoEntry: false }) === undefined) return [];
  const fault = directoryFault(base, owner);
  if (fault !== null) throw new PilotError(EXIT.badEnvironment, fault);
  const names = readdirSync(base).sort();
  if (names.length > MAX_SLOTS) throw new PilotError(EXIT.badEnvironment, `${base} holds ${names.length} entries, more than ${MAX_SLOTS}; remove what is no slot's`);
  return names.flatMap((name) => {
    const parsed = parseSlotDirName(name);
    return parsed === null ? [] : [readSlot(join(base, name), parsed, owner)];
  });
}

function readSlot(dir: string, { slot, host }: { slot: string; host: string }, owner: number): SlotOnNode {
  const refused = directoryFault(dir, owner);
  if (refused !== null) return { dir, slot, host, state: null, refused };
  try {
    return { dir, slot, host, state: readNodeState(dir, { slot, host, owner }), refused: null };
  } catch (e) {
    return { dir, slot, host, state: null, refused: (e as Error).message };
  }
}

/** null when there is none. @throws Error with a sentence when it is not believed */
export function readNodeState(dir: string, expected: { slot: string; host: string; owner: number }): NodeState | null {
  const file = join(dir, STATE_FILE);
  const text = readOwned(file, expected.owner);
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`${file} is no JSON; look what it is, then remove ${dir}`);
  }
  const wrong = stateFault(value, expected);
  if (wrong !== null) throw new Error(`${file}: ${wrong}; look what it is, then remove ${dir}`);
  return value as NodeState;
}

function readOwned(file: string, owner: number): string | null {
  let fd: number;
  try {
    // Without O_NONBLOCK a FIFO in the file's place would stop the reader.
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new Error(`${file} cannot be opened: ${code === 'ELOOP' ? 'it is a symbolic link' : (code ?? String(e))}`, { cause: e });
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.nlink !== 1) throw new Error(`${file} is not a plain file`);
    if (stat.uid !== owner) throw new Error(`${file} belongs to user ${stat.uid}, not to user ${owner}`);
    if ((stat.mode & 0o077) !== 0) throw new Error(`${file} is open to other users (mode ${(stat.mode & 0o777).toString(8)})`);
    const bytes = Buffer.alloc(MAX_STATE + 1);
    const length = readSync(fd, bytes, 0, bytes.length, 0);
    if (length > MAX_STATE) throw new Error(`${file} is longer than ${MAX_STATE} bytes`);
    return bytes.toString('utf8', 0, length);
  } finally {
    closeSync(fd);
  }
}

/** What is wrong with a state's content; null when nothing is. */
export function stateFault(value: unknown, expected: { slot: string; host: string }): string | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'it is no object';
  const s = value as Readonly<Record<string, unknown>>;
  const checks: readonly (readonly [string, boolean])[] = [
    ['v', s['v'] === 1],
    ['slot', s['slot'] === expected.slot],
    ['host', s['host'] === expected.host],
    ['pilot', matches(s['pilot'], PILOT_ID)],
    ['pid', isWhole(s['pid'], 2, MAX_PID)],
    ['startTicks', matches(s['startTicks'], /^\d{1,20}$/)],
    ['bootId', matches(s['bootId'], BOOT_ID)],
    ['mechanism', MECHANISMS.some((m) => m === s['mechanism'])],
    ['stage', STAGES.some((stage) => stage === s['stage'])],
    ['target', s['target'] === null || isTarget(s['target'])],
  ];
  const known = new Set(checks.map(([name]) => name));
  const wrong = [...checks.filter(([, ok]) => !ok).map(([name]) => name), ...Object.keys(s).filter((name) => !known.has(name)).slice(0, 4).map((name) => JSON.stringify(name.slice(0, 32)))];
  return wrong.length === 0 ? null : `not the state of this slot (${wrong.join(', ')})`;
}

const matches = (value: unknown, form: RegExp): boolean => typeof value === 'string' && form.test(value);
const isWhole = (value: unknown, least: number, most: number): value is number => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;

function isTarget(value: unknown): value is HostTarget {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const { mb, beforeMb, afterMb, ...rest } = value as Readonly<Record<string, unknown>>;
  return Object.keys(rest).length === 0 && isWhole(mb, 0, MAX_MB) && isWhole(beforeMb, 0, MAX_MB) && isWhole(afterMb, 0, MAX_MB) && beforeMb - mb >= afterMb;
}

/** The pilot that wrote the state is still the process of its pid. */
export async function pilotLives(state: NodeState, boot: string): Promise<boolean> {
  return state.bootId === boot && (await startTicksOf(state.pid)) === state.startTicks;
}
