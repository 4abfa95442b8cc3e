/** What was planned as rows of the tables. */
import { reservedMinutes } from '../accounting/charge.ts';
import { volumeId } from '../lease/ids.ts';
import type { Place, Planned } from './planned.ts';
import type { ResolvedRequest } from './resolved.ts';

/** In the order of their client tokens, so that two processes that are given the same ones do not wait for each other. */
export function groupRows(planned: readonly Planned[]): object[] {
  return [...planned]
    .sort((a, b) => order(a.request.clientToken ?? '', b.request.clientToken ?? ''))
    .map(({ groupId, request: r }) => ({ id: groupId, account_id: r.accountId, client_token: r.clientToken, request_hash: r.hash, security_groups: r.securityGroups }));
}

const order = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

export function leaseRows(p: Planned, now: number, granularityS: number): object[] {
  const { request: r } = p;
  return p.leases.map(({ id, nics, place, spotId }, index) => ({
    id, group_id: p.groupId, account_id: r.accountId, launch_index: index, zone: place.zone, ...placeColumns(place, now, r), image_id: r.image.id,
    type: r.type, memory_mb: r.resources.memoryMb, cores: r.resources.cores, disk_mb: r.resources.diskMb, key_name: r.keyName,
    public_key: r.publicKey, user_data: r.userData?.toString('base64') ?? null, nics, duration_s: r.durationS,
    reserved_minutes: reservedMinutes(r.durationS, true, granularityS),
    phases: { accepted: r.acceptedAt, ...(place.kind === 'gathered' ? {} : { placed: now }) }, who: r.who, request_id: r.requestId,
    target: r.grid?.target ?? null, save_as: saveAs(r, index),
    end_protected: r.endProtected, stop_protected: r.stopProtected, rests: r.rests,
    spot_request_id: spotId ?? null, spot_price: r.spot?.price ?? null,
  }));
}

/** A lease on an owned node begins now; one on a borrowed node waits, and its time with it. */
function placeColumns(place: Place, now: number, r: ResolvedRequest): object {
  if (place.kind === 'borrowed') return { state: 'Pending', generation: 0, slot_node_id: place.slotNodeId };
  if (place.kind === 'gathered') return { state: 'Pending', generation: 0, ends_at: iso(place.until) };
  const onNode = { state: 'Unpropagated', node_id: place.nodeId, ends_at: iso(now + r.durationS * 1000) };
  return r.grid?.target === 'Unpropagated' ? { ...onNode, generation: 0 } : { ...onNode, generation: 1, intent_id: place.intentId };
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** Members of a group would all have one name. */
const saveAs = ({ grid, maxCount }: ResolvedRequest, index: number): string | null =>
  (grid?.saveAs == null ? null : maxCount === 1 ? grid.saveAs : `${grid.saveAs}-${index + 1}`);

/** What grid clients call the groups. */
export function gridRows(planned: readonly Planned[]): object[] {
  return planned.flatMap(({ groupId, request: { grid }, gridKey, ensembleId }) => (grid === undefined ? [] : [{
    group_id: groupId, key: gridKey, ensemble_id: ensembleId, facts: { name: grid.name, nics: grid.nics, architecture: grid.architecture, cores: grid.cores },
  }]));
}

export function tagRows(p: Planned): object[] {
  const { accountId, tags, volumeTags } = p.request;
  const rows = (id: string, of: Readonly<Record<string, string>>): object[] => Object.entries(of).map(([key, value]) => ({ resource_id: id, account_id: accountId, key, value }));
  return p.leases.flatMap((l) => [...rows(l.id, tags), ...rows(volumeId(l.id), volumeTags)]);
}
