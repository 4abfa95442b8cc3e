/** A host that leaves memory to its kernel: nothing is moved, so nothing has to be given back. */
import { readFile } from 'node:fs/promises';
import type { Finding, Guest, HostMemory, HostTarget, MemoryMechanism, ProgramContext } from '../types.ts';
import { destroyQemuGuest, qemuGuests } from './qemu-guests.ts';

const KIB = 1024;

export interface MemInfo {
  readonly totalMb: number;
  /** What programs may be given without swapping (proc(5), MemAvailable). */
  readonly availableMb: number;
}

export async function readMemInfo(): Promise<MemInfo> {
  const text = await readFile('/proc/meminfo', 'utf8');
  const mb = (name: string): number => Math.floor(Number(new RegExp(`^${name}:\\s*(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / KIB);
  return { totalMb: mb('MemTotal'), availableMb: mb('MemAvailable') };
}

export class None implements MemoryMechanism {
  readonly name = 'none';
  readonly #ctx: ProgramContext;

  constructor(ctx: ProgramContext) {
    this.#ctx = ctx;
  }

  async read(): Promise<HostMemory> {
    const { totalMb, availableMb } = await readMemInfo();
    return { hostMb: totalMb, freeMb: availableMb };
  }

  async hostMb(): Promise<number> {
    return (await readMemInfo()).totalMb;
  }

  /** What is asked for is not more than the host has: the plan saw to it. */
  reduce(target: HostTarget): Promise<number> {
    return Promise.resolve(target.afterMb);
  }

  restore(target: HostTarget): Promise<number> {
    return Promise.resolve(target.beforeMb);
  }

  guests(): Promise<readonly Guest[]> {
    return qemuGuests();
  }

  destroy(guest: Guest): Promise<void> {
    return destroyQemuGuest(guest, this.#ctx.clock);
  }

  check(): Promise<readonly Finding[]> {
    return Promise.resolve([{ ok: true, what: 'memory is left to the kernel of the host' }]);
  }
}
