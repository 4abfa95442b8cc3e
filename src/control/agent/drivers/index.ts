/** Which driver runs a node's VMs. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { DriverName } from '../../protocol.ts';
import type { Clock } from '../clock.ts';
import type { AgentConfig } from '../config.ts';
import type { Driver } from '../driver.ts';
import type { Log } from '../log.ts';
import { createQemuDriver } from './qemu/index.ts';
import { findPrograms, isExecutable } from './qemu/programs.ts';
import { createSimulatedDriver } from './simulated.ts';

export const DRIVER_CHOICES = ['auto', 'qemu', 'simulated'] as const;
export type DriverChoice = (typeof DRIVER_CHOICES)[number];

export interface DriverParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly config: AgentConfig;
  /** Absolute */
  readonly stateDir: string;
  /** Of all agents of this account on the node; absent = what is found out is the agent's own. */
  readonly sharedDir?: string | undefined;
  /** The agent runs in a job of a batch system. */
  readonly inJob: boolean;
}

/** `auto` stays with the driver of the VMs that are there, so that an installed or removed QEMU does not orphan them. */
export function chooseDriver(choice: DriverChoice, recorded: DriverName | undefined): DriverName {
  if (choice !== 'auto') return choice;
  const { qemu } = findPrograms({});
  return recorded ?? (isExecutable(qemu) ? 'qemu' : 'simulated');
}

/** @throws AgentFault BadRequest when the driver's part of the configuration is wrong */
export function createDriver(name: DriverName, { clock, log, config, stateDir, sharedDir, inJob }: DriverParts): Driver {
  if (name === 'simulated') return createSimulatedDriver({ ...config.simulated, clock, random, file: join(stateDir, 'simulated.journal') });
  return createQemuDriver({ clock, log, stateDir, sharedDir, forwardPorts: config.forwardPorts, settings: config.qemu, helper: config.helper, inJob });
}

const random = (): number => randomBytes(4).readUInt32LE() / 2 ** 32;
