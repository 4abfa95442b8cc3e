/** What a QEMU process is started with: figures and addresses only, every path follows from the VM's directory. */
import { createHash } from 'node:crypto';
import type { Nic } from '../../../../lease/types.ts';

export type Accelerator = 'kvm' | 'tcg';

export type LaunchNic = Pick<Nic, 'kind' | 'bridge' | 'mac' | 'ip' | 'prefix' | 'gateway' | 'dns'>;

export interface Launch {
  readonly memoryMb: number;
  readonly cores: number;
  readonly accelerator: Accelerator;
  readonly baseFormat: 'raw' | 'qcow2';
  /** The directory `seed` holds a NoCloud seed. */
  readonly seed: boolean;
  readonly nics: readonly LaunchNic[];
  /** Address and port of the node that lead to port 22 of the first NIC of kind `user`. */
  readonly forward: { readonly address: string; readonly port: number } | null;
  /** It waits for the state of the VM that it continues, and runs nothing before. */
  readonly incoming?: boolean;
}

/** Names inside a VM's directory. `run` belongs to the VM's own uid, the rest to the agent. */
export const FILES = {
  base: 'base.img',
  disk: 'disk.qcow2',
  saved: 'saved.qcow2',
  /** The overlay at one moment. */
  copy: 'copy.qcow2',
  /** There while the VM stands still for its copy. */
  still: 'copy.qcow2.part',
  copied: 'copied.qcow2',
  memory: 'memory.state',
  memoryFacts: 'serialized.json',
  memoryNew: 'memory.new',
  memorySpent: 'memory.spent',
  memorySocket: 'memory.sock',
  memoryInlet: 'run/memory.sock',
  console: 'console.log',
  olderConsole: 'console.log.1',
  errors: 'qemu.err',
  seed: 'seed',
  run: 'run',
  qmp: 'run/qmp.sock',
  notices: 'run/notices.sock',
  record: 'vm.json',
} as const;

/** The argument by which a VM's process is known among all processes of the node. */
export const nameArgument = (lease: string): string => `guest=nimbus-${lease}`;

/** A tap's name: at most 15 characters (IFNAMSIZ, linux/if.h), the same for a lease and NIC every time. */
export const tapName = (lease: string, index: number): string => `${tapPrefix(lease)}${index}`;
export const tapPrefix = (lease: string): string => `nb${createHash('sha256').update(lease).digest('hex').slice(0, 10)}.`;
