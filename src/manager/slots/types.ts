/** What pilot mode adds to the manager. */
import type { JobRequest, Listing, LrmFacts, SubmitAnswer } from '../../pilot/lrm/types.ts';
import type { SlotNodeState, SlotState } from '../../pilot/states.ts';
import type { SlotsDueRow } from '../../store/slots.ts';

/** What the manager knows and wants of the world of batch jobs; composed in `src/service.ts`, faked in tests. */
export interface Borrowing {
  /** What the batch system said of itself; null = it was not reached yet. */
  facts(): LrmFacts | null;
  /** Slots were written: there is something to submit, to release or to cancel. Must not throw. */
  wake(): void;
  /** VMM nodes were made or ended. */
  nodesChanged(): Promise<void>;
  /** Keys that the site knows of an address, one OpenSSH line each; null = the site knows of none, pilots say theirs. */
  hostKeys(address: string): readonly string[] | null;
}

/** A slot that shall be submitted. */
export interface ToSubmit {
  readonly slotId: string;
  readonly job: Omit<JobRequest, 'credentials' | 'parts'> & { readonly parts: ReadonlyArray<{ readonly nodes: number; readonly cores: number; readonly memoryMb: number }> };
  readonly secret: string;
  readonly nonce: string;
  readonly pilotS: number;
  readonly graceS: number;
  readonly attempt: number;
}

/** A node whose pilot shall give it back. */
export interface ToRelease {
  readonly slotId: string;
  readonly slotNodeId: number;
  readonly nodeId: number;
  readonly why: string;
}

export interface ToCancel {
  readonly slotId: string;
  readonly jobId: string;
}
/** A running job that needs only some of its nodes. */
export interface ToShrink {
  readonly slotId: string;
  readonly jobId: string;
  readonly part: number;
  readonly keep: readonly string[];
}

export interface Releases {
  readonly nodes: readonly ToRelease[];
  readonly cancels: readonly ToCancel[];
  readonly shrinks: readonly ToShrink[];
}

/** The manager as the slot worker sees it. Each call is one transaction; what leaves the process is done by the worker. */
export interface SlotWork {
  /** What there is to do now: nothing, most of the time. */
  due(): Promise<SlotsDueRow>;
  /** Takes slots that are due for submission, `most` at most; they are `Submitting` when this resolves. */
  takeRequested(most: number): Promise<readonly ToSubmit[]>;
  submitted(slotId: string, answer: SubmitAnswer, at: number): Promise<void>;
  /** `askedAt`: when the listing was asked for, ms; what changed later is not in it. `inFlight`: slots whose submission is under way. */
  reconcile(listing: Listing & { kind: 'listing' }, askedAt: number, inFlight: ReadonlySet<string>): Promise<ReconcileResult>;
  /** Messages that were stored and not applied yet, of these slots or of all. */
  applyMessages(slotIds: readonly string[] | null): Promise<void>;
  /** What is to be given back now, of what is due: decided and written; the worker does it, and is asked again until it is done. */
  releases(due: SlotsDueRow): Promise<Releases>;
  cancelled(slotId: string, gone: boolean): Promise<void>;
}

export interface ReconcileResult {
  readonly changed: number;
  readonly live: number;
  /** Jobs that no slot needs: to be cancelled, whatever is answered. */
  readonly strays: readonly ToCancel[];
}

export interface SlotNodeView {
  readonly ordinal: number;
  readonly part: number;
  readonly state: SlotNodeState;
  readonly host: string | null;
  readonly memoryMb: number;
  readonly cores: number;
  readonly leases: readonly string[];
  readonly lastHeard: number | null;
  readonly until: number | null;
  readonly graceEnds: number | null;
  readonly reason: string | null;
  /** ms since the epoch on the service's clock, by name of the moment. */
  readonly phases: Readonly<Record<string, number>>;
}

export interface SlotView {
  readonly id: string;
  readonly user: string;
  /** Its leases are preemptible, and its job is one of lower standing. */
  readonly preemptible: boolean;
  readonly state: SlotState;
  readonly lrm: string;
  readonly jobId: string | null;
  readonly nativeState: string | null;
  readonly position: number | null;
  readonly waitsFor: string | null;
  readonly expectedStart: number | null;
  readonly nodes: readonly SlotNodeView[];
  readonly durationS: number;
  readonly walltimeS: number;
  readonly graceS: number;
  readonly createdAt: number;
  readonly submittedAt: number | null;
  readonly readyAt: number | null;
  readonly endedAt: number | null;
  readonly reasonCode: string | null;
  readonly reason: string | null;
}
