/**
 * What each operation does to a VM: records, image cache, directory and driver in the right order. Each takes an operation
 * that may be broken off at any step and returns the lease's new record; what it made before it failed, it removes.
 */
import { mkdirSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeDirectory } from '../../platform/make-directory.ts';
import type { AgentRequest, VmEvent, VmSpec } from '../protocol.ts';
import type { ImageCache } from './cache.ts';
import { within } from './clock.ts';
import type { Clock, Timer } from './clock.ts';
import type { Driver, VmPlace } from './driver.ts';
import { AgentFault } from './fault.ts';
import type { Log } from './log.ts';
import type { LeaseRequest, Operation } from './operation.ts';
import type { LeaseRecord, Records } from './records.ts';
import { writeSeed } from './seed.ts';
import { recoverSerialized, restore, serialize, wasSerialized } from './serializing.ts';
import type { SerializingParts } from './serializing.ts';

/** A driver that does not end a VM in this time is left to itself and the failure reported. */
const END_MS = 30_000;
const NOTICE_MS = 5_000;
/**
 * A copy that nobody has read for so long is nobody's. Others may be fetched first, from this node and for its user; and one goes
 * sooner, with the VM's next operation or when the next agent begins.
 */
const COPY_KEPT_MS = 6 * 3_600_000;

export interface VmParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly driver: Driver;
  readonly records: Records;
  readonly cache: ImageCache;
  /** Directory of the VMs' directories. */
  readonly vmsDir: string;
  readonly onEvent: (event: VmEvent) => void;
}

type MakeRequest = Extract<AgentRequest, { vm: VmSpec }>;

export class Vms {
  readonly #parts: VmParts;
  readonly #unwatch = new Map<string, () => void>();
  /** Lease → the one file that its disk was saved to. */
  readonly #saved = new Map<string, string>();
  /** Lease → the one file that its disk was copied to, and the timer that removes it. */
  readonly #copies = new Map<string, { readonly file: string; timer: Timer }>();

  constructor(parts: VmParts) {
    this.#parts = parts;
    makeDirectory(parts.vmsDir, 0o700);
  }

  perform(op: Operation): Promise<LeaseRecord> {
    if (op.request.op !== 'copy') this.#dropCopy(op.request.lease);
    switch (op.request.op) {
      case 'start':
      case 'propagate':
        return this.#make(op as Operation<MakeRequest>, op.request);
      case 'remove':
        return this.#remove(op);
      case 'unpropagate':
        return this.#unpropagate(op);
      case 'save':
        return this.#save(op);
      case 'copy':
        return this.#copy(op);
      case 'shutdown':
        return this.#shutdown(op);
      case 'serialize':
        return this.#serialize(op);
      case 'reboot':
        return this.#reboot(op);
      case 'pause':
        return this.#change(op, 'running', 'paused', (place) => this.#parts.driver.pause(place));
      case 'resume':
        return this.#change(op, 'paused', 'running', (place) => this.#parts.driver.resume(place));
    }
  }

  place(lease: string): VmPlace {
    return { lease, dir: join(this.#parts.vmsDir, lease) };
  }

  watch(lease: string): void {
    this.#stopWatching(lease);
    this.#unwatch.set(lease, this.#parts.driver.watch(this.place(lease), (reason) => this.#exited(lease, reason)));
  }

  /** Tells the guest, then presses its power button. What fails is logged: there is nobody to tell. */
  async notice(lease: string, text: string): Promise<void> {
    const { driver } = this.#parts;
    const place = this.place(lease);
    await Promise.all([this.#tell(lease, NOTICE_MS, driver.notice(place, text)), this.#tell(lease, NOTICE_MS, driver.powerDown(place, 0))]);
  }

  async #tell(lease: string, ms: number, work: Promise<unknown>): Promise<void> {
    const { clock, log } = this.#parts;
    await within(clock, ms, work, () => new AgentFault('DriverFailed', `no answer within ${ms} ms`))
      .catch((e: unknown) => log.warn('a guest could not be told', { lease, why: String(e) }));
  }

  /** At most `maxBytes` of the disk that was saved, and how many it has. */
  async readSaved(lease: string, offset: number, maxBytes: number): Promise<{ bytes: Buffer; totalBytes: number }> {
    const name = this.#copies.get(lease)?.file ?? this.#saved.get(lease);
    if (name === undefined) throw new AgentFault('WrongState', `no disk of ${lease} was saved`);
    this.#keepCopy(lease);
    const file = await open(name, 'r');
    try {
      const [{ bytesRead, buffer }, { size }] = [await file.read(Buffer.alloc(maxBytes), 0, maxBytes, offset), await file.stat()];
      return { bytes: buffer.subarray(0, bytesRead), totalBytes: size };
    } finally {
      await file.close();
    }
  }

  /** Nobody fetches what an agent before this one saved or copied: it is asked for again. */
  async clean(lease: string): Promise<void> {
    await this.#parts.driver.clean(this.place(lease)).catch((e: unknown) => this.#parts.log.warn('saved and copied disks of an agent before were not removed', { lease, why: String(e) }));
  }

  /** Removes what an agent that died had made of a VM that it did not come to start. */
  async discard(record: LeaseRecord): Promise<void> {
    await this.#end(record.lease);
    await rm(this.place(record.lease).dir, { recursive: true, force: true });
    this.#parts.records.save({ ...record, state: 'removed', sha256: null, pid: null, reach: null });
  }

  /** Of a VM that an agent before this one was serializing, had serialized or was restoring. */
  async recoverSerialized(record: LeaseRecord): Promise<LeaseRecord> {
    const found = await recoverSerialized(this.#serializing, record);
    if (found.state === 'running') this.watch(record.lease);
    return found;
  }

  /** What could not be found out when the agent began, or when an operation was broken off, is found out now. */
  #settled(record: LeaseRecord): LeaseRecord | Promise<LeaseRecord> {
    return record.state !== 'serialized' && wasSerialized(record) ? this.recoverSerialized(record) : record;
  }

  get #serializing(): SerializingParts {
    const { clock, log, driver, records } = this.#parts;
    return {
      clock, log, driver, records, place: (lease) => this.place(lease), watch: (lease) => this.watch(lease),
      stopWatching: (lease) => this.#stopWatching(lease), end: (lease) => this.#end(lease),
    };
  }

  close(): void {
    for (const { timer } of this.#copies.values()) timer.cancel();
    for (const lease of [...this.#unwatch.keys()]) this.#stopWatching(lease);
  }

  async #make(op: Operation<MakeRequest>, request: MakeRequest): Promise<LeaseRecord> {
    const before = await this.#settled(this.#parts.records.of(request.lease));
    if (request.op === 'start' && before.state === 'running' && sameVm(before, request.vm)) return before;
    if (before.state === 'running' || before.state === 'paused') throw wrongState(request, before);
    if (before.state === 'serialized') {
      if (request.op === 'propagate') throw wrongState(request, before);
      return restore(this.#serializing, op, request.vm, before);
    }
    await this.#dropSaved(request.lease);
    const { memoryMb, cores, image } = request.vm;
    // Written before anything is made: a crash from here on leaves a record that leads to what was made.
    const making = this.#parts.records.save({
      ...before, state: 'starting', driver: this.#parts.driver.name, memoryMb, cores, image: image.id, sha256: image.sha256,
      pid: null, reach: null, startedAt: null, reason: null,
    });
    try {
      await this.#propagate(op, request.vm);
      return request.op === 'propagate' ? { ...making, state: 'propagated' } : await this.#start(op, request.vm, making);
    } catch (e) {
      await this.#undo(op, before);
      throw e;
    }
  }

  /** A driver without disks of its own answers with a file that is everybody's. */
  async #removeOwn(lease: string, file: string): Promise<void> {
    if (dirname(file) === this.place(lease).dir) await rm(file, { force: true });
  }

  /** The file of a disk that was saved and fetched; the disk itself goes on. */
  async #dropSaved(lease: string): Promise<void> {
    const file = this.#saved.get(lease);
    this.#saved.delete(lease);
    if (file !== undefined) await this.#removeOwn(lease, file);
  }

  async #propagate(op: Operation, spec: VmSpec): Promise<void> {
    const { cache, driver } = this.#parts;
    const place = this.place(op.request.lease);
    op.reach('propagate-begun');
    const base = await op.step(() => cache.ensure(spec.image));
    if (driver.fileless !== true) {
      mkdirSync(place.dir, { recursive: true, mode: 0o700 });
      writeSeed(place.dir, spec);
    }
    await op.step(() => driver.prepare(place, spec, base));
    op.reach('propagated');
  }

  async #start(op: Operation, spec: VmSpec, making: LeaseRecord): Promise<LeaseRecord> {
    const { driver, clock } = this.#parts;
    op.reach('start-begun');
    const vm = await op.step(() => driver.start(this.place(op.request.lease), spec));
    op.reach('started');
    this.watch(op.request.lease);
    return { ...making, state: vm.state, pid: vm.pid, reach: vm.reach, startedAt: clock.now() };
  }

  /** Back to what was there before: nothing, or the disk of a VM that does not run. */
  async #undo(op: Operation, before: LeaseRecord): Promise<void> {
    const { lease } = op.request;
    try {
      // The first end breaks a start that hangs, the second ends what came up all the same.
      await this.#end(lease);
      await within(this.#parts.clock, END_MS, op.settled(), () => new AgentFault('DriverFailed', 'the driver does not return'));
      await this.#end(lease);
      if (before.state === 'removed') {
        await rm(this.place(lease).dir, { recursive: true, force: true });
        this.#parts.records.save({ ...before, state: 'removed', sha256: null });
      } else {
        this.#parts.records.save(before);
      }
    } catch (e) {
      this.#parts.log.error('a failed start could not be undone', { lease, why: String(e) });
      this.#parts.records.save({ ...this.#parts.records.of(lease), state: 'stopped', reason: `a failed start could not be undone: ${String(e)}` });
    }
  }

  async #remove(op: Operation): Promise<LeaseRecord> {
    const { lease } = op.request;
    await this.#off(op);
    this.#saved.delete(lease);
    await this.#parts.driver.memory?.drop(this.place(lease));
    await rm(this.place(lease).dir, { recursive: true, force: true });
    return { ...this.#parts.records.of(lease), state: 'removed', sha256: null, pid: null, reach: null };
  }

  /** Between the VM's end and its disk's removal there is something to wait for: the record says so, and `vms` counts it. */
  async #save(op: Operation): Promise<LeaseRecord> {
    const { records, driver } = this.#parts;
    const { lease, deadlineMs } = op.request;
    const before = this.#existing(op.request);
    if (before.state === 'saved' && this.#saved.has(lease)) return before;
    await this.#off(op);
    const off = { ...records.of(lease), pid: null, reach: null };
    records.save({ ...off, state: 'saving' });
    try {
      this.#saved.set(lease, await op.step(() => driver.save(this.place(lease), deadlineMs, op.broken)));
      await driver.memory?.drop(this.place(lease));
      return { ...records.of(lease), state: 'saved' };
    } catch (e) {
      records.save(before.state === 'serialized' ? before : { ...off, state: 'stopped', reason: 'its disk was not saved' });
      throw e;
    }
  }

  /** The VM's record stays what it is: it runs. */
  async #copy(op: Operation): Promise<LeaseRecord> {
    const { driver, records, clock } = this.#parts;
    const { lease, deadlineMs } = op.request;
    const before = this.#existing(op.request);
    if (before.state !== 'running') throw wrongState(op.request, before);
    this.#dropCopy(lease);
    const file = await op.step(() => driver.copy(this.place(lease), deadlineMs, op.broken));
    this.#copies.set(lease, { file, timer: clock.after(COPY_KEPT_MS, () => this.#dropCopy(lease), true) });
    return records.of(lease);
  }

  /** Somebody fetches it. */
  #keepCopy(lease: string): void {
    const copy = this.#copies.get(lease);
    if (copy === undefined) return;
    copy.timer.cancel();
    copy.timer = this.#parts.clock.after(COPY_KEPT_MS, () => this.#dropCopy(lease), true);
  }

  #dropCopy(lease: string): void {
    const copy = this.#copies.get(lease);
    if (copy === undefined) return;
    this.#copies.delete(lease);
    copy.timer.cancel();
    this.#removeOwn(lease, copy.file).catch((e: unknown) => this.#parts.log.warn('a copied disk was not removed', { lease, why: String(e) }));
  }

  /** Asked again, it is answered again. */
  async #serialize(op: Operation): Promise<LeaseRecord> {
    const before = await this.#settled(this.#existing(op.request));
    if (before.state === 'serialized') return before;
    if (before.state !== 'running' && before.state !== 'paused') throw wrongState(op.request, before);
    return serialize(this.#serializing, op, before);
  }

  /** Asked again, there is nothing left to end. */
  async #shutdown(op: Operation): Promise<LeaseRecord> {
    const before = this.#existing(op.request);
    if (before.state === 'propagated') return before;
    await this.#off(op);
    return { ...this.#parts.records.of(op.request.lease), state: 'propagated', pid: null, reach: null };
  }

  /** Ends the VM, after the time that its guest has to power down. */
  async #off(op: Operation): Promise<void> {
    const { lease } = op.request;
    try {
      await op.step(() => this.#powerDown(op));
      await op.step(() => this.#end(lease));
    } catch (e) {
      const { state } = this.#parts.records.of(lease);
      if (state === 'running' || state === 'paused') this.watch(lease);
      throw e;
    }
  }

  /** The VM's end during its grace is what was asked for: nobody is told of it as of an exit. */
  async #powerDown(op: Operation): Promise<void> {
    const { driver, log, records } = this.#parts;
    const { lease } = op.request;
    const notice = 'notice' in op.request ? op.request.notice : undefined;
    if (op.graceMs <= 0 || records.of(lease).state !== 'running') return;
    this.#stopWatching(lease);
    if (notice !== undefined) await this.#tell(lease, Math.min(NOTICE_MS, op.graceMs), driver.notice(this.place(lease), notice));
    const ms = op.graceMs;
    try {
      const down = await driver.powerDown(this.place(lease), ms, op.hurry);
      log.info(down ? 'guest has powered down' : 'guest has not powered down', { lease, ms });
    } catch (e) {
      log.warn('guest could not be asked to power down', { lease, why: String(e) });
    }
  }

  async #unpropagate(op: Operation): Promise<LeaseRecord> {
    const before = this.#parts.records.of(op.request.lease);
    if (before.state === 'running' || before.state === 'paused') throw wrongState(op.request, before);
    return this.#remove(op);
  }

  async #reboot(op: Operation): Promise<LeaseRecord> {
    const before = this.#existing(op.request);
    if (before.state !== 'running') throw wrongState(op.request, before);
    await op.step(() => this.#parts.driver.reboot(this.place(op.request.lease)));
    return this.#parts.records.of(op.request.lease);
  }

  /** Asked for a state that holds already, the answer is yes: the asker may have lost the first answer. */
  async #change(op: Operation, from: 'running' | 'paused', to: 'running' | 'paused', act: (place: VmPlace) => Promise<void>): Promise<LeaseRecord> {
    const before = this.#existing(op.request);
    if (before.state === to) return before;
    if (before.state !== from) throw wrongState(op.request, before);
    await op.step(() => act(this.place(op.request.lease)));
    const after = this.#parts.records.of(op.request.lease);
    return after.state === from ? { ...after, state: to } : after;
  }

  #existing(request: LeaseRequest): LeaseRecord {
    const record = this.#parts.records.get(request.lease);
    if (record === undefined || record.state === 'removed') throw new AgentFault('NoSuchVm', `no VM ${request.lease} on this node`);
    return record;
  }

  #end(lease: string): Promise<void> {
    this.#stopWatching(lease);
    return within(this.#parts.clock, END_MS, this.#parts.driver.end(this.place(lease)), () => new AgentFault('DriverFailed', `the VM did not end within ${END_MS} ms`));
  }

  #stopWatching(lease: string): void {
    this.#unwatch.get(lease)?.();
    this.#unwatch.delete(lease);
  }

  #exited(lease: string, reason: string): void {
    this.#stopWatching(lease);
    const { records, clock, log, onEvent } = this.#parts;
    const before = records.get(lease);
    if (before === undefined || (before.state !== 'running' && before.state !== 'paused')) return;
    log.info('VM ended by itself', { lease, reason });
    try {
      records.save({ ...before, state: 'stopped', pid: null, reach: null, reason });
    } catch (e) {
      log.error('record cannot be written', { lease, why: String(e) });
    }
    onEvent({ kind: 'vm-exited', lease, generation: before.generation, at: clock.now(), reason });
  }
}

function sameVm(r: LeaseRecord, vm: VmSpec): boolean {
  return r.memoryMb === vm.memoryMb && r.cores === vm.cores && r.sha256 === vm.image.sha256;
}

function wrongState(request: LeaseRequest, r: LeaseRecord): AgentFault {
  return new AgentFault('WrongState', `${request.op} of ${request.lease} is not possible: it is ${r.state}${r.reason === null ? '' : ` (${r.reason})`}`);
}
