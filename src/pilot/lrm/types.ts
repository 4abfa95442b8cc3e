/**
 * A batch system (local resource manager) as the service sees it: four verbs. An adapter turns them into argv of the
 * system's own commands and their output into typed values; it decides nothing and remembers nothing.
 */
export type LrmName = 'slurm' | 'pbs';

/** One part of a job: nodes that are alike. */
export interface JobPart {
  readonly nodes: number;
  /** Cores and MiB that each node must give to VMs. */
  readonly cores: number;
  readonly memoryMb: number;
  /** The pilot's program and arguments on each node of this part; no secrets. */
  readonly argv: readonly string[];
}

export interface JobRequest {
  /** The slot's id is the job's name. */
  readonly slotId: string;
  /** One or more; the first is the one whose first node runs the job script. */
  readonly parts: readonly JobPart[];
  readonly walltimeS: number;
  /** Account or project to charge; null = the submitting user's default. */
  readonly account: string | null;
  /** One line of JSON that every pilot reads from standard input, or from a file that only its user can read. */
  readonly credentials: string;
  /** It stands below other jobs, so that they displace it. */
  readonly spot?: boolean;
}

export type SubmitAnswer =
  | { readonly kind: 'submitted'; readonly jobId: string }
  /** The batch system refuses this job: the same request would be refused again. */
  | { readonly kind: 'rejected'; readonly reason: string }
  /** It could not be asked, or did not answer: the job may exist. */
  | { readonly kind: 'unknown'; readonly reason: string };

/** States that matter here; adapters map their system's own onto them. */
export type JobState = 'queued' | 'held' | 'starting' | 'running' | 'ending' | 'done' | 'failed' | 'cancelled' | 'timeout' | 'preempted' | 'node-failed';

export interface JobView {
  readonly jobId: string;
  /** The job's name: a slot id. */
  readonly slotId: string;
  readonly state: JobState;
  /** The system's own word for the state. */
  readonly native: string;
  /** Why it waits, or how it ended, in the system's own words, made printable; null = it does not say. */
  readonly reason: string | null;
  /** Place among the waiting jobs of its queue, from 1; null = unknown. */
  readonly position: number | null;
  /** When the system expects to start it, ms; null = it does not say. */
  readonly expectedStart: number | null;
  /** Names of its nodes, each once; empty before it runs. */
  readonly hosts: readonly string[];
  /** True when it has been put back into the queue after it ran. */
  readonly requeued: boolean;
}

export type Listing =
  | {
      readonly kind: 'listing';
      /** Jobs whose names are slot ids, each slot at most once. */
      readonly jobs: readonly JobView[];
      /** Further jobs under the names of those in `jobs`: a slot that was submitted twice has two. */
      readonly others?: readonly JobView[];
      /** Sentences on what was in the output and was ignored: malformed lines, doubled ids. */
      readonly ignored: readonly { readonly slotId: string | null; readonly why: string }[];
      /** ms that the command took. */
      readonly tookMs: number;
    }
  /** No listing was to be had: nothing is known about any job. */
  | { readonly kind: 'unavailable'; readonly reason: string; readonly tookMs: number };

export type CancelAnswer =
  | { readonly kind: 'cancelled' }
  /** The batch system does not know the job: it is over. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'unknown'; readonly reason: string };

export interface SpotFacts {
  readonly nodes: number | null;
  /** The system's own word for what becomes of its jobs. */
  readonly preemptMode: string;
  /** s from SIGTERM to the end of a job that is displaced, SIGKILL after it apart. */
  readonly graceS: number;
}

export interface LrmFacts {
  readonly lrm: LrmName;
  /** `slurm`, `torque`, `openpbs` or `slurm-torque` (Torque's commands on Slurm). */
  readonly flavour: string;
  readonly version: string;
  /** s between SIGTERM and SIGKILL; null when it cannot be read. */
  readonly graceS: number | null;
  /** Nodes that jobs of this queue or partition may use; null when it cannot be read. */
  readonly nodes: number | null;
  /** Of the partition of jobs that others displace, where the site names one and it can be looked at; null = there is none of that name. */
  readonly spot?: SpotFacts | null;
  /** Parts of different size in one job. */
  readonly heterogeneous: boolean;
  /** Nodes of a running job can be given back one by one. */
  readonly shrinks: boolean;
  /** Finished jobs stay in the listing for a while, with how they ended. */
  readonly remembers: boolean;
  /** Whether an epilogue (a program that runs on each node after a job) is configured; null = cannot be read. */
  readonly epilogue: string | null | 'unknown';
}

export interface Lrm {
  readonly name: LrmName;
  submit(job: JobRequest): Promise<SubmitAnswer>;
  cancel(jobId: string): Promise<CancelAnswer>;
  /** One command for all jobs. */
  list(): Promise<Listing>;
  /** Asked at the start and by `doctor`. Rejects with an Error whose message is a sentence when a command is missing or fails. */
  facts(): Promise<LrmFacts>;
  /** Gives back all nodes of a part of a running job but `keep`; only where `facts().shrinks`. Of a first part, `keep` holds the script's node. */
  shrink?(jobId: string, part: number, keep: readonly string[]): Promise<CancelAnswer>;
}

/** Runs a command here or on a login node. Output is bounded; never rejects. */
export interface CommandRunner {
  run(argv: readonly string[], options: { readonly input?: string; readonly timeoutMs: number }): Promise<CommandResult>;
}
export interface CommandResult {
  /** null = not started, killed, or out of time. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Set when `code` is null: a sentence. */
  readonly failure: string | null;
  readonly tookMs: number;
}
