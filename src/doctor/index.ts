/**
 * `nimbus doctor`: looks whether what the service needs is there, and says how to mend what is not. Adding a check is a file
 * in `checks/` and a line here. Nothing is changed.
 */
import { withDeadline } from '../platform/deadline.ts';
import { errorText } from '../platform/errors.ts';
import { batchSystem } from './checks/batch-system.ts';
import { caps } from './checks/caps.ts';
import { certificates } from './checks/certificates.ts';
import { clocks } from './checks/clocks.ts';
import { database } from './checks/database.ts';
import { epilogue } from './checks/epilogue.ts';
import { grace } from './checks/grace.ts';
import { notification } from './checks/notification.ts';
import { onNodes } from './checks/on-nodes.ts';
import { partition } from './checks/partition.ts';
import { pilotProgram } from './checks/pilot-program.ts';
import { pools } from './checks/pools.ts';
import { ports } from './checks/ports.ts';
import { service } from './checks/service.ts';
import { services } from './checks/services.ts';
import { schema } from './checks/schema.ts';
import { sharedDirectory } from './checks/shared-directory.ts';
import { sinks } from './checks/sinks.ts';
import { spot } from './checks/spot.ts';
import { storage } from './checks/storage.ts';
import { transport } from './checks/transport.ts';
import { trust } from './checks/trust.ts';
import { vmm } from './checks/vmm.ts';
import { vmmNodes } from './checks/vmm-nodes.ts';
import { work } from './checks/work.ts';
import { fail } from './findings.ts';
import type { BatchCheck, Check, DoctorSite, Finding } from './types.ts';

const CHECK_MS = 60_000;

const ALWAYS: readonly Check[] = [service, services, database, schema, ports, certificates, trust, storage, pools, sinks, vmmNodes, vmm, work];
const PILOT_MODE: readonly BatchCheck[] = [
  batchSystem, partition, grace, spot, epilogue, pilotProgram, notification, transport, sharedDirectory, caps, clocks, onNodes,
];

/** In the order of the tables. A check that fails to look is a finding, and keeps no other from looking. */
export async function examine(site: DoctorSite): Promise<Finding[]> {
  const { batch } = site;
  const looks = [
    ...ALWAYS.map((c) => ({ name: c.name, look: async () => c.look(site) })),
    ...(batch === null ? [] : PILOT_MODE.map((c) => ({ name: c.name, look: async () => c.look(batch, site) }))),
  ];
  const found = await Promise.all(looks.map(async ({ name, look }): Promise<readonly Finding[]> => {
    try {
      return await withDeadline(site.ctx.clock, CHECK_MS, `the check ${name}`, look());
    } catch (e) {
      return [fail(name, `the check could not be made: ${errorText(e)}`)];
    }
  }));
  return found.flat();
}
