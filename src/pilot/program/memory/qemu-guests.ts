/** Guests of a host without a toolstack: this product's QEMU processes. A guest's id is its pid. */
import type { Clock } from '../../../control/agent/clock.ts';
import type { Guest } from '../types.ts';
import { endVm, listVms } from '../vms.ts';

export async function qemuGuests(): Promise<readonly Guest[]> {
  return (await listVms()).map(({ pid, lease, memoryMb }) => ({ id: `${pid}`, name: lease, memoryMb }));
}

/** Looks again before it ends something: the pid may be another's by now. */
export async function destroyQemuGuest(guest: Guest, clock: Clock): Promise<void> {
  const vm = (await listVms()).find(({ pid, lease }) => `${pid}` === guest.id && lease === guest.name);
  if (vm !== undefined) await endVm(vm, clock);
}
