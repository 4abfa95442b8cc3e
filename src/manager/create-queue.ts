/**
 * Creates leases. Orders (one request, or the groups of an ensemble) that wait at the same moment share one transaction:
 * each is planned in turn against the pool, what was planned is checked again under row locks, and one commit carries all
 * of them. An order is answered after exactly one commit. When another process has taken room meanwhile, the pool is read
 * again and the batch planned anew.
 */
import { refusal } from '../authorization/decide.ts';
import { Fault, isFault } from '../lease/faults.ts';
import { createBatcher } from '../platform/batcher.ts';
import { newGroupId, newLeaseId } from '../platform/ids.ts';
import { isUnavailable, type Queryable } from '../store/db.ts';
import type { IntentRow } from '../store/intents.ts';
import { groupsByToken, holdUsed, insertGroups, insertLeases } from '../store/leases.ts';
import { countSpotLaunches } from '../store/spot.ts';
import { askOf, openBudgets, withinDuration, type Budgets } from './budgets.ts';
import type { ManagerDeps } from './deps.ts';
import { gathered, gridIds, isGathered, writeGridGroups } from './gathering.ts';
import { madeLeases } from './made.ts';
import { assignNics } from './nics.ts';
import { RoomTaken, type Placed } from './placing/types.ts';
import { groupRows, leaseRows, tagRows } from './planned-rows.ts';
import type { Planned } from './planned.ts';
import type { Order, ResolvedRequest } from './resolved.ts';
import { holdGroups } from './security-groups.ts';
import { spotIdOf, writeSpotRequests } from './spot-launch.ts';
import { HANDOVER_MS } from './transitions.ts';
import type { LeaseView } from './types.ts';

/** Orders in one transaction, and orders that may wait for the next one. */
const MOST_IN_BATCH = 64;
const MOST_WAITING = 2_000;
/** Attempts against other processes that take the same room. */
const MOST_ATTEMPTS = 4;

export interface Created {
  readonly groupId: string;
  /** True when the client token named an earlier request. */
  readonly repeated: boolean;
  /** As they were written just now; absent: they were made before. */
  readonly leases?: readonly LeaseView[];
}

/** What is made answers with one `Created` for each request of the order. */
export function createLeaseCreator(deps: ManagerDeps): (order: Order) => Promise<readonly Created[]> {
  const batcher = createBatcher<Order, readonly Created[]>({
    most: MOST_IN_BATCH,
    mostWaiting: MOST_WAITING,
    full: () => new Fault('Busy', `${MOST_WAITING} requests for leases are waiting already`),
    run: (orders) => runBatch(deps, orders),
  });
  return (order) => batcher.add(order);
}

async function runBatch(deps: ManagerDeps, orders: readonly Order[]): Promise<Outcome[]> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await attemptBatch(deps, orders);
    } catch (e) {
      deps.placer.invalidate();
      if (!(e instanceof RoomTaken) || attempt === MOST_ATTEMPTS) {
        // One bad order must not fail its neighbours: each is tried alone. But a batch whose commit was not answered may
        // have been written, and would be written twice.
        if (orders.length > 1 && !isUnavailable(e)) return inTurn(deps, orders);
        throw e instanceof RoomTaken ? new Fault('Busy', 'other requests took the room several times; try again') : e;
      }
    }
  }
}

async function inTurn(deps: ManagerDeps, orders: readonly Order[]): Promise<Outcome[]> {
  const results: Outcome[] = [];
  for (const o of orders) results.push(...await runBatch(deps, [o]).catch((e: unknown) => [e as Error]));
  return results;
}

type Outcome = readonly Created[] | Error;
interface Entry {
  readonly order: Order;
  /** Place in its batch. */
  readonly index: number;
}
/** An order between its plan and its commit. */
interface PlannedOrder {
  readonly entry: Entry;
  readonly placed: Placed;
  readonly groups: readonly Planned[];
}

async function attemptBatch(deps: ManagerDeps, orders: readonly Order[]): Promise<Outcome[]> {
  await deps.placer.ready();
  const outcomes = new Map<number, Outcome>();
  const planned: PlannedOrder[] = [];
  const { entries, repeats } = byToken(orders);
  const intents = await deps.db.transaction(async (tx) => {
    // Before tokens are looked up: what another process has just made under one counts already, and its repetition is no new request.
    const budgets = await openBudgets(tx, deps.config, entries.map((e) => e.order[0].accountId), { now: deps.ctx.clock.now(), lock: true, kind: 'create' });
    await answerRepeats(tx, entries, outcomes);
    const open = entries.filter((e) => !outcomes.has(e.index));
    if (open.length > 0) await deps.placer.open(tx);
    for (const entry of open) {
      const p = await plan(deps, entry, budgets);
      if (isFault(p)) outcomes.set(entry.index, p);
      else planned.push(p);
    }
    return planned.length === 0 ? [] : write(deps, tx, planned, outcomes);
  }).catch((e: unknown) => {
    giveBack(deps, planned);
    throw e;
  });
  if (intents.length > 0) deps.handOver(intents);
  if (planned.some((p) => p.placed.slot !== undefined)) deps.borrowing?.wake();
  for (const { entry, first } of repeats) outcomes.set(entry.index, repeatOf(entry.order, first.order, outcomes.get(first.index)));
  return orders.map((_, i) => outcomes.get(i) ?? new Fault('Internal', 'the request was lost'));
}

/** Of orders with equal client tokens in one batch the first is tried; the others take no room and get its answer. */
function byToken(orders: readonly Order[]): { entries: Entry[]; repeats: Array<{ entry: Entry; first: Entry }> } {
  const firsts = new Map<string, Entry>();
  const entries: Entry[] = [];
  const repeats: Array<{ entry: Entry; first: Entry }> = [];
  for (const [index, order] of orders.entries()) {
    const entry = { order, index };
    const key = JSON.stringify(order.map((r) => [r.accountId, r.clientToken]));
    const first = order[0].clientToken === null ? undefined : firsts.get(key);
    if (first !== undefined) repeats.push({ entry, first });
    else {
      entries.push(entry);
      firsts.set(key, entry);
    }
  }
  return { entries, repeats };
}

function repeatOf(order: Order, first: Order, outcome: Outcome | undefined): Outcome {
  const odd = order.find((r, i) => r.hash !== first[i]?.hash);
  if (odd !== undefined) return tokenMismatch(odd);
  if (outcome === undefined) return new Fault('Internal', 'the request was lost');
  return outcome instanceof Error ? outcome : outcome.map((created) => ({ ...created, repeated: true }));
}

const tokenMismatch = (r: ResolvedRequest): Fault => new Fault('TokenMismatch', `client token ${r.clientToken} was used before with other parameters: send the same request again, or use a new token`);

/** A client token that was used before answers with what it made then, room or no room. */
async function answerRepeats(tx: Queryable, entries: readonly Entry[], outcomes: Map<number, Outcome>): Promise<void> {
  const asked = entries.flatMap((e) => e.order.filter((r) => r.clientToken !== null));
  if (asked.length === 0) return;
  const rows = await tx.query(groupsByToken, [asked.map((r) => r.accountId), asked.map((r) => r.clientToken)]);
  const known = new Map(rows.map((r) => [`${r.account_id} ${r.client_token}`, r]));
  for (const { order, index } of entries) {
    const before = order.map((r) => (r.clientToken === null ? undefined : known.get(`${r.accountId} ${r.clientToken}`)));
    if (before.every((b) => b === undefined)) continue;
    const odd = order.find((r, i) => before[i]?.request_hash !== r.hash);
    outcomes.set(index, odd === undefined ? before.map((b) => ({ groupId: b?.id ?? '', repeated: true })) : tokenMismatch(odd));
  }
}

/** Places one order within its user's policies; what it gets counts for the next of the batch. */
async function plan(deps: ManagerDeps, entry: Entry, budgets: Budgets): Promise<PlannedOrder | Fault> {
  const order = withinDuration(entry.order, budgets.of(entry.order[0].accountId));
  const placed = await placeWithin(deps, order, budgets);
  if (isFault(placed)) return placed;
  const { random } = deps.ctx;
  const groups = order.map((request, i): Planned => ({
    request, groupId: newGroupId(random), ...(placed.slot === undefined ? {} : { slot: placed.slot }), ...gridIds(random, request),
    leases: (placed.places[i] ?? []).map((place) => ({ id: newLeaseId(random), place, nics: [], ...spotIdOf(random, request) })),
  }));
  return { entry, placed, groups };
}

/** What the policies leave beyond the least counts goes to the requests in their order. */
export async function placeWithin(deps: Pick<ManagerDeps, 'config' | 'placer'>, order: Order, budgets: Budgets): Promise<Placed | Fault> {
  const [{ accountId }] = order;
  const ask = askOf(deps.config, order, deps.placer.zones());
  const decision = await budgets.decide(accountId, ask);
  if (!decision.allowed) return refusal(decision, 'create');
  const most = budgets.counts(accountId, ask);
  const zones = budgets.zones(accountId, ask.zones);
  const placed = isGathered(order) ? gathered(order, zones ?? ask.zones) : await deps.placer.place(order.map((request, i) => ({ request, maxCount: most[i] ?? request.minCount, zones })));
  if (!isFault(placed)) budgets.take(accountId, ask, placed.places.map((p) => p.length));
  return placed;
}

function giveBack(deps: ManagerDeps, planned: readonly PlannedOrder[]): void {
  for (const { entry, placed } of planned) deps.placer.giveBack(entry.order, placed);
}

/**
 * Writes what was planned; orders whose tokens another has just used drop out. Returns the intents.
 * @throws RoomTaken when another has used some tokens of an order only: tried again, it is known what that other is
 */
async function write(deps: ManagerDeps, tx: Queryable, planned: readonly PlannedOrder[], outcomes: Map<number, Outcome>): Promise<readonly IntentRow[]> {
  const now = deps.ctx.clock.now();
  const at = new Date(now);
  const kept = new Set((await tx.query(insertGroups, [JSON.stringify(groupRows(planned.flatMap((p) => p.groups))), at])).map((r) => r.id));
  const mine = planned.filter((p) => p.groups.every((g) => kept.has(g.groupId)));
  const lost = planned.filter((p) => !p.groups.some((g) => kept.has(g.groupId)));
  if (mine.length + lost.length < planned.length) throw new RoomTaken();
  giveBack(deps, lost);
  await answerRepeats(tx, lost.map((p) => p.entry), outcomes);
  const groups = mine.flatMap((p) => p.groups);
  if (groups.length === 0) return [];
  await writeGridGroups(deps, tx, groups, now);
  await writeSpotRequests(tx, groups, now);
  await holdWhatIsUsed(tx, groups);
  await deps.placer.reserve(tx, groups, now);
  await assignNics(deps, tx, groups);
  const intents = await tx.query(insertLeases, [
    JSON.stringify(groups.flatMap((g) => leaseRows(g, now, deps.config.accounting.charge_granularity))), at, JSON.stringify(groups.flatMap(tagRows)), new Date(now + HANDOVER_MS),
    deps.self?.id() ?? null,
  ]);
  for (const p of mine) outcomes.set(p.entry.index, p.groups.map((g) => ({ groupId: g.groupId, repeated: false, leases: madeLeases(g, now, (id) => deps.pool.name(id)) })));
  return intents;
}

/** Users, images and networks were looked up before; from here to the commit they cannot be removed. */
async function holdWhatIsUsed(tx: Queryable, planned: readonly Planned[]): Promise<void> {
  const accounts = [...new Set(planned.map((p) => p.request.accountId))];
  const images = [...new Set(planned.map((p) => p.request.image.id))];
  const networks = [...new Set(planned.flatMap((p) => p.request.networks.map((n) => n.name)))];
  const [held] = await tx.query(holdUsed, [accounts, images, networks]);
  if (held === undefined || held.accounts < accounts.length) throw new Fault('AuthFailure', 'the user has just been removed');
  if (held.images < images.length) throw new Fault('ImageNotFound', 'the image has just been removed');
  if (held.networks < networks.length) throw new Fault('NetworkNotFound', 'the network has just been removed');
  const spot = planned.flatMap((p) => p.request.spot?.requestId ?? []);
  if (spot.length > 0 && (await tx.query(countSpotLaunches, [spot])).length < spot.length) throw new Fault('SpotRequestNotFound', 'the spot request has just been cancelled');
  await holdGroups(tx, planned.flatMap((p) => p.request.securityGroups ?? []));
}
