/** Which driver runs a slot's VMs. `auto` is QEMU here: nobody's lease shall run in pretence because a node lacks a package. */
import { isExecutable } from '../../control/agent/drivers/qemu/programs.ts';
import type { DriverName } from '../../control/protocol.ts';
import type { PilotConfig } from './config.ts';
import { EXIT } from './stages.ts';
import { PilotError } from './types.ts';

export const HOW_TO_GET_A_VMM = 'install it (Debian: apt-get install qemu-system-x86; Red Hat: dnf install qemu-kvm), or set [other] driver: simulated for VMs that only pretend';

export interface Vmm {
  readonly driver: DriverName;
  /** The VMM's program; null for a driver without one. */
  readonly program: string | null;
  /** Why no VM can run; null when one can. */
  readonly lack: string | null;
}

/** @param qemu path of QEMU, or its bare name where it was not found */
export function findVmm(choice: PilotConfig['driver'], qemu: string): Vmm {
  if (choice === 'simulated') return { driver: 'simulated', program: null, lack: null };
  return { driver: 'qemu', program: qemu, lack: isExecutable(qemu) ? null : `${qemu} is not installed on this node` };
}

/** @throws PilotError badEnvironment when no VM can run */
export function driverFor(choice: PilotConfig['driver'], qemu: string): DriverName {
  const { driver, lack } = findVmm(choice, qemu);
  if (lack !== null) throw new PilotError(EXIT.badEnvironment, `${lack}: ${HOW_TO_GET_A_VMM}`);
  return driver;
}
