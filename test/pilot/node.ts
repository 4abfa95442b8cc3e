/** Dead pilots and their VMs for tests: real QEMU processes named and placed as the agent does. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { realClock as clock, sleep } from '../../src/control/agent/clock.ts';
import { bootId, makeSlotDir, writeNodeState } from '../../src/pilot/program/state.ts';
import type { NodeState } from '../../src/pilot/program/types.ts';
import { listVms, startTicksOf } from '../../src/pilot/program/vms.ts';
import { findProgram } from '../parts.ts';

const started: ChildProcess[] = [];

/** For afterEach. */
export async function endAll(): Promise<void> {
  for (const child of started.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

/** Writes what a pilot that is dead, or lives as `pid`, left on the node; returns the slot's directory. */
export async function leave(base: string, slot: string, change: Partial<NodeState> & { readonly host?: string } = {}): Promise<string> {
  const host = change.host ?? 'node1';
  const dir = makeSlotDir(base, slot, host);
  const pid = change.pid ?? process.pid;
  const state: NodeState = {
    v: 1, slot, host, pilot: '0123456789abcdef', pid, startTicks: '1', bootId: bootId(), mechanism: 'none', target: null, stage: 'reserved', ...change,
  };
  writeNodeState(dir, change.pid === undefined ? state : { ...state, startTicks: (await startTicksOf(pid)) ?? '1' });
  return dir;
}

/** A QEMU without a guest, in `SLOTDIR/control/vms/LEASE`; resolves when it can be found. */
export async function startVm(slotDir: string, lease: string, account?: { uid: number; gid: number }): Promise<number> {
  const dir = join(slotDir, 'control', 'vms', lease);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (account !== undefined) for (const path of ['', 'control', 'control/vms', `control/vms/${lease}`]) chownSync(join(slotDir, path), account.uid, account.gid);
  return startProcess(findProgram('qemu-system-x86_64') ?? '', ['-name', `guest=nimbus-${lease}`, '-nodefaults', '-machine', 'none', '-display', 'none'], dir, account, lease);
}

/** Anything else that works in a directory. */
export async function startSleeper(cwd: string): Promise<number> {
  return startProcess('/bin/sleep', ['600'], cwd, undefined, null);
}

async function startProcess(program: string, args: readonly string[], cwd: string, account: { uid: number; gid: number } | undefined, lease: string | null): Promise<number> {
  const child = spawn(program, args, { cwd, stdio: 'ignore', ...account });
  started.push(child);
  await once(child, 'spawn');
  const { pid = 0 } = child;
  const deadline = clock.monotonic() + 60_000;
  while (lease !== null && !(await listVms()).some((vm) => vm.pid === pid)) {
    if (clock.monotonic() > deadline) throw new Error(`QEMU of ${lease} does not come up`);
    await sleep(clock, 5);
  }
  return pid;
}

export const lives = async (pid: number): Promise<boolean> => (await startTicksOf(pid)) !== null;
