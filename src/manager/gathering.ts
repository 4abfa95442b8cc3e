/**
 * Ensembles whose groups come one request at a time, as grid clients send them: each is counted against policies and given its
 * addresses when it comes, and waits without a node. `launch.ts` places them together when the last one has come.
 */
import { Fault } from '../lease/faults.ts';
import { newRequestId } from '../platform/ids.ts';
import type { Random } from '../platform/context.ts';
import type { Queryable } from '../store/db.ts';
import { insertEnsembles, insertGridGroups, lockEnsembles, type EnsembleRow } from '../store/grid.ts';
import type { ManagerDeps } from './deps.ts';
import { MOST_GROUPS } from './ensembles.ts';
import type { Placed } from './placing/types.ts';
import type { Place, Planned } from './planned.ts';
import { gridRows } from './planned-rows.ts';
import type { Order, ResolvedRequest } from './resolved.ts';

/** Where no zone is known yet, its name is of no consequence: placing gives another. */
const SOME_ZONE = 'default';

export const isGathered = (order: Order): boolean => order.some((r) => r.grid?.ensemble != null);

/** Nothing is placed. */
export function gathered(order: Order, zones: readonly string[]): Placed {
  return {
    places: order.map((r) => Array.from({ length: r.minCount }, (): Place => ({ kind: 'gathered', until: 0, zone: r.zone ?? zones[0] ?? SOME_ZONE }))),
  };
}

/** Grid clients name groups and ensembles by UUIDs. */
export function gridIds(random: Random, { grid }: ResolvedRequest): Pick<Planned, 'gridKey' | 'ensembleId'> {
  if (grid === undefined) return {};
  const ensembleId = grid.ensemble === null ? null : grid.ensemble === 'new' ? newRequestId(random) : grid.ensemble.join;
  return { gridKey: newRequestId(random), ensembleId };
}

/** All groups of an ensemble wait for the same moment. @throws Fault EnsembleNotFound, EnsembleDone, TooMany */
export async function writeGridGroups({ config }: Pick<ManagerDeps, 'config'>, tx: Queryable, planned: readonly Planned[], now: number): Promise<void> {
  const groups = planned.filter((p) => p.gridKey !== undefined);
  if (groups.length === 0) return;
  const waitMs = config.lease.ensemble_wait * 1000;
  const fresh = groups.filter((g) => g.request.grid?.ensemble === 'new');
  if (fresh.length > 0) await tx.query(insertEnsembles, [fresh.map((g) => g.ensembleId), fresh.map((g) => g.request.accountId), new Date(now)]);
  for (const g of fresh) waitUntil(g, now + waitMs);
  const joined = groups.filter((g) => typeof g.request.grid?.ensemble === 'object' && g.request.grid.ensemble !== null);
  if (joined.length > 0) {
    const rows = new Map((await tx.query(lockEnsembles, [[...new Set(joined.map((g) => g.ensembleId))]])).map((e) => [e.id, e]));
    for (const g of joined) waitUntil(g, joinable(rows.get(g.ensembleId ?? ''), g.request.accountId, now - waitMs).created_at + waitMs);
  }
  await tx.query(insertGridGroups, [JSON.stringify(gridRows(groups))]);
}

function waitUntil({ leases }: Planned, until: number): void {
  for (const { place } of leases) if (place.kind === 'gathered') place.until = until;
}

/** Another's does not exist. The row counts one group more for the next of the batch. */
function joinable(e: EnsembleRow | undefined, accountId: number, oldest: number): EnsembleRow {
  if (e === undefined || e.account_id !== accountId) throw new Fault('EnsembleNotFound', 'There is no such ensemble to join; leave the reference out to begin one');
  if (e.done_at !== null || e.created_at <= oldest) throw new Fault('EnsembleDone', 'The ensemble is done or its time is over. No additions may be made.');
  if (e.groups >= MOST_GROUPS) throw new Fault('TooMany', `An ensemble has at most ${MOST_GROUPS} groups`);
  e.groups += 1;
  return e;
}
