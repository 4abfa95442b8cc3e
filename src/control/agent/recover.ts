/** What a new agent does with the records of the one before it: finds each VM, watches it, notes which are gone. */
import { within } from './clock.ts';
import type { Clock } from './clock.ts';
import type { Driver } from './driver.ts';
import { AgentFault } from './fault.ts';
import { Lanes } from './lanes.ts';
import type { Log } from './log.ts';
import type { LeaseRecord, Records } from './records.ts';
import { wasSerialized } from './serializing.ts';
import type { Vms } from './vms.ts';

const FIND_MS = 10_000;
const AT_ONCE = 32;

export interface RecoverParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly driver: Driver;
  readonly records: Records;
  readonly vms: Vms;
}

export async function recoverVms(parts: RecoverParts): Promise<void> {
  const lanes = new Lanes(AT_ONCE);
  for (const record of parts.records.live()) {
    lanes.add(record.lease, async () => {
      await parts.vms.clean(record.lease);
      if (record.state !== 'propagated' && record.state !== 'stopped') await recover(parts, record);
    });
  }
  await lanes.idle();
}

async function recover({ clock, log, driver, records, vms }: RecoverParts, record: LeaseRecord): Promise<void> {
  const { lease } = record;
  const late = (): Error => new AgentFault('DriverFailed', `no answer within ${FIND_MS} ms`);
  try {
    const vm = wasSerialized(record) ? null : await within(clock, FIND_MS, driver.find(vms.place(lease)), late);
    // The file is on disk before the record says so: a power cut may have taken the record alone.
    if (vm === null && (wasSerialized(record) || (await driver.memory?.kept(vms.place(lease))) === true)) {
      await within(clock, FIND_MS, vms.recoverSerialized(record), late);
      return;
    }
    if (vm === null && record.state === 'starting') {
      // It never ran: nothing has ended, and the request that was under way comes again.
      await vms.discard(record);
      return;
    }
    if (vm === null) {
      records.save({ ...record, state: 'stopped', pid: null, reach: null, reason: reasonFor(record) });
      return;
    }
    records.save({ ...record, state: vm.state, pid: vm.pid, reach: vm.reach, startedAt: record.startedAt ?? clock.now(), reason: null });
    vms.watch(lease);
  } catch (e) {
    // It may well run: the record keeps its state, the driver is asked again when the service asks for something.
    log.error('VM cannot be found again', { lease, why: String(e) });
    vms.watch(lease);
  }
}

function reasonFor(record: LeaseRecord): string {
  return record.state === 'saving' || record.state === 'saved' ? 'the agent ended before its disk was fetched' : 'the VM had ended when the agent was started';
}
