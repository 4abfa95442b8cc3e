/** What `nimbus` does itself where no service answers; composed outside, as it needs the whole house. */
import type { Writable } from 'node:stream';
import type { Restored } from '../backup/restore.ts';
import type { Finding } from '../doctor/types.ts';
import type { FsckOptions, FsckReport } from '../fsck/types.ts';
import type { KilledSlot, SlotChoice } from '../manager/admin-types.ts';
import type { JobOutcome } from '../manager/admin/kill-all-jobs.ts';
import type { SlotView } from '../manager/slots/types.ts';

export interface Place {
  /** TOML file; undefined = built-in defaults */
  readonly config: string | undefined;
  /** Data directory */
  readonly data: string;
}

export interface KillWait {
  readonly why: string;
  readonly waitMs: number;
  /** Told what goes wrong on the way. */
  readonly trouble: (what: string) => void;
}

export interface OfflineSite {
  liveSlots(choice: SlotChoice): Promise<SlotView[]>;
  /** As the table has them now. */
  slots(ids: readonly string[]): Promise<SlotView[]>;
  killAll(choice: SlotChoice, wait: KillWait): Promise<KilledSlot[]>;
  close(): Promise<void>;
}

/** Each call rejects with StartError or ConfigError where the site is not what it must be for that. */
export interface WithoutService {
  /** The database, and the batch system's commands. */
  open(place: Place): Promise<OfflineSite>;
  /** The batch system alone: cancels its jobs that are slots. */
  killJobs(place: Place, wait: { node: string | undefined; waitMs: number }): Promise<JobOutcome[]>;
  doctor(place: Place): Promise<readonly Finding[]>;
  backup(place: Place, options: { images: boolean }, to: Writable): Promise<void>;
  restore(place: Place, file: string, options: { replace: boolean }): Promise<Restored>;
  fsck(place: Place, options: FsckOptions): Promise<FsckReport>;
}
