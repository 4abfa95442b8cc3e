/** Which driver runs a node's VMs. */
import { randomBytes } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { DriverName } from '../../protocol.ts';
import type { Clock } from '../clock.ts';
import type { AgentConfig } from '../config.ts';
import type { Driver } from '../driver.ts';
import type { Log } from '../log.ts';
import { createSimulatedDriver } from './simulated.ts';

export const DRIVER_CHOICES = ['auto', 'qemu', 'simulated'] as const;
export type DriverChoice = (typeof DRIVER_CHOICES)[number];

const QEMU_PROGRAMS = ['qemu-system-x86_64', 'qemu-img'];

export interface DriverParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly config: AgentConfig;
  readonly stateDir: string;
}

/** `auto` stays with the driver of the VMs that are there, so that an installed or removed QEMU does not orphan them. */
export function chooseDriver(choice: DriverChoice, recorded: DriverName | undefined): DriverName {
  if (choice !== 'auto') return choice;
  return recorded ?? (QEMU_PROGRAMS.every(onPath) ? 'qemu' : 'simulated');
}

export function createDriver(name: DriverName, { clock, config }: DriverParts): Driver {
  if (name === 'qemu') throw new Error('qemu driver is not there');
  return createSimulatedDriver({ ...config.simulated, clock, random: () => randomBytes(4).readUInt32LE() / 2 ** 32 });
}

function onPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
