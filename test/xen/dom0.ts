/** What a node's administrator would do and see in dom0: its memory, its guests. */
import { setTimeout as delay } from 'node:timers/promises';
import { SHARED_DIR } from '../../src/pilot/program/state.ts';
import { BATCH_USER, GUEST, GUEST_UP } from './boot-files.ts';
import { DOM0_MB, type XenMachine } from './machine.ts';

const BALLOON = '/sys/devices/system/xen_memory/xen_memory0';
const LOOK_MS = 250;

export interface Dom0Memory {
  /** What Xen says that dom0 has (`xl list`). */
  readonly xenMb: number;
  /** What dom0's kernel says that it has. */
  readonly kernelMb: number;
  /** What dom0's kernel has been told to have. */
  readonly targetMb: number;
}

export async function dom0Memory(machine: XenMachine): Promise<Dom0Memory> {
  const kilobytes = (await machine.must(['cat', `${BALLOON}/info/current_kb`, `${BALLOON}/target_kb`])).trim().split('\n').map(Number);
  const xen = (await domains(machine)).find(({ id }) => id === 0)?.memoryMb;
  return { xenMb: xen ?? Number.NaN, kernelMb: (kilobytes[0] ?? Number.NaN) / 1024, targetMb: (kilobytes[1] ?? Number.NaN) / 1024 };
}

export interface Domain {
  readonly name: string;
  readonly id: number;
  readonly memoryMb: number;
}

export async function domains(machine: XenMachine): Promise<Domain[]> {
  const lines = (await machine.must(['xl', 'list'])).trim().split('\n').slice(1);
  return lines.map((line) => {
    const [name = '', id, memory] = line.split(/\s+/);
    return { name, id: Number(id), memoryMb: Number(memory) };
  });
}

/** Names of the guests, dom0 apart. */
export const guests = async (machine: XenMachine): Promise<string[]> => (await domains(machine)).filter(({ id }) => id > 0).map(({ name }) => name);

/** Writes a PV guest's configuration and returns its path for `xl create`. */
export async function guestConfig(machine: XenMachine, name: string, memoryMb: number): Promise<string> {
  const path = `/srv/guest/${name}.cfg`;
  const lines = [`name = "${name}"`, `kernel = "${GUEST.kernel}"`, `ramdisk = "${GUEST.ramdisk}"`, `memory = ${memoryMb}`, 'vcpus = 1', 'extra = "console=hvc0 quiet"'];
  await machine.write(path, `${lines.join('\n')}\n`);
  return path;
}

/** Resolves when the guest's own init has spoken on its console. */
export async function createGuest(machine: XenMachine, name: string, memoryMb: number): Promise<void> {
  const console = `/var/log/xen/console/guest-${name}.log`;
  // xenconsoled appends: what an earlier guest of this name said is not this one's.
  await machine.run(['truncate', '-s', '0', console]);
  await machine.must(['xl', 'create', await guestConfig(machine, name, memoryMb)]);
  await until(`guest ${name} boots`, async () => (await machine.read(console))?.includes(GUEST_UP) === true);
}

/** Brings dom0 back to what it had at boot, whatever a test left: pilots, guests, memory. */
export async function clean(machine: XenMachine): Promise<void> {
  await machine.run(['busybox', 'killall', '-KILL', 'node']);
  for (const name of await guests(machine)) await machine.run(['xl', 'destroy', name]);
  // The kernel may have given up the target that it has; another one wakes it.
  for (const mb of [DOM0_MB - 1, DOM0_MB]) await machine.must(['xl', 'mem-set', '0', `${mb}`]);
  await machine.must(['find', '/var/tmp', '-mindepth', '1', '-delete']);
  await until(`dom0 has its ${DOM0_MB} MB again`, async () => (await dom0Memory(machine)).kernelMb === DOM0_MB);
}

/** Directories of slots and processes of the batch user: what a pilot that gave everything back has not left. Images are kept on purpose. */
export async function leftovers(machine: XenMachine): Promise<string[]> {
  const files = await machine.must(['find', '/var/tmp', '-mindepth', '2', '-maxdepth', '2', '-not', '-name', SHARED_DIR]);
  const processes = await machine.must(['find', '/proc', '-mindepth', '1', '-maxdepth', '1', '-name', '[0-9]*', '-user', BATCH_USER]);
  return `${files}${processes}`.split('\n').filter((line) => line !== '');
}

/** @throws Error naming what did not happen within a minute */
export async function until(what: string, happened: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const late = AbortSignal.timeout(timeoutMs);
  while (!(await happened())) {
    if (late.aborted) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await delay(LOOK_MS);
  }
}
