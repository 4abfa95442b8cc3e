/** What the parts of the pilot agree on. */
import type { Clock } from '../../control/agent/clock.ts';
import type { Log } from '../../control/agent/log.ts';
import type { Stage } from './stages.ts';

/** What every part gets instead of reaching for globals. */
export interface ProgramContext {
  readonly clock: Clock;
  readonly log: Log;
}

/** The configuration as the parts that touch the node need it; read and checked by the program's own reader. */
export interface NodeSettings {
  /** The node's name, as its slots' directories have it. */
  readonly host: string;
  readonly mechanism: MemoryMechanism['name'] | 'auto';
  /** `[xen] minmem`: MiB that the host keeps, whatever is asked for. */
  readonly minMb: number;
  /** `[xen] bubble_mem`: false = memory is left as it is. */
  readonly bubble: boolean;
  /** `[systempaths] sudo` where `[xen] xmsudo` is yes; null = programs are run as they are. */
  readonly sudo: string | null;
  readonly xen: {
    /** `[xen] xm`: path of `xl` or `xm`. */
    readonly xm: string;
    /** `[xen] dom0_mem`: what `--killnine` gives back to dom0, MiB; null = what can be found. */
    readonly dom0Mb: number | null;
    /** `[xen] xend` was set; no toolstack of today has one. */
    readonly restartXend: boolean;
  };
  readonly libvirt: {
    readonly virsh: string;
    readonly uri: string;
    /** The domain that gives and gets back memory. */
    readonly domain: string;
  };
  readonly hugepages: {
    readonly sizeKb: number;
    /** `/sys/kernel/mm/hugepages`. */
    readonly sysDir: string;
  };
  /** `[other] lockfile`: names the node's locks. */
  readonly lockFile: string;
  /** `[other] pilots_per_node`. */
  readonly pilotsPerNode: number;
  /** `[other] statedir`, absolute. */
  readonly stateBase: string;
}

/** MiB of a host, as a mechanism sees them. */
export interface HostMemory {
  /** What the host (dom0, or the operating system of a KVM host) has for itself. */
  readonly hostMb: number;
  /** What VMs may be given without taking anything from anyone. */
  readonly freeMb: number;
}

export interface Guest {
  /** As its VMM knows it. */
  readonly id: string;
  readonly name: string;
  readonly memoryMb: number;
}

/** Something that a dry run found; `mend` says how to mend it. */
export interface Finding {
  readonly ok: boolean;
  readonly what: string;
  readonly mend?: string;
}

/**
 * A way to make room for VMs on a host. Each call bounds its own time by `signal`; when that fires it stops waiting, and
 * what it began is undone by `restore`. Amounts are checked by reading what was reached, not by what was asked for. One file each in `memory/`.
 */
export interface MemoryMechanism {
  readonly name: 'xl' | 'libvirt' | 'hugepages' | 'none';
  read(signal: AbortSignal): Promise<HostMemory>;
  /** The first figure of `read` alone: cheaper where the other costs a command. */
  hostMb(signal: AbortSignal): Promise<number>;
  /**
   * Takes memory from the host until it has `target.afterMb`. `target` was computed from `hostMb` under the node's lock and is
   * in the state file already. Resolves with the MiB that the host has now; rejects with a PilotError when they are not reached.
   */
  reduce(target: HostTarget, signal: AbortSignal): Promise<number>;
  /** Gives memory back until the host has `target.beforeMb`; resolves with what it has when that is reached. Repeatable. */
  restore(target: HostTarget, signal: AbortSignal): Promise<number>;
  /** Guests of the VMM, for `--killnine`: everyone's. */
  guests(signal: AbortSignal): Promise<readonly Guest[]>;
  destroy(guest: Guest, signal: AbortSignal): Promise<void>;
  /** Changes nothing; looks whether every program, right and file is there. */
  check(): Promise<readonly Finding[]>;
}

/**
 * Absolute amounts, so that doing it twice is doing it once. In a state file `beforeMb` is what the host had before any pilot
 * of the node took something, and `afterMb` what it has with the shares of all of them; a mechanism is given the figures to reach.
 */
export interface HostTarget {
  /** This pilot's share, MiB. */
  readonly mb: number;
  readonly beforeMb: number;
  readonly afterMb: number;
}

/**
 * What stands on the node's disk about a slot: written before anything is changed, removed when everything is given back.
 * `--recover` reads it and trusts nothing in it but typed numbers and ids: no path, no command.
 */
export interface NodeState {
  readonly v: 1;
  readonly slot: string;
  readonly host: string;
  readonly pilot: string;
  readonly pid: number;
  /** Field `starttime` of /proc/PID/stat: whether `pid` is still this pilot. */
  readonly startTicks: string;
  readonly bootId: string;
  readonly mechanism: MemoryMechanism['name'];
  readonly target: HostTarget | null;
  readonly stage: Stage;
}

export class PilotError extends Error {
  override readonly name = 'PilotError';
  constructor(readonly exit: number, message: string) {
    super(message);
  }
}
