/**
 * Creates leases. Requests that wait at the same moment share one transaction: each is planned in turn against the pool,
 * what was planned is checked again under row locks, and one commit carries all of them. A request is answered after
 * exactly one commit. When another process has taken room meanwhile, the pool is read again and the batch planned anew.
 */
import { Fault, isFault } from '../lease/faults.ts';
import { createBatcher } from '../platform/batcher.ts';
import { newGroupId, newLeaseId } from '../platform/ids.ts';
import { isUnavailable, type Queryable } from '../store/db.ts';
import { groupsByToken, insertGroups, insertLeases, liveLeaseCounts } from '../store/leases.ts';
import { holdImages } from '../store/images.ts';
import { holdNetworks } from '../store/networks.ts';
import { holdAccounts } from '../store/users.ts';
import type { ManagerDeps } from './deps.ts';
import { assignNics } from './nics.ts';
import { RoomTaken } from './placing/types.ts';
import type { Place, Planned } from './planned.ts';
import type { ResolvedRequest } from './resolved.ts';
import { HANDOVER_MS } from './transitions.ts';

/** Requests in one transaction, and requests that may wait for the next one. */
const MOST_IN_BATCH = 64;
const MOST_WAITING = 2_000;
/** Attempts against other processes that take the same room. */
const MOST_ATTEMPTS = 4;

export interface Created {
  readonly groupId: string;
  /** True when the client token named an earlier request. */
  readonly repeated: boolean;
}

export function createLeaseCreator(deps: ManagerDeps): (request: ResolvedRequest) => Promise<Created> {
  const batcher = createBatcher<ResolvedRequest, Created>({
    most: MOST_IN_BATCH,
    mostWaiting: MOST_WAITING,
    full: () => new Fault('Busy', `${MOST_WAITING} requests for leases are waiting already`),
    run: (requests) => runBatch(deps, requests),
  });
  return (request) => batcher.add(request);
}

async function runBatch(deps: ManagerDeps, requests: readonly ResolvedRequest[]): Promise<Outcome[]> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await attemptBatch(deps, requests);
    } catch (e) {
      deps.placer.invalidate();
      if (!(e instanceof RoomTaken) || attempt === MOST_ATTEMPTS) {
        // One bad request must not fail its neighbours: each is tried alone. But a batch whose commit was not answered may
        // have been written, and would be written twice.
        if (requests.length > 1 && !isUnavailable(e)) return inTurn(deps, requests);
        throw e instanceof RoomTaken ? new Fault('Busy', 'other requests took the room several times; try again') : e;
      }
    }
  }
}

async function inTurn(deps: ManagerDeps, requests: readonly ResolvedRequest[]): Promise<Outcome[]> {
  const results: Outcome[] = [];
  for (const r of requests) results.push(...await runBatch(deps, [r]).catch((e: unknown) => [e as Error]));
  return results;
}

type Outcome = Created | Error;
interface Entry {
  readonly request: ResolvedRequest;
  readonly index: number;
}

async function attemptBatch(deps: ManagerDeps, requests: readonly ResolvedRequest[]): Promise<Outcome[]> {
  await deps.placer.ready();
  const outcomes = new Map<number, Outcome>();
  const planned: Planned[] = [];
  const { entries, repeats } = byToken(requests);
  const intentIds = await deps.db.transaction(async (tx) => {
    await answerRepeats(tx, entries, outcomes);
    const open = entries.filter((e) => !outcomes.has(e.index));
    const live = await liveLeases(tx, open);
    if (open.length > 0) await deps.placer.open(tx);
    for (const entry of open) {
      const p = await plan(deps, entry, live);
      if (isFault(p)) outcomes.set(entry.index, p);
      else planned.push(p);
    }
    return planned.length === 0 ? [] : write(deps, tx, planned, outcomes);
  }).catch((e: unknown) => {
    giveBack(deps, planned);
    throw e;
  });
  if (intentIds.length > 0) deps.handOver(intentIds);
  if (planned.some((p) => p.slot !== undefined)) deps.borrowing?.wake();
  for (const { entry, first } of repeats) outcomes.set(entry.index, repeatOf(entry.request, first.request, outcomes.get(first.index)));
  return requests.map((_, i) => outcomes.get(i) ?? new Fault('Internal', 'the request was lost'));
}

/** Of equal client tokens in one batch the first is tried; the others take no room and get its answer. */
function byToken(requests: readonly ResolvedRequest[]): { entries: Entry[]; repeats: Array<{ entry: Entry; first: Entry }> } {
  const firsts = new Map<string, Entry>();
  const entries: Entry[] = [];
  const repeats: Array<{ entry: Entry; first: Entry }> = [];
  for (const [index, request] of requests.entries()) {
    const entry = { request, index };
    const key = `${request.accountId} ${request.clientToken}`;
    const first = request.clientToken === null ? undefined : firsts.get(key);
    if (first !== undefined) repeats.push({ entry, first });
    else {
      entries.push(entry);
      firsts.set(key, entry);
    }
  }
  return { entries, repeats };
}

function repeatOf(request: ResolvedRequest, first: ResolvedRequest, outcome: Outcome | undefined): Outcome {
  if (request.hash !== first.hash) return tokenMismatch(request);
  return outcome === undefined || outcome instanceof Error ? outcome ?? new Fault('Internal', 'the request was lost') : { ...outcome, repeated: true };
}

const tokenMismatch = (r: ResolvedRequest): Fault => new Fault('TokenMismatch', `client token ${r.clientToken} was used before with other parameters: send the same request again, or use a new token`);

/** A client token that was used before answers with what it made then, room or no room. */
async function answerRepeats(tx: Queryable, entries: readonly Entry[], outcomes: Map<number, Outcome>): Promise<void> {
  const asked = entries.filter((e) => e.request.clientToken !== null);
  if (asked.length === 0) return;
  const rows = await tx.query(groupsByToken, [asked.map((e) => e.request.accountId), asked.map((e) => e.request.clientToken)]);
  const known = new Map(rows.map((r) => [`${r.account_id} ${r.client_token}`, r]));
  for (const { request: r, index } of asked) {
    const before = known.get(`${r.accountId} ${r.clientToken}`);
    if (before === undefined) continue;
    outcomes.set(index, before.request_hash === r.hash
      ? { groupId: before.id, repeated: true }
      : tokenMismatch(r));
  }
}

async function liveLeases(tx: Queryable, entries: readonly Entry[]): Promise<Map<number, number>> {
  if (entries.length === 0) return new Map();
  const accounts = [...new Set(entries.map((e) => e.request.accountId))];
  return new Map((await tx.query(liveLeaseCounts, [accounts])).map((r) => [r.account_id, r.leases]));
}

/** Places one request within its user's limit; `live` counts what users have, with what this batch gives them. */
async function plan(deps: ManagerDeps, { request, index }: Entry, live: Map<number, number>): Promise<Planned | Fault> {
  const most = deps.config.lease.max_per_user;
  const used = live.get(request.accountId) ?? 0;
  if (used + request.minCount > most) {
    return new Fault('TooMany', `you asked for ${request.minCount} leases and have ${used} of at most ${most}`, [`lease.max_per_user = ${most}`]);
  }
  const placed = await deps.placer.place(request, Math.min(request.maxCount, most - used));
  if (isFault(placed)) return placed;
  live.set(request.accountId, used + placed.places.length);
  const { random } = deps.ctx;
  return {
    request, index, groupId: newGroupId(random), ...(placed.slot === undefined ? {} : { slot: placed.slot }),
    leases: placed.places.map((place) => ({ id: newLeaseId(random), place, nics: [] })),
  };
}

function giveBack(deps: ManagerDeps, planned: readonly Planned[]): void {
  deps.placer.giveBack(planned.map((p) => ({ request: p.request, places: p.leases.map((l) => l.place) })));
}

/** Writes what was planned; groups whose token another request has just used drop out. Returns the intents' ids. */
async function write(deps: ManagerDeps, tx: Queryable, planned: readonly Planned[], outcomes: Map<number, Outcome>): Promise<string[]> {
  const now = deps.ctx.clock.now();
  const at = new Date(now);
  const groups = planned.map((p) => ({ id: p.groupId, account_id: p.request.accountId, client_token: p.request.clientToken, request_hash: p.request.hash }));
  const kept = new Set((await tx.query(insertGroups, [JSON.stringify(groups), at])).map((r) => r.id));
  const mine = planned.filter((p) => kept.has(p.groupId));
  const lost = planned.filter((p) => !kept.has(p.groupId));
  giveBack(deps, lost);
  await answerRepeats(tx, lost, outcomes);
  if (mine.length === 0) return [];
  await holdWhatIsUsed(tx, mine);
  await deps.placer.reserve(tx, mine, now);
  await assignNics(deps, tx, mine);
  await tx.query(insertLeases, [
    JSON.stringify(mine.flatMap((p) => leaseRows(p, now))), at, JSON.stringify(mine.flatMap(tagRows)), new Date(now + HANDOVER_MS),
  ]);
  for (const p of mine) outcomes.set(p.index, { groupId: p.groupId, repeated: false });
  return mine.flatMap((p) => p.leases.flatMap(({ place }) => (place.kind === 'owned' ? [place.intentId] : [])));
}

/** Users, images and networks were looked up before; from here to the commit they cannot be removed. */
async function holdWhatIsUsed(tx: Queryable, planned: readonly Planned[]): Promise<void> {
  const accounts = [...new Set(planned.map((p) => p.request.accountId))];
  if ((await tx.query(holdAccounts, [accounts])).length < accounts.length) throw new Fault('AuthFailure', 'the user has just been removed');
  const images = [...new Set(planned.map((p) => p.request.image.id))];
  if ((await tx.query(holdImages, [images])).length < images.length) throw new Fault('ImageNotFound', 'the image has just been removed');
  const networks = [...new Set(planned.flatMap((p) => p.request.networks.map((n) => n.name)))];
  if ((await tx.query(holdNetworks, [networks])).length < networks.length) throw new Fault('NetworkNotFound', 'the network has just been removed');
}

function leaseRows(p: Planned, now: number): object[] {
  const { request: r } = p;
  return p.leases.map(({ id, nics, place }, index) => ({
    id, group_id: p.groupId, account_id: r.accountId, launch_index: index, zone: place.zone, ...placeColumns(place, now, r.durationS), image_id: r.image.id,
    type: r.type, memory_mb: r.resources.memoryMb, cores: r.resources.cores, disk_mb: r.resources.diskMb, key_name: r.keyName,
    public_key: r.publicKey, user_data: r.userData?.toString('base64') ?? null, nics, duration_s: r.durationS,
    phases: { accepted: r.acceptedAt, placed: now }, who: r.who, request_id: r.requestId,
  }));
}

/** A lease on an owned node begins now; one on a borrowed node waits, and its time with it. */
function placeColumns(place: Place, now: number, durationS: number): object {
  if (place.kind === 'borrowed') return { state: 'Pending', generation: 0, slot_node_id: place.slotNodeId };
  return { state: 'Unpropagated', generation: 1, node_id: place.nodeId, intent_id: place.intentId, ends_at: new Date(now + durationS * 1000).toISOString() };
}

function tagRows(p: Planned): object[] {
  return p.leases.flatMap((l) => Object.entries(p.request.tags).map(([key, value]) => (
    { resource_id: l.id, account_id: p.request.accountId, key, value })));
}
