/** What the program that contains an agent sees of it. */
import type { Clock } from './clock.ts';
import type { AgentConfig } from './config.ts';
import type { Peer } from './connection.ts';
import type { DriverChoice } from './drivers/index.ts';
import type { Log } from './log.ts';

export interface AgentOptions {
  /** Absolute; made when it is missing. */
  readonly stateDir: string;
  readonly driver: DriverChoice;
  readonly config: AgentConfig;
  readonly clock: Clock;
  /** Default: `agent.log` in the state directory. */
  readonly log?: Log;
  /** Lives on when nobody is connected, until `stop`. */
  readonly persistent?: boolean;
  /** Directory of all agents of this account on the node, for what outlives each of them: images, what was measured. */
  readonly sharedDir?: string;
  /** VMs stay what the batch system counts as the job's, and what it signals to the whole job does not end them. */
  readonly inJob?: boolean;
  /** Called once, when the service gives the node back; its request was answered before. Absent: such requests are refused. */
  readonly onRelease?: (why: string) => void;
}

export interface Agent {
  /** Speaks with a service over a stream, agent first, until either ends it. The streams are the agent's from now on. */
  serve(peer: Peer): void;
  /**
   * Tells every guest that runs: the text on its serial console and its notice port, then the power button (ACPI). Resolves
   * when all were told or could not be within 5 s; never rejects.
   */
  notice(text: string): Promise<void>;
  /**
   * Ends every VM and takes no further one. Guests have `graceMs` to power down first; 0 = none, also for those that an
   * earlier call waits for. Generations stay known. Resolves with the leases whose VMs ran, also when one could not be ended:
   * `vms` counts those. Never rejects.
   */
  endAll(graceMs: number): Promise<readonly string[]>;
  /** VMs that run, are paused or are being started, and disks that are being saved or wait to be fetched. */
  vms(): number;
  /** Finishes what runs, says goodbye, frees the directory. VMs are not touched. */
  stop(why: string): Promise<void>;
  /** Resolves when the directory is free again. */
  readonly over: Promise<void>;
}
