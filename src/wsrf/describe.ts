/** A lease in the words of grid clients: state, schedule, networking, allocation. */
import type { Nic } from '../lease/types.ts';
import type { Workspace } from '../manager/workspaces.ts';
import { formatIPv4, maskOf, parseIPv4 } from '../network/ipv4.ts';
import type { SoapObject } from '../soap/schema/codec.ts';

export function currentState(w: Workspace, now: number): SoapObject {
  const failed = w.visible === 'Corrupted' || w.visible === 'Cancelled';
  if (!failed || w.reason === null) return { state: w.visible };
  return { state: w.visible, WorkspaceFault: { Timestamp: now, Description: [w.reason] } };
}

/** Times only where the lease has begun: not while it waits for its ensemble or a node. */
export function schedule(w: Workspace): SoapObject {
  const Duration = { seconds: w.durationS };
  if (w.endsAt === null || w.state === 'Pending') return { Duration };
  return { ActualInstantiationTime: w.endsAt - w.durationS * 1000, Duration, ActualTerminationTime: w.endsAt };
}

/** null = not known yet. */
export const terminationTime = (w: Workspace): number | null => (w.state === 'Pending' ? null : w.endsAt);

export function networking(w: Workspace): SoapObject {
  return { nic: w.nics.map((nic, i) => nicOf(nic, w.grid?.nics[i] ?? `eth${i}`)) };
}

export const logistics = (w: Workspace): SoapObject => (w.nics.length === 0 ? {} : { networking: networking(w) });

function nicOf(nic: Nic, name: string): SoapObject {
  const mask = maskOf(nic.prefix);
  return {
    name, MAC: nic.mac.toUpperCase(), association: nic.network,
    ipConfig: {
      acquisitionMethod: 'AllocateAndConfigure', hostname: nic.hostname, ipAddress: nic.ip, netmask: formatIPv4(mask),
      ...(nic.gateway === null ? {} : { gateway: nic.gateway }), broadcast: formatIPv4(((parseIPv4(nic.ip) ?? 0) | ~mask) >>> 0),
    },
  };
}

/** The number of CPUs only where one was asked for: clients of before do not know the element. */
export function allocation(w: Workspace): SoapObject {
  return {
    ...(w.grid === null ? {} : { CPU: { CPUArchitecture: { CPUArchitectureName: w.grid.architecture } } }),
    ...(w.grid?.cores === true ? { IndividualCPUCount: { Exact: [w.cores] } } : {}),
    IndividualPhysicalMemory: { Exact: [w.memoryMb] },
  };
}
