/** What the driver asks of its node: the part that may need root. `../../helper/` has the implementations. */
import type { VmPlace } from '../../driver.ts';
import type { Launch } from './launch.ts';

export interface VmHost {
  /**
   * Starts QEMU in the VM's directory, with its taps and under its own uid where that is possible; resolves when its QMP
   * answers. Rejects with AgentFault and leaves no process and no tap.
   */
  start(place: VmPlace, launch: Launch): Promise<{ pid: number }>;
  /** Ends the VM's process, if there is one, and removes its taps. */
  end(place: VmPlace, pid: number | null): Promise<void>;
  /** VMs run under uids of their own. */
  readonly ownUids: boolean;
  /** Sentences on what the node lacks, each with how to mend it. */
  lacks(): Promise<readonly string[]>;
}
