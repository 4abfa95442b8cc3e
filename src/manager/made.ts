/** What a create answers: its leases as they were just written, as a describe would read them at that moment. */
import type { Place, Planned } from './planned.ts';
import { leaseFacts } from './planned-rows.ts';
import type { LeaseView } from './types.ts';
import { leaseView } from './view.ts';

/** @param nodeName of a node's id */
export function madeLeases(p: Planned, now: number, nodeName: (nodeId: number) => string): LeaseView[] {
  const { request: r } = p;
  const nodeOf = (place: Place): string | null => (place.kind === 'owned' ? nodeName(place.nodeId) : null);
  return p.leases.map((lease, index) => leaseView({
    ...leaseFacts(p, lease, index, now), account_name: r.who, owner_id: r.ownerId, image_name: r.image.name, client_token: r.clientToken,
    security_groups: r.securityGroups === null ? null : [...r.securityGroups], created_at: now, tags: r.tags, node: nodeOf(lease.place), slot_id: p.slot?.id ?? null,
    reach: null, ended_at: null, running_at: null, reason_code: null, reason: null,
    job_id: null, queue_position: null, queue_reason: null, native_state: null, expected_start: null, grace_ends_at: null, slot_phases: null,
  }));
}
