/** What a VMM driver does. One file a driver; `docs/new-vmm-driver.md` is the checklist. */
import type { Reach } from '../../lease/types.ts';
import type { DriverName, VmSpec } from '../protocol.ts';

/** Where one VM lives on the node. */
export interface VmPlace {
  readonly lease: string;
  /** The VM's own directory, 0700; the driver keeps everything of the VM in it. Made by the executor, removed by it. */
  readonly dir: string;
}

export interface RunningVm {
  /** Process id; null for a driver without processes. */
  readonly pid: number | null;
  readonly state: 'running' | 'paused';
  /** null when the guest cannot be reached. */
  readonly reach: Reach | null;
}

export interface DriverStatus {
  readonly accelerator: string | null;
  readonly qemuVersion: string | null;
  /** Sentences on what the node lacks, each with how to mend it. */
  readonly missing: readonly string[];
}

/**
 * What a driver does that can keep a VM's memory while the VM does not run, so that the node has it free. The memory is kept
 * in the VM's directory, and outlives the node's restart as the disk does.
 */
export interface MemoryKeeper {
  /**
   * Stops the VM, writes its memory down within `ms`, less when `signal` fires, and ends it. When it rejects, the VM runs on and
   * nothing is kept; unless it has ended all the same, see `kept`.
   */
  save(place: VmPlace, memoryMb: number, ms: number, signal: AbortSignal): Promise<void>;
  /** The memory is there whole, and no guest has run since. */
  kept(place: VmPlace): Promise<boolean>;
  /** Goes on where `save` stopped. Rejects with AgentFault and leaves no process; what is kept stays, unless the guest may have run. */
  restore(place: VmPlace, spec: VmSpec, signal: AbortSignal): Promise<RunningVm>;
  /** Of a VM that runs, shall boot, or is removed. Harmless when nothing is kept. */
  drop(place: VmPlace): Promise<void>;
}

export interface Driver {
  readonly name: DriverName;
  /** Absent where VMs' memory cannot be written down. */
  readonly memory?: MemoryKeeper;
  /** True when it needs neither a VM's directory nor a seed; else both, `seed/` in the directory, are there before `prepare`. */
  readonly fileless?: boolean;
  /** Makes the VM's own disk over the cached, read-only base image. Repeatable. */
  prepare(place: VmPlace, spec: VmSpec, baseImage: string): Promise<void>;
  /** Boots a prepared VM; memory that is kept of it is dropped. Resolves when the VMM says that it runs. Rejects with AgentFault and leaves no process. */
  start(place: VmPlace, spec: VmSpec): Promise<RunningVm>;
  /** The VM's truth now, also after the agent was restarted; null when it does not run. */
  find(place: VmPlace): Promise<RunningVm | null>;
  /** Calls `onExit` once, when the VM ends without `end` having been called. Returns how to stop watching. */
  watch(place: VmPlace, onExit: (reason: string) => void): () => void;
  reboot(place: VmPlace): Promise<void>;
  pause(place: VmPlace): Promise<void>;
  resume(place: VmPlace): Promise<void>;
  /** Ends the VM, its processes and what it holds on the node outside its directory (tap, port); memory that is kept stays. Harmless when it does not run. */
  end(place: VmPlace): Promise<void>;
  /**
   * Makes the disk of a VM that does not run one file that needs no other; its path, absolute. Breaks off when `signal` fires.
   * Repeatable. The VM's directory goes with it.
   */
  save(place: VmPlace, ms: number, signal: AbortSignal): Promise<string>;
  /**
   * The same of a VM that runs, as its disk is at one moment: it may stand still for that moment and runs when this resolves or rejects.
   */
  copy(place: VmPlace, ms: number, signal: AbortSignal): Promise<string>;
  /** Removes what `save` and `copy` made in the VM's directory. The disk stays. */
  clean(place: VmPlace): Promise<void>;
  /**
   * Presses the VM's power button (ACPI) and waits at most `ms` for its end, less when `signal` fires; true when it has ended.
   * Whether a guest obeys is its own affair.
   */
  powerDown(place: VmPlace, ms: number, signal?: AbortSignal): Promise<boolean>;
  /** Shows a line of text where the guest and its user can see it: on the console, and on a port of the guest's own where there is one. */
  notice(place: VmPlace, text: string): Promise<void>;
  /** The last `maxBytes` of the serial console. */
  console(place: VmPlace, maxBytes: number): Promise<{ bytes: Buffer; truncated: boolean }>;
  status(): Promise<DriverStatus>;
}
