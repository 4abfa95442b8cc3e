/**
 * What the node remembers of each lease, kept in a journal (`leases.journal`) and in memory. A removed lease leaves a
 * tombstone (its generation and last answers) for 30 days, so that a late start cannot follow a destroy.
 */
import { existsSync } from 'node:fs';
import { isName } from '../../lease/ids.ts';
import { VM_STATES } from '../protocol.ts';
import type { Done, DriverName, VmInfo } from '../protocol.ts';
import type { Clock } from './clock.ts';
import { Journal } from './journal.ts';
import type { Log } from './log.ts';

const TOMBSTONE_MS = 30 * 86_400_000;
const MAX_TOMBSTONES = 50_000;
const REMEMBERED = 8;
/** A removed lease is asked about by its last operations only. */
const REMEMBERED_IN_TOMBSTONE = 2;
const FORMAT = 1;

export interface LeaseRecord extends VmInfo {
  readonly format: typeof FORMAT;
  /** Who runs it; null when nobody ever did. */
  readonly driver: DriverName | null;
  /** Digest of the base image that the VM's disk stands on; null when it has none. */
  readonly sha256: string | null;
  /** Answers to the last operations, oldest first. */
  readonly answers: readonly Done[];
  /** ms since the epoch */
  readonly changedAt: number;
}

export function infoOf(r: LeaseRecord): VmInfo {
  const { lease, generation, state, memoryMb, cores, image, pid, reach, startedAt, reason } = r;
  return { lease, generation, state, memoryMb, cores, image, pid, reach, startedAt, reason };
}

export class Records {
  /** In order of change: the oldest tombstone comes first. */
  readonly #live = new Map<string, LeaseRecord>();
  readonly #tombstones = new Map<string, LeaseRecord>();
  readonly #seen = new Map<string, number>();
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Sentences on what cannot be read, each with how to mend it. */
  readonly problems: string[] = [];

  constructor(file: string, clock: Clock, log: Log) {
    this.#journal = new Journal(file);
    this.#clock = clock;
    this.#log = log;
    this.#load(file);
    this.#prune();
    this.#journal.rewrite(this.#all());
  }

  get(lease: string): LeaseRecord | undefined {
    return this.#live.get(lease) ?? this.#tombstones.get(lease);
  }

  /** The lease as the node knows it; an unknown one is like one removed before its first generation. */
  of(lease: string): LeaseRecord {
    return this.get(lease) ?? {
      format: FORMAT, lease, generation: this.seen(lease), driver: null, state: 'removed', memoryMb: 0, cores: 0, image: '',
      sha256: null, pid: null, reach: null, startedAt: null, reason: null, answers: [], changedAt: this.#clock.now(),
    };
  }

  /** Leases that have something on the node. */
  live(): LeaseRecord[] {
    return [...this.#live.values()];
  }

  /** Highest generation seen; -1 for none. */
  seen(lease: string): number {
    return Math.max(this.get(lease)?.generation ?? -1, this.#seen.get(lease) ?? -1);
  }

  /** Raises the generation from the moment that a request is taken; the next `save` makes it durable. */
  see(lease: string, generation: number): void {
    if (generation > this.seen(lease)) this.#seen.set(lease, generation);
  }

  /** @throws what the file system throws; the index is updated all the same, because the VM has changed already */
  save(changed: LeaseRecord): LeaseRecord {
    const keep = changed.state === 'removed' ? REMEMBERED_IN_TOMBSTONE : REMEMBERED;
    const r: LeaseRecord = {
      ...changed,
      generation: Math.max(changed.generation, this.seen(changed.lease)),
      answers: changed.answers.slice(-keep),
      changedAt: this.#clock.now(),
    };
    this.#index(r);
    if (r.state === 'removed') this.#prune();
    this.#journal.append(r);
    // The service is told that the VM outlives its process, and the node's restart.
    if (r.state === 'serialized') this.#journal.sync();
    if (this.#journal.outgrown) this.#journal.rewrite(this.#all());
    return r;
  }

  close(): void {
    this.#journal.close();
  }

  *#all(): Iterable<LeaseRecord> {
    yield* this.#tombstones.values();
    yield* this.#live.values();
  }

  #load(file: string): void {
    let damaged = 0;
    for (const value of this.#journal.read()) {
      if (isRecord(value)) this.#index(value);
      else damaged += 1;
    }
    const kept = this.#journal.damagedFile;
    if (damaged > 0) {
      this.#journal.setAside();
      this.#log.warn('records cannot be read', { file, damaged, kept });
    }
    if (existsSync(kept)) this.problems.push(`${kept} has entries that cannot be read, so VMs may run that are not listed; look for them, then remove the file`);
  }

  #index(r: LeaseRecord): void {
    this.#live.delete(r.lease);
    this.#tombstones.delete(r.lease);
    this.#seen.delete(r.lease);
    (r.state === 'removed' ? this.#tombstones : this.#live).set(r.lease, r);
  }

  #prune(): void {
    for (const r of this.#tombstones.values()) {
      if (this.#tombstones.size <= MAX_TOMBSTONES && this.#clock.now() - r.changedAt < TOMBSTONE_MS) return;
      this.#tombstones.delete(r.lease);
    }
  }
}

/** The journal is the agent's own; this tells a damaged or foreign entry, no more. */
function isRecord(value: unknown): value is LeaseRecord {
  const r = value as Partial<LeaseRecord> | null | undefined;
  return typeof r === 'object' && r !== null && r.format === FORMAT
    && typeof r.lease === 'string' && isName(r.lease)
    && Number.isSafeInteger(r.generation) && Number.isFinite(r.changedAt) && Array.isArray(r.answers)
    && r.state !== undefined && VM_STATES.includes(r.state) && (r.sha256 === null || typeof r.sha256 === 'string');
}
