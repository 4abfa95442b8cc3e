/** What a private Slurm can be asked for, and what is had of it. */

/** `linuxproc` follows parents; `cgroup` needs root and a writable cgroup hierarchy. */
export type ProcessTracking = 'linuxproc' | 'cgroup';

export interface PrivateSlurmOptions {
  /** Made by the start, removed by `stop`; at most 60 characters, as sockets lie in it. */
  readonly dir: string;
  /** 1 to 256; default 16. */
  readonly nodes?: number;
  /** What each node says of itself, whatever this machine has; defaults 4 and 2048. */
  readonly cpusPerNode?: number;
  readonly memoryMbPerNode?: number;
  /** Seconds from SIGTERM to SIGKILL when a job is cancelled or out of time; default 5. */
  readonly killWaitS?: number;
  /** Absolute paths of executables that each node runs around a job, as the user of the daemons. */
  readonly epilog?: string;
  readonly prolog?: string;
  /** Partitions `low` and `high` instead of `main`: a job of `high` has jobs of `low` cancelled, after `graceS`. */
  readonly preempt?: { readonly graceS: number };
  readonly proctrack?: ProcessTracking;
  /** Further lines of slurm.conf; they win over the same key above them. */
  readonly extra?: readonly string[];
}

export interface Ran {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `slurmctld`, or the name of a node for its slurmd. */
export type DaemonName = string;

export interface PrivateSlurm {
  readonly dir: string;
  /** To be added to the environment of whatever runs its commands, Torque's too. */
  readonly env: Readonly<Record<string, string>>;
  /** Names as `squeue` and `scontrol` show them. */
  readonly nodes: readonly string[];
  /** The default partition. */
  readonly partition: string;
  /** The partition whose jobs displace those of `partition`; null without `preempt`. */
  readonly highPartition: string | null;
  readonly killWaitS: number;
  /** Rejects when the program cannot be run, or neither ends nor stays below the bounds of time and output. */
  run(argv: readonly string[], input?: string): Promise<Ran>;
  /** Everything goes at once, by SIGKILL and without epilogues: jobs, daemons, directory. May be called again. */
  stop(): Promise<void>;
  /** In order, as an administrator stops it; jobs go on. */
  stopDaemon(name: DaemonName): Promise<void>;
  /** Resolves when the daemon answers, or is registered. */
  startDaemon(name: DaemonName): Promise<void>;
  /** kill -9 of the node's slurmd; its jobs' processes go on. */
  killNode(node: string): Promise<void>;
  setNode(node: string, state: 'drain' | 'resume' | 'down', reason: string): Promise<void>;
}
