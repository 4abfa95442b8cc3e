/**
 * Which guests of a hypervisor belong to a slot: those named after it or after one of its leases; and, on a node that one
 * pilot has for itself, those named as the original names its VMs (`wrksp-` and a number). All others are somebody else's.
 */
import type { Log } from '../../control/agent/log.ts';
import { SLOT_ID } from '../protocol.ts';
import type { Guest, MemoryMechanism } from './types.ts';

/** Slot ids of the original. */
const UUID = /^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/;
const ORIGINAL = /^wrksp-\d+$/;

export interface Ownership {
  readonly slot: string;
  /** Leases that have a directory in the slot's. */
  readonly leases: readonly string[];
  /** No other pilot may be on the node. */
  readonly alone: boolean;
}

export function isOwn({ name }: Pick<Guest, 'name'>, { slot, leases, alone }: Ownership): boolean {
  // Where ids are of any length one may begin with another and a dash.
  const separator = SLOT_ID.test(slot) || UUID.test(slot) ? /^[._-]/ : /^[._]/;
  const ofSlot = [slot, `nimbus-${slot}`].some((begin) => name === begin || (name.startsWith(begin) && separator.test(name.slice(begin.length))));
  return ofSlot || leases.some((lease) => name === `nimbus-${lease}`) || (alone && ORIGINAL.test(name));
}

/** Without a toolstack, guests are QEMU processes, which are known by their directories. */
export const hasToolstack = (mechanism: Pick<MemoryMechanism, 'name'>): boolean => mechanism.name === 'xl' || mechanism.name === 'libvirt';

export interface Ended {
  /** Names of those that were ended. */
  readonly killed: readonly string[];
  /** Sentences on those that were not. */
  readonly failures: readonly string[];
}

/** Ends each guest that `chosen` accepts; one that cannot be ended keeps none of the others. */
export async function endGuests(mechanism: MemoryMechanism, chosen: (guest: Guest) => boolean, log: Log, signal: AbortSignal): Promise<Ended> {
  const killed: string[] = [];
  const failures: string[] = [];
  let guests: readonly Guest[] = [];
  try {
    guests = (await mechanism.guests(signal)).filter(chosen);
  } catch (e) {
    failures.push(`guests cannot be listed: ${(e as Error).message}`);
  }
  for (const guest of guests) {
    try {
      await mechanism.destroy(guest, signal);
      killed.push(guest.name);
      log.warn('a guest that was still there was ended', { guest: guest.name, id: guest.id });
    } catch (e) {
      failures.push(`guest ${guest.name} (${guest.id}) was not ended: ${(e as Error).message}`);
    }
  }
  return { killed, failures };
}
