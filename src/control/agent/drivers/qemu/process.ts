/**
 * Which process is a VM's. A pid alone says nothing: it may have been given to another process since. A VM's process is
 * known by its `-name` argument, which only the agent chooses, and its working directory, and stays the same process as long as its start time does.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { sleep } from '../../clock.ts';
import type { Clock } from '../../clock.ts';
import type { VmPlace } from '../../driver.ts';
import { nameArgument } from './launch.ts';

export interface VmProcess {
  readonly pid: number;
  /** Field `starttime` of /proc/PID/stat, clock ticks since the node started (proc(5)). */
  readonly startTicks: string;
}

const POLL_MS = 5;
const KILLED_MS = 10_000;

/** The VM's process; `hint` is looked at first, then every process of the node. */
export async function findVmProcess(place: VmPlace, hint: number | null): Promise<VmProcess | null> {
  const hinted = hint === null ? null : await asVmProcess(hint, place);
  if (hinted !== null) return hinted;
  for (const entry of await readdir('/proc')) {
    const found = /^\d+$/.test(entry) ? await asVmProcess(Number(entry), place) : null;
    if (found !== null) return found;
  }
  return null;
}

async function asVmProcess(pid: number, { lease, dir }: VmPlace): Promise<VmProcess | null> {
  // A zombie's command line is empty: it is no VM any more.
  const argv = (await readText(`/proc/${pid}/cmdline`)).split('\0');
  const named = argv[argv.indexOf('-name') + 1] === nameArgument(lease) && argv.includes('-nodefaults');
  const startTicks = named && (await worksIn(pid, dir)) ? (await readStat(pid)).startTicks : null;
  return startTicks === null ? null : { pid, startTicks };
}

/** Another agent of the machine may have a VM of the same name. Where the kernel does not tell, the name has to do. */
async function worksIn(pid: number, dir: string): Promise<boolean> {
  const [theirs, ours] = await Promise.all([`/proc/${pid}/cwd`, dir].map((path) => stat(path).catch(() => null)));
  return theirs == null || ours == null || (theirs.ino === ours.ino && theirs.dev === ours.dev);
}

export async function isAlive(vm: VmProcess): Promise<boolean> {
  const { state, startTicks } = await readStat(vm.pid);
  return startTicks === vm.startTicks && state !== 'Z' && state !== 'X';
}

export interface WaitOptions {
  readonly pollMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** True when the process was gone within `ms`, or before `signal` fired. */
export async function waitForEnd(vm: VmProcess, clock: Clock, ms: number, { pollMs = POLL_MS, signal }: WaitOptions = {}): Promise<boolean> {
  const end = clock.monotonic() + ms;
  while (await isAlive(vm)) {
    if (clock.monotonic() >= end || signal?.aborted === true) return false;
    await sleep(clock, pollMs);
  }
  return true;
}

/** Sends the signals in turn, each `graceMs` after the one before; true when the process is gone. */
export async function killVm(vm: VmProcess, clock: Clock, graceMs: number, signals: readonly NodeJS.Signals[]): Promise<boolean> {
  for (const signal of signals) {
    if (!(await isAlive(vm))) return true;
    try {
      process.kill(vm.pid, signal);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'ESRCH') throw e;
    }
    // Killed, it ends; but it may have gigabytes to free, or a slow disk to wait for.
    if (await waitForEnd(vm, clock, signal === 'SIGKILL' ? Math.max(graceMs, KILLED_MS) : graceMs)) return true;
  }
  return false;
}

async function readStat(pid: number): Promise<{ state: string | null; startTicks: string | null }> {
  const text = await readText(`/proc/${pid}/stat`);
  // The second field is the program's name in parentheses and may contain anything; the third begins after the last ')'.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] || null, startTicks: fields[19] ?? null };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return '';
  }
}
