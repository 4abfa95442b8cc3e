/** What was planned as rows of the tables. */
import { reservedMinutes } from '../accounting/charge.ts';
import { volumeId } from '../lease/ids.ts';
import type { LeaseRow } from '../store/leases.ts';
import type { Place, Planned, PlannedLease } from './planned.ts';
import type { ResolvedRequest } from './resolved.ts';

/** In the order of their client tokens, so that two processes that are given the same ones do not wait for each other. */
export function groupRows(planned: readonly Planned[]): object[] {
  return [...planned]
    .sort((a, b) => order(a.request.clientToken ?? '', b.request.clientToken ?? ''))
    .map(({ groupId, request: r }) => ({ id: groupId, account_id: r.accountId, client_token: r.clientToken, request_hash: r.hash, security_groups: r.securityGroups }));
}

const order = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);

type Facts = Pick<LeaseRow, 'id' | 'group_id' | 'account_id' | 'launch_index' | 'zone' | 'state' | 'generation' | 'ends_at' | 'image_id' | 'type'
  | 'memory_mb' | 'cores' | 'disk_mb' | 'key_name' | 'nics' | 'phases' | 'spot_request_id'>;

/** What everyone sees of a lease that is made. */
export function leaseFacts({ request: r, groupId }: Planned, { id, nics, place, spotId }: PlannedLease, index: number, now: number): Facts {
  return {
    id, group_id: groupId, account_id: r.accountId, launch_index: index, zone: place.zone, ...beginning(place, now, r), image_id: r.image.id, type: r.type,
    memory_mb: r.resources.memoryMb, cores: r.resources.cores, disk_mb: r.resources.diskMb, key_name: r.keyName, nics,
    phases: { accepted: r.acceptedAt, ...(place.kind === 'gathered' ? {} : { placed: now }) }, spot_request_id: spotId ?? null,
  };
}

export function leaseRows(p: Planned, now: number, granularityS: number): object[] {
  const { request: r } = p;
  return p.leases.map((lease, index) => {
    const facts = leaseFacts(p, lease, index, now);
    return {
      ...facts, ends_at: facts.ends_at === null ? null : new Date(facts.ends_at).toISOString(), ...placeColumns(lease.place, r),
      public_key: r.publicKey, user_data: r.userData?.toString('base64') ?? null, duration_s: r.durationS,
      reserved_minutes: reservedMinutes(r.durationS, true, granularityS), who: r.who, request_id: r.requestId,
      target: r.grid?.target ?? null, save_as: saveAs(r, index), end_protected: r.endProtected, stop_protected: r.stopProtected, rests: r.rests,
      spot_price: r.spot?.price ?? null,
    };
  });
}

/** A lease on an owned node begins now; one on a borrowed node waits, and its time with it. */
function beginning(place: Place, now: number, r: ResolvedRequest): Pick<Facts, 'state' | 'generation' | 'ends_at'> {
  if (place.kind === 'borrowed') return { state: 'Pending', generation: 0, ends_at: null };
  if (place.kind === 'gathered') return { state: 'Pending', generation: 0, ends_at: place.until };
  return { state: 'Unpropagated', generation: rests(r) ? 0 : 1, ends_at: now + r.durationS * 1000 };
}

function placeColumns(place: Place, r: ResolvedRequest): object {
  if (place.kind === 'borrowed') return { slot_node_id: place.slotNodeId };
  if (place.kind === 'gathered') return {};
  return rests(r) ? { node_id: place.nodeId } : { node_id: place.nodeId, intent_id: place.intentId };
}

/** Nothing is fetched before its user says so. */
const rests = (r: ResolvedRequest): boolean => r.grid?.target === 'Unpropagated';

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
