/**
 * Which accelerator runs guests faster, by trying. That /dev/kvm opens proves nothing: nested or emulated virtualization
 * may be forty times slower than QEMU's own translator (TCG). A boot sector that counts and then ends QEMU is timed under
 * TCG first, then under KVM with a deadline that follows from TCG's time; what is faster wins. The result holds until the
 * node is restarted or QEMU changes and is kept in a file.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../clock.ts';
import type { Log } from '../../log.ts';
import { AgentFault } from '../../fault.ts';
import type { Accelerator } from './launch.ts';

export interface Choice {
  readonly accelerator: Accelerator;
  /** ms of the boot sector; null = not tried or not finished in time. */
  readonly tcgMs: number | null;
  readonly kvmMs: number | null;
}

/** Times one accelerator; null when it did not finish within `limitMs`. */
export type Measure = (accelerator: Accelerator, limitMs: number) => Promise<number | null>;

const TCG_LIMIT_MS = 20_000;
export const kvmLimit = (tcgMs: number): number => tcgMs * 3 + 200;

export async function chooseAccelerator(kvmOpens: boolean, measure: Measure): Promise<Choice> {
  const tcgMs = await measure('tcg', TCG_LIMIT_MS);
  const kvmMs = kvmOpens ? await measure('kvm', kvmLimit(tcgMs ?? TCG_LIMIT_MS)) : null;
  if (tcgMs === null && kvmMs === null) throw new AgentFault('DriverFailed', 'QEMU could not boot a test sector with any accelerator');
  const accelerator = kvmMs !== null && (tcgMs === null || kvmMs < tcgMs) ? 'kvm' : 'tcg';
  return { accelerator, tcgMs, kvmMs };
}

export interface CachedChoiceOptions {
  readonly file: string;
  /** Beside `file`, or in another directory of its file system: the asking agent's own. */
  readonly draft: string;
  /** Boot id, QEMU version, whether KVM may be used: another key, another measurement. */
  readonly key: string;
  readonly log: Log;
}

export async function cachedChoice({ file, draft, key, log }: CachedChoiceOptions, choose: () => Promise<Choice>): Promise<Choice> {
  const known = await readChoice(file, key);
  if (known !== null) return known;
  const choice = await choose();
  log.info('accelerator chosen', { ...choice });
  try {
    await writeFile(draft, JSON.stringify({ key, ...choice }), { mode: 0o600 });
    await rename(draft, file);
  } catch (e) {
    log.warn('the choice of accelerator could not be kept', { file, error: (e as Error).message });
  }
  return choice;
}

async function readChoice(file: string, key: string): Promise<Choice | null> {
  try {
    const kept = JSON.parse(await readFile(file, 'utf8')) as Choice & { key: string };
    return kept.key === key && (kept.accelerator === 'kvm' || kept.accelerator === 'tcg') ? kept : null;
  } catch {
    return null;
  }
}

/** True when /dev/kvm opens for the uids that VMs run under: the agent's own, or any that has the device's group. */
export async function kvmOpens(ownUids: boolean): Promise<boolean> {
  try {
    const device = await open('/dev/kvm', 'r+');
    const { mode } = await device.stat().finally(() => device.close());
    return !ownUids || (mode & GROUP_RW) === GROUP_RW || (mode & OTHERS_RW) === OTHERS_RW;
  } catch {
    return false;
  }
}
const GROUP_RW = 0o060;
const OTHERS_RW = 0o006;

const EXIT_PORT = 0xf4;
/** isa-debug-exit ends QEMU with status 2 × value + 1. */
const EXIT_VALUE = 0x10;
/** Enough that translation is seen to be slower than hardware, little enough not to be felt: 30 ms of TCG. */
const ROUNDS = 1 << 24;

/** Counts down from ROUNDS, then writes to the exit port. */
export function probeSector(): Buffer {
  const image = Buffer.alloc(1024 * 1024);
  const code = [
    0xfa, //                              cli
    0x66, 0xb9, 0, 0, 0, 0, //            mov ecx, ROUNDS
    0x66, 0x49, //                        dec ecx
    0x75, 0xfc, //                        jnz to the dec
    0xba, EXIT_PORT, 0, //                mov dx, EXIT_PORT
    0xb0, EXIT_VALUE, //                  mov al, EXIT_VALUE
    0xee, //                              out dx, al
    0xf4, 0xeb, 0xfd, //                  hlt, again
  ];
  image.set(code);
  image.writeUInt32LE(ROUNDS, 3);
  image.writeUInt16LE(0xaa55, 510);
  return image;
}

/** The sector is put into `parent`, the agent's own directory, for as long as it takes. */
export function measureWith(qemu: string, clock: Clock, parent: string): Measure {
  return async (accelerator, limitMs) => {
    const dir = await mkdtemp(join(parent, 'accelerator-'));
    try {
      const image = join(dir, 'probe.img');
      await writeFile(image, probeSector());
      return await timeOnce(qemu, accelerator, image, clock, limitMs);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  };
}

function timeOnce(qemu: string, accelerator: Accelerator, image: string, clock: Clock, limitMs: number): Promise<number | null> {
  const disk = { driver: 'raw', 'node-name': 'disk', 'read-only': true, file: { driver: 'file', filename: image } };
  const args = [
    '-nodefaults', '-no-user-config', '-display', 'none', '-m', '16M', '-boot', 'strict=on',
    '-machine', `pc,accel=${accelerator}`, '-cpu', accelerator === 'kvm' ? 'host' : 'max',
    '-device', `isa-debug-exit,iobase=${EXIT_PORT},iosize=1`,
    '-blockdev', JSON.stringify(disk), '-device', 'virtio-blk-pci,drive=disk,bootindex=0',
  ];
  return new Promise((resolve) => {
    const begun = clock.monotonic();
    const child = spawn(qemu, args, { stdio: 'ignore', cwd: '/' });
    const timer = clock.after(limitMs, () => child.kill('SIGKILL'));
    const finish = (ms: number | null): void => { timer.cancel(); resolve(ms); };
    child.once('error', () => finish(null));
    child.once('exit', (status) => finish(status === EXIT_VALUE * 2 + 1 ? clock.monotonic() - begun : null));
  });
}
