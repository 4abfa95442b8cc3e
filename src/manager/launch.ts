/**
 * Starts a gathered ensemble: all of its leases are placed together, or none is and it stays open. The leases are locked before
 * the ensemble, as those who end leases lock them; who joins meanwhile makes it start over.
 */
import { Fault, isFault } from '../lease/faults.ts';
import type { Queryable } from '../store/db.ts';
import { endGathering, gatheredLeases, lockEnsembles, placeLeases, type GatheredRow } from '../store/grid.ts';
import { lockLeases, type LockedLease } from '../store/leases.ts';
import { networksByName } from '../store/networks.ts';
import { openBudgets } from './budgets.ts';
import type { ManagerDeps } from './deps.ts';
import { accountOf } from './named-leases.ts';
import { RoomTaken, type Placed } from './placing/types.ts';
import type { PlacedGroup } from './planned.ts';
import type { Placeable } from './resolved.ts';
import { TransitionBatch, type Effects } from './transitions.ts';
import type { Caller } from './types.ts';

const MOST_ATTEMPTS = 4;

/** @throws Fault EnsembleNotFound, EnsembleDone, EnsembleEmpty, and what placing refuses with */
export async function launchEnsemble(deps: ManagerDeps, caller: Caller, key: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await attemptLaunch(deps, caller, key);
    } catch (e) {
      deps.placer.invalidate();
      if (!(e instanceof RoomTaken)) throw e;
      if (attempt === MOST_ATTEMPTS) throw new Fault('Busy', 'other requests took the room several times; try again');
    }
  }
}

async function attemptLaunch(deps: ManagerDeps, caller: Caller, key: string): Promise<void> {
  await deps.placer.ready();
  let taken: { requests: readonly Placeable[]; placed: Placed } | undefined;
  const { effects, slot } = await deps.db.transaction(async (tx) => {
    const rows = await tx.query(gatheredLeases, [key]);
    const leases = new Map((await tx.query(lockLeases, [rows.map((r) => r.id), accountOf(caller)])).map((l) => [l.id, l]));
    await checkOpen(tx, caller, key);
    const still = (await tx.query(gatheredLeases, [key])).map((r) => r.id);
    if (still.join() !== rows.map((r) => r.id).join()) throw new RoomTaken();
    if (rows.length === 0) throw new Fault('EnsembleEmpty', 'Nothing of the ensemble waits to be started');
    await deps.placer.open(tx);
    const requests = await requestsOf(tx, caller, rows);
    const placed = await place(deps, tx, requests);
    taken = { requests, placed };
    const made = await bind(deps, tx, caller, placedGroups(requests, rows, placed), leases);
    await tx.query(endGathering, [key, new Date(deps.ctx.clock.now())]);
    return { effects: made, slot: placed.slot };
  }).catch((e: unknown) => {
    if (taken !== undefined) deps.placer.giveBack(taken.requests, taken.placed);
    throw e;
  });
  if (effects.intents.length > 0) deps.handOver(effects.intents);
  if (slot !== undefined) deps.borrowing?.wake();
}

async function checkOpen(tx: Queryable, caller: Caller, key: string): Promise<void> {
  const [ensemble] = await tx.query(lockEnsembles, [[key]]);
  const mine = accountOf(caller);
  if (ensemble === undefined || (mine !== null && ensemble.account_id !== mine)) throw new Fault('EnsembleNotFound', `unknown ensemble: '${key}'`);
  if (ensemble.done_at !== null) throw new Fault('EnsembleDone', 'The ensemble is done already');
}

/** Each group as the request that it was, as far as placing needs it; members that have ended meanwhile are missed by nobody. */
async function requestsOf(tx: Queryable, caller: Caller, rows: readonly GatheredRow[]): Promise<Placeable[]> {
  const networks = new Map((await tx.query(networksByName, [[...new Set(rows.flatMap((r) => r.networks))]])).map((n) => [n.name, n]));
  return [...groupsOf(rows).values()].map(([r, ...others]) => ({
    accountId: r.account_id, who: r.who, requestId: caller.requestId, minCount: others.length + 1, zone: null, durationS: r.duration_s, spot: null,
    resources: { memoryMb: r.memory_mb, cores: r.cores, diskMb: r.disk_mb }, networks: r.networks.flatMap((n) => networks.get(n) ?? []),
  }));
}

function groupsOf(rows: readonly GatheredRow[]): Map<string, [GatheredRow, ...GatheredRow[]]> {
  const groups = new Map<string, [GatheredRow, ...GatheredRow[]]>();
  for (const r of rows) {
    const group = groups.get(r.group_id);
    if (group === undefined) groups.set(r.group_id, [r]);
    else group.push(r);
  }
  return groups;
}

/** What they count for was granted when they came; where they may go is asked again. */
async function place(deps: ManagerDeps, tx: Queryable, requests: readonly Placeable[]): Promise<Placed> {
  const accountId = requests[0]?.accountId ?? 0;
  const budgets = await openBudgets(tx, deps.config, [accountId], { now: deps.ctx.clock.now(), lock: false, kind: 'create' });
  const zones = budgets.zones(accountId, deps.placer.zones());
  const placed = await deps.placer.place(requests.map((request) => ({ request, maxCount: request.minCount, zones })));
  if (isFault(placed)) throw placed;
  return placed;
}

function placedGroups(requests: readonly Placeable[], rows: readonly GatheredRow[], placed: Placed): PlacedGroup[] {
  const groups = [...groupsOf(rows).values()];
  return requests.map((request, i) => ({
    request, ...(placed.slot === undefined ? {} : { slot: placed.slot }),
    leases: (placed.places[i] ?? []).map((at, j) => ({ id: groups[i]?.[j]?.id ?? '', place: at, nics: [] })),
  }));
}

/** On owned nodes their time begins here; on borrowed ones they wait for the batch system as any other lease. */
async function bind(deps: ManagerDeps, tx: Queryable, caller: Caller, planned: readonly PlacedGroup[], leases: ReadonlyMap<string, LockedLease>): Promise<Effects> {
  const now = deps.ctx.clock.now();
  await deps.placer.reserve(tx, planned, now);
  const batch = new TransitionBatch(deps.ctx.random, now, deps.config.accounting.charge_granularity, deps.self?.id() ?? null);
  const rows = planned.flatMap((g) => g.leases.flatMap(({ id, place: at }): object[] => {
    const lease = leases.get(id);
    if (lease === undefined || at.kind === 'gathered') return [];
    if (at.kind === 'borrowed') return [{ id, zone: at.zone, slot_node_id: at.slotNodeId }];
    lease.node_id = at.nodeId;
    lease.ends_at = now + lease.duration_s * 1000;
    batch.apply(lease, { trigger: 'placed', actor: 'service', who: caller.name, why: 'its ensemble is done', at: now, requestId: caller.requestId }, { phases: { placed: now } });
    return [{ id, zone: at.zone, node_id: at.nodeId, ends_at: new Date(lease.ends_at).toISOString() }];
  }));
  await tx.query(placeLeases, [JSON.stringify(rows)]);
  return batch.write(tx);
}
