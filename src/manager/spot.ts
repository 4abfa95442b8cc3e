/** Spot requests: asked, shown, cancelled. */
import { createHash } from 'node:crypto';
import { Fault } from '../lease/faults.ts';
import { SPOT_REQUEST_ID } from '../lease/ids.ts';
import { lendsSpot } from '../platform/config-pilot.ts';
import { newSpotRequestId } from '../platform/ids.ts';
import type { Queryable } from '../store/db.ts';
import { lockLeases } from '../store/leases.ts';
import {
  cancelSpotRequests, failedSpotLeases, insertSpotRequests, spotPrices, spotRequests, waitingSpotLeases, type SpotRequestRow,
} from '../store/spot.ts';
import { lockBelongings } from '../store/tags.ts';
import type { ManagerDeps } from './deps.ts';
import { follow } from './follow.ts';
import { resolveRequest } from './resolve.ts';
import { launchJson, launchOf, requireFewOpen } from './spot-launch.ts';
import { hasNode, SCHEDULE_OVER, spotStanding } from './spot-state.ts';
import { checkTags, writeTags } from './tags.ts';
import { TransitionBatch, type Cause, type Effects, type Outcome } from './transitions.ts';
import type { Caller, Manager, SpotAsked, SpotRequestView } from './types.ts';

const MOST_LISTED = 10_000;
const REVIEW = { status_code: 'pending-evaluation', status_message: 'Your Spot request has been submitted for review, and is pending evaluation.' };

export function spotCases(deps: ManagerDeps): Manager['spot'] {
  const { ctx, db } = deps;
  return {
    async request(caller, asked, options = {}) {
      refuseUnlent(deps);
      const tags = options.tags ?? {};
      checkTags(tags);
      await resolveRequest(deps, caller, { ...asked.launch, minCount: 1, maxCount: 1 });
      const rows = requestRows(deps, caller, asked);
      const ids = rows.map((r) => r.id);
      await db.transaction(async (tx) => {
        await tx.query(lockBelongings, [caller.accountId]);
        const before = asked.clientToken === undefined ? [] : await tx.query(spotRequests, [caller.accountId, ids, ids.length]);
        if (before.length > 0) return checkRepeated(before, rows);
        await requireFewOpen(tx, caller.accountId, rows.length, ctx.clock.now());
        await tx.query(insertSpotRequests, [JSON.stringify(rows), new Date(ctx.clock.now())]);
        await writeTags(tx, ids.map((id) => ({ id, account_id: caller.accountId })), tags);
        if (options.dryRun === true) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
      });
      return listed(deps, caller, ids);
    },

    list: (caller, ids) => listed(deps, caller, ids),

    async cancel(caller, ids, options = {}) {
      const named = checkSpotIds(ids);
      const effects = await db.transaction(async (tx) => {
        const found = await tx.query(cancelSpotRequests, [named, accountOf(caller), new Date(ctx.clock.now())]);
        missing(named, found.map((r) => r.id));
        if (options.dryRun === true) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
        return endWaiting(deps, tx, named, { actor: 'user', who: caller.name, requestId: caller.requestId }, { reasonCode: 'Client.UserInitiatedShutdown', reason: 'its spot request was cancelled' });
      });
      follow(deps, effects);
      return listed(deps, caller, named);
    },

    async prices({ from, to, types, limit }) {
      return db.query(spotPrices, [from === undefined ? null : new Date(from), to === undefined ? null : new Date(to), types ?? null, limit]);
    },
  };
}

type Lending = Pick<ManagerDeps, 'borrowing' | 'config'>;

/** Preemptible leases are to be had here. */
export const lent = ({ borrowing, config }: Lending): boolean => borrowing === undefined || lendsSpot(config.pilot_spot);

/** Where a batch system decides who is displaced, preemptible leases need jobs that stand below the others. */
export function refuseUnlent(deps: Lending): void {
  if (lent(deps)) return;
  throw new Fault('Unsupported', 'This site borrows its nodes from a batch system, and has no preemptible instances: ask for one without market options.', [
    `for the administrator: set ${deps.config.pilot.lrm === 'slurm' ? 'pilot_spot.partition, pilot_spot.qos or pilot_spot.nice' : 'pilot_spot.queue or pilot_spot.priority'}, so that their jobs stand below others`,
  ]);
}

/** Leases that wait for a node do not outlive the wish for them. Those that have got one meanwhile go on. */
async function endWaiting(deps: ManagerDeps, tx: Queryable, requests: readonly string[] | null, by: Pick<Cause, 'actor' | 'who' | 'requestId'>, outcome: Outcome & { reason: string }): Promise<Effects> {
  const now = deps.ctx.clock.now();
  const batch = new TransitionBatch(deps.ctx.random, now, deps.config.accounting.charge_granularity, deps.self?.id() ?? null);
  const ids = (await tx.query(waitingSpotLeases, [requests, new Date(now)])).map((l) => l.id);
  for (const lease of ids.length === 0 ? [] : await tx.query(lockLeases, [ids, null])) {
    if (lease.state === 'Pending') batch.apply(lease, { ...by, trigger: 'end', why: outcome.reason, at: now }, outcome);
  }
  return batch.write(tx);
}

export async function endOverdue(deps: ManagerDeps): Promise<void> {
  if ((await deps.db.query(waitingSpotLeases, [null, new Date(deps.ctx.clock.now())])).length === 0) return;
  const outcome = { reasonCode: SCHEDULE_OVER, reason: 'its spot request was not fulfilled in time' };
  follow(deps, await deps.db.transaction((tx) => endWaiting(deps, tx, null, { actor: 'service', who: 'spot', requestId: null }, outcome)));
}

/** What has failed is over for its request, which may have another; nobody but its user would end it before its time. */
export async function endFailed(deps: ManagerDeps): Promise<void> {
  const { ctx, db, config, self } = deps;
  const ids = (await db.query(failedSpotLeases)).map((l) => l.id);
  if (ids.length === 0) return;
  const now = ctx.clock.now();
  follow(deps, await db.transaction(async (tx) => {
    const batch = new TransitionBatch(ctx.random, now, config.accounting.charge_granularity, self?.id() ?? null);
    for (const lease of await tx.query(lockLeases, [ids, null])) {
      if (lease.state === 'Corrupted' && !lease.holding) batch.end(lease, { who: 'spot', why: 'it has failed, and its spot request goes on without it', at: now, requestId: null }, {});
    }
    return batch.write(tx);
  }));
}

interface NewRow { readonly id: string; readonly persistent: boolean; readonly price: number; readonly launch: unknown; readonly [column: string]: unknown }

function requestRows({ ctx }: ManagerDeps, caller: Caller, asked: SpotAsked): NewRow[] {
  const iso = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
  return Array.from({ length: asked.count }, (_, i) => ({
    id: asked.clientToken === undefined ? newSpotRequestId(ctx.random) : idOfToken(caller, asked.clientToken, i), account_id: caller.accountId, ...REVIEW,
    launches: 0, persistent: asked.persistent, price: asked.price, valid_from: iso(asked.validFrom), valid_until: iso(asked.validUntil), launch: launchJson(asked.launch),
  }));
}

/** The same token names the same requests. */
const idOfToken = (caller: Caller, token: string, i: number): string => `sir-${createHash('sha256').update(JSON.stringify([caller.accountId, token, i])).digest('hex').slice(0, 17)}`;

function checkRepeated(before: readonly SpotRequestRow[], rows: readonly NewRow[]): void {
  const same = before.length === rows.length && rows.every((r) => {
    const b = before.find((o) => o.id === r.id);
    return b !== undefined && b.price === r.price && b.persistent === r.persistent && canonical(b.launch) === canonical(r.launch);
  });
  if (!same) throw new Fault('TokenMismatch', 'The client token was used before with other parameters: send the same request again, or use a new token');
}

/** The database keeps no order of keys. */
const canonical = (value: unknown): string => JSON.stringify(value, (_key, v: unknown) =>
  (typeof v === 'object' && v !== null && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1))) : v));

async function listed({ ctx, db }: ManagerDeps, caller: Caller, ids?: readonly string[]): Promise<SpotRequestView[]> {
  const named = ids === undefined ? null : checkSpotIds(ids);
  const rows = await db.query(spotRequests, [accountOf(caller), named, MOST_LISTED]);
  if (named !== null) missing(named, rows.map((r) => r.id));
  const now = ctx.clock.now();
  return rows.map((r) => ({
    id: r.id, price: r.price, persistent: r.persistent, createdAt: r.created_at, validFrom: r.valid_from, validUntil: r.valid_until, launch: launchOf(r.launch),
    ...spotStanding(r, now), ...leaseOf(r), tags: r.tags ?? {},
  }));
}

/** An instance that waits in a queue is not the request's yet: clients take one that is named for its fulfilment. */
const leaseOf = (r: SpotRequestRow): Pick<SpotRequestView, 'leaseId' | 'zone'> => (hasNode(r) ? { leaseId: r.lease_id, zone: r.lease_zone } : { leaseId: null, zone: null });

const accountOf = (caller: Caller): number | null => (caller.admin ? null : caller.accountId);

function checkSpotIds(ids: readonly string[]): string[] {
  const odd = ids.find((id) => !SPOT_REQUEST_ID.test(id));
  if (odd !== undefined) throw new Fault('SpotRequestIdMalformed', `Invalid id: "${odd.slice(0, 100)}" (expecting "sir-...")`);
  return [...new Set(ids)];
}

function missing(named: readonly string[], found: readonly string[]): void {
  const unknown = named.find((id) => !found.includes(id));
  if (unknown !== undefined) throw new Fault('SpotRequestNotFound', `The spot instance request ID '${unknown}' does not exist`);
}
