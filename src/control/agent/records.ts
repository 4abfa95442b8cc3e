/**
 * What the node remembers of each lease: one JSON file a lease, replaced by rename. A removed lease leaves a tombstone (its
 * generation and last answers) for 30 days, so that a late start cannot follow a destroy.
 *
 * Nothing is synced to disk: what survives a crash of the agent survives in the page cache, and a crash of the machine
 * ends its VMs and the service's channels with it.
 */
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isName } from '../../lease/ids.ts';
import type { Done, DriverName, VmInfo, VmState } from '../protocol.ts';
import type { Clock } from './clock.ts';
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
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Sentences on files that cannot be read, each with how to mend it. */
  readonly problems: string[] = [];

  constructor(dir: string, clock: Clock, log: Log) {
    this.#dir = dir;
    this.#clock = clock;
    this.#log = log;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const records = readdirSync(dir).flatMap((file) => this.#read(file)).sort((a, b) => a.changedAt - b.changedAt);
    for (const r of records) this.#index(r);
    this.#prune();
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
    const file = this.#file(r.lease);
    writeFileSync(`${file}.tmp`, JSON.stringify(r), { mode: 0o600 });
    renameSync(`${file}.tmp`, file);
    if (r.state === 'removed') this.#prune();
    return r;
  }

  #file(lease: string): string {
    return join(this.#dir, `${lease}.json`);
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
      rmSync(this.#file(r.lease), { force: true });
    }
  }

  #read(file: string): LeaseRecord[] {
    const path = join(this.#dir, file);
    if (file.endsWith('.tmp')) {
      rmSync(path, { force: true });
      return [];
    }
    try {
      return [check(JSON.parse(readFileSync(path, 'utf8')), file)];
    } catch (e) {
      const why = e instanceof Error ? e.message : String(e);
      this.#log.warn('record cannot be read', { path, why });
      if (this.problems.length < 100) this.problems.push(`record ${path} cannot be read (${why}); remove the lease or the file`);
      return [];
    }
  }
}

const STATES: readonly VmState[] = ['propagated', 'starting', 'running', 'paused', 'stopped', 'removed'];

/** The files are the agent's own; this tells a damaged or foreign one, no more. */
function check(value: unknown, file: string): LeaseRecord {
  const r = value as Partial<LeaseRecord> | null;
  if (typeof r !== 'object' || r === null || r.format !== FORMAT) throw new Error('not a record of this format');
  if (typeof r.lease !== 'string' || !isName(r.lease) || file !== `${r.lease}.json`) throw new Error('its name is not its lease');
  const sound = Number.isSafeInteger(r.generation) && Number.isFinite(r.changedAt) && Array.isArray(r.answers)
    && r.state !== undefined && STATES.includes(r.state) && (r.sha256 === null || typeof r.sha256 === 'string');
  if (!sound) throw new Error('fields are missing');
  return r as LeaseRecord;
}
