/** Where the time of leases went, one by one and as a group. */
import { Fault } from '../../lease/faults.ts';
import { GROUP_ID, LEASE_ID } from '../../lease/ids.ts';
import { breakdown, summary, type Moments } from '../../lease/phases.ts';
import type { LeaseRow } from '../../store/leases.ts';
import { leasesByIds, leasesOfGroup } from '../../store/leases.ts';
import { endsAsked } from '../../store/slot-report.ts';
import type { AdminManager } from '../admin-types.ts';
import { readLeases } from '../view.ts';
import type { AdminDeps } from './deps.ts';

export function breakdownAdministration({ db }: AdminDeps): AdminManager['breakdown'] {
  async function rowsOf(id: string): Promise<LeaseRow[]> {
    if (GROUP_ID.test(id)) return readLeases(db, leasesOfGroup, [id]);
    if (LEASE_ID.test(id)) return readLeases(db, leasesByIds, [[id], null]);
    throw new Fault('ParameterInvalid', 'A breakdown is of a lease (i-…) or of a group (r-…)', [`"${id.slice(0, 64)}" is neither`]);
  }

  return {
    async of(id) {
      const rows = await rowsOf(id);
      if (rows.length === 0) throw new Fault('ResourceNotFound', `There is no lease or group ${id}`);
      const asked = new Map((await db.query(endsAsked, [rows.map((r) => r.id)])).map((e) => [e.lease_id, e.at]));
      const leases = rows.map((r) => ({ row: r, moments: momentsOf(r, asked.get(r.id)) }));
      return {
        id,
        leases: leases.map(({ row, moments }) => ({ id: row.id, index: row.launch_index, node: row.node, rows: breakdown(moments) })),
        summary: summary(leases.map((l) => l.moments)),
      };
    },
  };
}

/** A lease that never had a VM has none to destroy. */
function momentsOf(r: LeaseRow, endAsked: number | undefined): Moments {
  const started = r.phases.received !== undefined;
  return {
    ...r.slot_phases, ...r.phases,
    ...(started && endAsked !== undefined ? { 'end-asked': endAsked } : {}),
    ...(started && r.ended_at !== null ? { ended: r.ended_at } : {}),
  };
}
