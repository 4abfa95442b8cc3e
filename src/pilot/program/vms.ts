/**
 * QEMU processes of this product on the node, found without any record: by the `-name` argument that only the agent
 * chooses and by their working directory, the VM's own. Whoever runs this needs the right to end what it finds.
 */
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { isName } from '../../lease/ids.ts';
import { killVm } from '../../control/agent/drivers/qemu/process.ts';
import { findPrograms } from '../../control/agent/drivers/qemu/programs.ts';
import { deleteTaps } from '../../control/agent/helper/tap.ts';
import type { Clock } from '../../control/agent/clock.ts';

const GUEST = /^guest=nimbus-(.+)$/;
const KILL_MS = 1_000;
const KIB = 1024;

export interface VmOnNode {
  readonly lease: string;
  readonly pid: number;
  readonly startTicks: string;
  /** Account that it runs under. */
  readonly uid: number;
  /** null where the kernel does not tell this account. */
  readonly dir: string | null;
  readonly memoryMb: number;
}

export async function listVms(): Promise<readonly VmOnNode[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found: VmOnNode[] = [];
  // One after the other: a node has thousands of processes, and each costs open files.
  for (const pid of pids) {
    const vm = await asVm(pid);
    if (vm !== null) found.push(vm);
  }
  return found;
}

async function asVm(pid: number): Promise<VmOnNode | null> {
  try {
    const argv = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    const lease = GUEST.exec(argv[argv.indexOf('-name') + 1] ?? '')?.[1];
    if (lease === undefined || !isName(lease) || !argv.includes('-nodefaults')) return null;
    const [startTicks, { uid }, dir, status] = await Promise.all([
      startTicksOf(pid), stat(`/proc/${pid}`), readlink(`/proc/${pid}/cwd`).catch(() => null), readFile(`/proc/${pid}/status`, 'utf8'),
    ]);
    if (startTicks === null) return null;
    const memoryMb = Math.round(Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1] ?? 0) / KIB);
    return { lease, pid, startTicks, uid, dir: dir?.replace(/ \(deleted\)$/, '') ?? null, memoryMb };
  } catch {
    return null; // it ended while it was looked at
  }
}

/** Field `starttime` of /proc/PID/stat; null when there is no such process or it is a zombie. */
export async function startTicksOf(pid: number): Promise<string | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The second field is the program's name in parentheses and may contain anything; the third begins after the last ')'.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
}

/** Ends the process; a job's VM ignores SIGTERM. @throws Error with a sentence */
export async function endVm(vm: VmOnNode, clock: Clock): Promise<void> {
  const gone = await killVm(vm, clock, KILL_MS, ['SIGKILL']).catch((e: unknown) => {
    throw new Error(`VM ${vm.lease} (process ${vm.pid} of user ${vm.uid}) cannot be ended: ${(e as NodeJS.ErrnoException).code ?? String(e)}`);
  });
  if (!gone) throw new Error(`VM ${vm.lease} (process ${vm.pid}) does not end`);
}

/** Removes the taps of leases whose VMs have ended, where this is root. A lease that runs somewhere on the node keeps its own. */
export async function clearTaps(leases: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0 || leases.length === 0) return;
  const running = new Set((await listVms()).map((vm) => vm.lease));
  for (const lease of new Set(leases)) if (!running.has(lease)) await deleteTaps(findPrograms({}).ip, lease);
}
