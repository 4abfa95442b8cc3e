/**
 * What service and agent (workspace-control) say to each other: one JSON object a line, UTF-8, at most MAX_LINE bytes,
 * over any byte stream (an SSH channel, a pipe, a Unix socket).
 *
 * The agent speaks first: `hello`. The service answers `hello` with the highest protocol that both know.
 * Then the service sends requests and the agent answers each with `ack` (taken), any number of `progress`, one `done`.
 *
 *   protocol 1   `do` carries one request, `done` one result
 *   protocol 2   `do` and `done` carry arrays: a group operation is one message; images travel as `put` chunks
 *
 * A request's `id` is remembered with its result: sent again, it is answered again, not done again. A request for a lease
 * carries the lease's generation; the agent keeps the highest it has seen, also after removal, and refuses lower ones
 * (`StaleGeneration`).
 */
import type { Nic, Reach } from '../lease/types.ts';

export const PROTOCOLS = [1, 2] as const;
export type Protocol = (typeof PROTOCOLS)[number];
/** Longest line either side takes; a longer one ends the connection. */
export const MAX_LINE = 1024 * 1024;
/** Bytes of image in one `put` chunk, before base64. */
export const PUT_CHUNK = 192 * 1024;
/** Unacknowledged `put` chunks under way. */
export const PUT_WINDOW = 8;
/** Requests in one `do`. */
export const MAX_GROUP = 256;
/** A 32-bit integer, as the table has it. */
export const MAX_GENERATION = 2 ** 31 - 1;

// ---------------------------------------------------------------- hello

export interface AgentHello {
  readonly program: 'workspace-control';
  /** Version of the program, semver. */
  readonly version: string;
  readonly protocols: readonly number[];
  /** The node's own host name. */
  readonly node: string;
  /** /proc/sys/kernel/random/boot_id: changes when the node was restarted, and its VMs with it. */
  readonly bootId: string;
  readonly pid: number;
  readonly driver: DriverName;
  /** What not every driver can; absent in the hello of older agents. */
  readonly can?: readonly Ability[];
  /** Agent's wall clock, ms, for the estimate of its offset. */
  readonly at: number;
}

export interface ServiceHello {
  readonly program: 'nimbus';
  readonly version: string;
  readonly protocol: Protocol;
}

export type DriverName = 'qemu' | 'simulated';

/** `serialize`: to keep a VM's memory while the VM does not run. */
export const ABILITIES = ['serialize'] as const;
export type Ability = (typeof ABILITIES)[number];

// ---------------------------------------------------------------- requests

export interface ImageRef {
  readonly id: string;
  /** Lower-case hex; the node verifies it before a VM may use the bytes. */
  readonly sha256: string;
  /** Format of the bytes whose digest is `sha256` (gzip is undone when the image is added to the repository). */
  readonly format: 'raw' | 'qcow2';
  readonly sizeBytes: number;
  /** Where the bytes lie when service and agent share a machine; else they travel by `put`. */
  readonly path?: string;
}

/** What the guest is given: a NoCloud seed (cloud-init documentation, "NoCloud"). */
export interface Seed {
  readonly instanceId: string;
  readonly hostname: string;
  readonly publicKeys: readonly string[];
  /** base64; absent = none */
  readonly userData?: string;
}

export interface VmSpec {
  readonly memoryMb: number;
  readonly cores: number;
  /** 0 = the image's own size */
  readonly diskMb: number;
  readonly image: ImageRef;
  readonly nics: readonly Nic[];
  readonly seed: Seed;
}

interface RequestBase {
  /** Operation id. */
  readonly id: string;
  /** Id of the user's request, for the log. */
  readonly requestId?: string;
  /** ms the agent may take; then it answers `DeadlineExceeded`. */
  readonly deadlineMs: number;
}
interface LeaseRequestBase extends RequestBase {
  readonly lease: string;
  readonly generation: number;
}

/** Makes and boots the VM; one that was serialized goes on where it was stopped. */
export interface StartRequest extends LeaseRequestBase { readonly op: 'start'; readonly vm: VmSpec }
export interface PropagateRequest extends LeaseRequestBase { readonly op: 'propagate'; readonly vm: VmSpec }
export interface LeaseOpRequest extends LeaseRequestBase {
  /**
   * `remove` ends the VM and removes every trace of it but the generation; `unpropagate` removes the disk of a stopped VM; `save`
   * ends the VM and makes its disk one file, an image in itself, that `read-saved` reads until the lease is removed; `copy` makes such a file of
   * the disk of a VM that goes on, as it is at one moment, readable for a while; `shutdown`
   * ends the VM and keeps its disk, for another start; `serialize` keeps its memory too. A VM that cannot be serialized runs on.
   */
  readonly op: 'remove' | 'reboot' | 'pause' | 'resume' | 'unpropagate' | 'save' | 'copy' | 'shutdown' | 'serialize';
  /** With `remove`, `save` and `shutdown`: the guest is asked to power down and has so many ms to do it. */
  readonly graceMs?: number;
  /** With a grace: a line for the guest and its user, shown before the guest is asked. */
  readonly notice?: string;
}
export interface ConsoleRequest extends RequestBase {
  readonly op: 'console';
  readonly lease: string;
  /** Bytes wanted from the end of the serial console's output. */
  readonly maxBytes: number;
}
/** A piece of the disk of a VM that was saved, PUT_CHUNK bytes at most; the last one may be shorter, one behind the end is empty. */
export interface ReadSavedRequest extends RequestBase {
  readonly op: 'read-saved';
  readonly lease: string;
  /** Bytes from the file's beginning. */
  readonly offset: number;
  readonly maxBytes: number;
}
export interface InfoRequest extends RequestBase { readonly op: 'info'; readonly lease: string }
export interface ListRequest extends RequestBase { readonly op: 'list' }
/** Facts of the node: what `nimbus node add` checks. */
export interface StatusRequest extends RequestBase { readonly op: 'status' }

/**
 * To an agent that runs in a pilot: the service needs the node no longer; end what is left and give the node back. Other
 * agents refuse it (`BadRequest`).
 */
export interface ReleaseRequest extends RequestBase { readonly op: 'release'; readonly why: string }

export type AgentRequest =
  | ReleaseRequest | StartRequest | PropagateRequest | LeaseOpRequest | ConsoleRequest | ReadSavedRequest | InfoRequest | ListRequest | StatusRequest;

// ---------------------------------------------------------------- results

/**
 * `saving`: off, its disk is being made one file; `saved`: that file can be read. `serializing`: stands still, its memory is being
 * written down; `serialized`: off, its memory is kept; `restoring`: on its way from there to `running`.
 */
export const VM_STATES = [
  'propagated', 'starting', 'running', 'paused', 'stopped', 'saving', 'saved', 'serializing', 'serialized', 'restoring', 'removed',
] as const;
export type VmState = (typeof VM_STATES)[number];

export interface VmInfo {
  readonly lease: string;
  readonly generation: number;
  readonly state: VmState;
  readonly memoryMb: number;
  readonly cores: number;
  readonly image: string;
  /** Process id of the VM, null when it has none. */
  readonly pid: number | null;
  /** Null when the guest cannot be reached. */
  readonly reach: Reach | null;
  /** ms since the epoch, agent's clock. */
  readonly startedAt: number | null;
  readonly reason: string | null;
}

export interface NodeStatus {
  readonly driver: DriverName;
  readonly accelerator: string | null;
  readonly qemuVersion: string | null;
  readonly memoryMb: number;
  readonly cores: number;
  readonly diskFreeMb: number;
  readonly cacheMb: number;
  readonly vms: number;
  /** Sentences on what the node lacks, each with how to mend it. Empty = ready. */
  readonly missing: readonly string[];
}

/** Phases that an operation passes, with the agent's wall clock (ms). */
export type Stamps = Readonly<Partial<Record<AgentPhase, number>>>;
export const AGENT_PHASES = [
  'received', 'propagate-begun', 'propagated', 'start-begun', 'started', 'finished',
] as const;
export type AgentPhase = (typeof AGENT_PHASES)[number];

export type AgentErrorCode =
  | 'StaleGeneration' | 'ImageMissing' | 'ImageCorrupt' | 'NoSuchVm' | 'WrongState' | 'BadRequest' | 'DeadlineExceeded'
  | 'CacheFull' | 'DiskFull' | 'NoPort' | 'DriverFailed' | 'NotPermitted' | 'Retiring' | 'Internal';

export interface AgentError {
  readonly code: AgentErrorCode;
  readonly message: string;
}

export type DoneResult =
  | { readonly vm: VmInfo }
  | { readonly vms: readonly VmInfo[] }
  | { readonly console: string; readonly truncated: boolean; readonly at: number } // base64
  | { readonly saved: string; readonly totalBytes: number } // base64
  | { readonly status: NodeStatus }
  | { readonly releasing: true };

export type Done =
  | { readonly id: string; readonly ok: true; readonly result: DoneResult; readonly stamps: Stamps }
  | { readonly id: string; readonly ok: false; readonly error: AgentError; readonly stamps: Stamps };

// ---------------------------------------------------------------- lines

/** A VM changed without being asked to. Not durable: after a reconnect `list` tells the truth. */
export interface VmEvent {
  readonly kind: 'vm-exited';
  readonly lease: string;
  readonly generation: number;
  readonly at: number;
  readonly reason: string;
}

export type AgentLine =
  | { readonly hello: AgentHello }
  | { readonly ack: readonly string[] }
  | { readonly progress: { readonly id: string; readonly phase: AgentPhase; readonly at: number } }
  | { readonly done: readonly Done[] | Done }
  | { readonly event: VmEvent }
  | { readonly put: { readonly sha256: string; readonly seq: number; readonly ok: boolean; readonly error?: AgentError; readonly complete?: boolean } }
  | { readonly pong: number; readonly at: number }
  | { readonly bye: string };

export type ServiceLine =
  | { readonly hello: ServiceHello }
  | { readonly do: readonly AgentRequest[] | AgentRequest }
  /** One chunk of an image; `seq` counts from 0, `total` is the size in bytes. */
  | { readonly put: { readonly sha256: string; readonly seq: number; readonly data: string; readonly total: number; readonly last: boolean } }
  | { readonly ping: number }
  /** A newer agent takes the node over: finish what runs, take nothing new, go. */
  | { readonly retire: string };
