/** What was planned as rows of the tables. */
import { reservedMinutes } from '../accounting/charge.ts';
import type { Place, Planned } from './planned.ts';

/** In the order of their client tokens, so that two processes that are given the same ones do not wait for each other. */
export function groupRows(planned: readonly Planned[]): object[] {
  return [...planned]
    .sort((a, b) => order(a.request.clientToken ?? '', b.request.clientToken ?? ''))
    .map(({ groupId, request: r }) => ({ id: groupId, account_id: r.accountId, client_token: r.clientToken, request_hash: r.hash }));
}

const order = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

export function leaseRows(p: Planned, now: number, granularityS: number): object[] {
  const { request: r } = p;
  return p.leases.map(({ id, nics, place }, index) => ({
    id, group_id: p.groupId, account_id: r.accountId, launch_index: index, zone: place.zone, ...placeColumns(place, now, r.durationS), image_id: r.image.id,
    type: r.type, memory_mb: r.resources.memoryMb, cores: r.resources.cores, disk_mb: r.resources.diskMb, key_name: r.keyName,
    public_key: r.publicKey, user_data: r.userData?.toString('base64') ?? null, nics, duration_s: r.durationS,
    reserved_minutes: reservedMinutes(r.durationS, true, granularityS),
    phases: { accepted: r.acceptedAt, placed: now }, who: r.who, request_id: r.requestId,
  }));
}

/** A lease on an owned node begins now; one on a borrowed node waits, and its time with it. */
function placeColumns(place: Place, now: number, durationS: number): object {
  if (place.kind === 'borrowed') return { state: 'Pending', generation: 0, slot_node_id: place.slotNodeId };
  return { state: 'Unpropagated', generation: 1, node_id: place.nodeId, intent_id: place.intentId, ends_at: new Date(now + durationS * 1000).toISOString() };
}

export function tagRows(p: Planned): object[] {
  return p.leases.flatMap((l) => Object.entries(p.request.tags).map(([key, value]) => (
    { resource_id: l.id, account_id: p.request.accountId, key, value })));
}
