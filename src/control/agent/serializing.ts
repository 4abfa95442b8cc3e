/**
 * A VM's memory is kept while the VM does not run, and the VM goes on with it. The record says at each moment what an agent that
 * comes after a crash has to look for:
 *
 *   `serializing`   the memory is whole: what is left of the VM is ended; it is not: the VM runs on
 *   `serialized`    the memory is whole, and no guest has run since
 *   `restoring`     as `serialized`, until the memory is used; then as `running`
 */
import type { VmSpec } from '../protocol.ts';
import { within } from './clock.ts';
import type { Clock } from './clock.ts';
import type { Driver, MemoryKeeper, VmPlace } from './driver.ts';
import { AgentFault } from './fault.ts';
import type { Log } from './log.ts';
import type { Operation } from './operation.ts';
import type { LeaseRecord, Records } from './records.ts';

/** What a driver may take to let a VM run on, or to end one that did not come to run. */
const SETTLE_MS = 30_000;
/** Of the deadline, for ending the VM when its memory is written: so much, or half of it. */
const END_MS = 10_000;
const MEMORY_LOST = 'its memory is not there any more';

export interface SerializingParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly driver: Driver;
  readonly records: Records;
  readonly place: (lease: string) => VmPlace;
  readonly watch: (lease: string) => void;
  readonly stopWatching: (lease: string) => void;
  readonly end: (lease: string) => Promise<void>;
}

/** `before`: of a VM that runs or stands still. */
export async function serialize(parts: SerializingParts, op: Operation, before: LeaseRecord): Promise<LeaseRecord> {
  const { records, clock, place, watch, stopWatching } = parts;
  const { lease, deadlineMs } = op.request;
  const memory = keeper(parts.driver);
  records.save({ ...before, state: 'serializing' });
  stopWatching(lease);
  try {
    const ms = Math.max(deadlineMs / 2, deadlineMs - END_MS);
    await op.step(() => memory.save(place(lease), before.memoryMb, ms, op.broken));
    return serialized(records.of(lease));
  } catch (e) {
    await within(clock, SETTLE_MS, op.settled(), () => new AgentFault('DriverFailed', 'the driver does not return'));
    if (await memory.kept(place(lease))) {
      records.save(serialized(before));
    } else {
      records.save({ ...before, state: 'running' });
      watch(lease);
    }
    throw e;
  }
}

/** `before`: of a VM that was serialized. */
export async function restore(parts: SerializingParts, op: Operation, spec: VmSpec, before: LeaseRecord): Promise<LeaseRecord> {
  const { records, clock, driver, place, watch, end } = parts;
  const { lease } = op.request;
  const memory = keeper(driver);
  const restoring = records.save({ ...before, state: 'restoring', reason: null });
  op.reach('start-begun');
  try {
    const vm = await op.step(() => memory.restore(place(lease), spec, op.broken));
    op.reach('started');
    watch(lease);
    return { ...restoring, state: vm.state, pid: vm.pid, reach: vm.reach, startedAt: clock.now() };
  } catch (e) {
    await within(clock, SETTLE_MS, op.settled(), () => new AgentFault('DriverFailed', 'the driver does not return'));
    const kept = await memory.kept(place(lease));
    // What is kept has no process; of what is not, a guest may run that nobody asked to end.
    if (!kept) await end(lease);
    records.save(kept ? before : { ...before, state: 'stopped', reason: MEMORY_LOST });
    throw e;
  }
}

const LEFT: ReadonlySet<LeaseRecord['state']> = new Set(['serializing', 'serialized', 'restoring']);
export const wasSerialized = (record: LeaseRecord): boolean => LEFT.has(record.state);

/** What a new agent finds in one of the three states, as the lease's record. */
export async function recoverSerialized({ driver, records, place }: Pick<SerializingParts, 'driver' | 'records' | 'place'>, record: LeaseRecord): Promise<LeaseRecord> {
  const at = place(record.lease);
  const memory = keeper(driver);
  const [vm, kept] = [await driver.find(at), await memory.kept(at)];
  if (kept) {
    await driver.end(at);
    return records.save(serialized(record));
  }
  if (vm === null) return records.save({ ...record, state: 'stopped', pid: null, reach: null, reason: MEMORY_LOST });
  await memory.drop(at);
  if (vm.state !== 'running') await driver.resume(at);
  return records.save({ ...record, state: 'running', pid: vm.pid, reach: vm.reach, reason: null });
}

const serialized = (record: LeaseRecord): LeaseRecord => ({ ...record, state: 'serialized', pid: null, reach: null });

/** @throws AgentFault NotPermitted */
function keeper({ memory, name }: Driver): MemoryKeeper {
  if (memory === undefined) throw new AgentFault('NotPermitted', `the ${name} driver of this node does not keep the memory of VMs`);
  return memory;
}
