/**
 * Makes room for a request that found none: preemptible leases end, as the scheduler chooses them, all that are needed or none.
 * Their guests get the site's grace to power down; the request waits for as long as a client does, and is refused with the
 * time at which there will be room when that is later. When a node fails to end one of them, others are chosen in its place.
 */
import { Fault } from '../lease/faults.ts';
import { sleep } from '../platform/deadline.ts';
import { lockLeases } from '../store/leases.ts';
import { markPreempted, preemptibleLeases, stillHolding } from '../store/spot.ts';
import { openBudgets } from './budgets.ts';
import type { ManagerDeps } from './deps.ts';
import { endedWithinMs, PREEMPTED } from './displaced.ts';
import { follow } from './follow.ts';
import { planRequest } from './placing/owned.ts';
import type { Order, ResolvedRequest } from './resolved.ts';
import { TransitionBatch } from './transitions.ts';

/** Leases that are looked at: the cheapest and newest. */
const MOST_LOOKED_AT = 1000;
/** Far below what clients wait for an answer. */
const WAIT_MS = 25_000;
const LOOK_MS = 200;
/** Nobody's request ends leases for ever on nodes that do not give their room. */
const MOST_FAILED = 3;

/** As `create`; `create` is tried again when there is room. Others than normal requests of one group take what there is. */
export async function createWithRoom<T>(deps: ManagerDeps, order: Order, create: () => Promise<T>): Promise<T> {
  const deadline = deps.ctx.clock.monotonic() + WAIT_MS;
  let failed = 0;
  for (let none = false; ;) {
    try {
      return await create();
    } catch (e) {
      if (!(e instanceof Fault) || e.code !== 'NoCapacity' || failed === MOST_FAILED || !mayPreempt(deps, order)) throw e;
      const ending = await makeRoom(deps, order);
      // Nobody has to end, twice: it is not for want of room.
      if (ending === undefined || (none && ending.length === 0)) throw e;
      none = ending.length === 0;
      const answer = await given(deps, ending, deadline);
      if (answer === 'later') throw later(deps, e, ending.length);
      if (answer === 'failed') failed += 1;
    }
  }
}

const mayPreempt = (deps: ManagerDeps, order: Order): boolean =>
  deps.borrowing === undefined && order.length === 1 && order[0].spot === null && order[0].grid?.ensemble == null;

/** The leases whose end makes the room, and no others that end; undefined when there is none to be made. */
async function makeRoom(deps: ManagerDeps, [request]: Order): Promise<string[] | undefined> {
  const wanted = planRequest({ request, maxCount: request.minCount, zones: await zonesFor(deps, request) });
  const rows = await deps.db.query(preemptibleLeases, [MOST_LOOKED_AT, deps.pool.nodesFor(wanted), overdue(deps)]);
  if (rows.length === 0) return undefined;
  const chosen = deps.pool.preempt(wanted, rows.map((r) => ({
    id: r.id, node: r.node_id, memoryMb: r.memory_mb, cores: r.cores, price: r.spot_price, createdAt: r.created_at, doubtful: r.doubtful, roomAt: r.ending ? r.preempt_ends_at ?? 0 : null,
  })));
  if (chosen === undefined) return undefined;
  if (chosen.end.length > 0) await displace(deps, chosen.end, `room for ${request.minCount} of ${request.type} (${request.who})`);
  return [...chosen.ending, ...chosen.end];
}

/** Nobody ends where its user's policies do not let it go. */
async function zonesFor({ ctx, db, config, placer }: ManagerDeps, { accountId }: ResolvedRequest): Promise<string[] | null> {
  const budgets = await openBudgets(db, config, [accountId], { now: ctx.clock.now(), lock: false, kind: 'create' });
  return budgets.zones(accountId, placer.zones());
}

/** What should have ended before does not. */
const overdue = ({ ctx, config }: ManagerDeps): Date => new Date(ctx.clock.now() - endedWithinMs(config));

async function displace(deps: ManagerDeps, ids: readonly string[], why: string): Promise<void> {
  const { ctx, config } = deps;
  const now = ctx.clock.now();
  const graceMs = config.scheduler.preemption_grace * 1000;
  const until = graceMs === 0 ? '' : `; the guest has until ${new Date(now + graceMs).toISOString()} to power down`;
  const effects = await deps.db.transaction(async (tx) => {
    const batch = new TransitionBatch(ctx.random, now, config.accounting.charge_granularity, deps.self?.id() ?? null);
    const ended: string[] = [];
    for (const lease of await tx.query(lockLeases, [ids, null])) {
      const cause = { trigger: 'end', actor: 'service', who: 'scheduler', why, at: now, requestId: null } as const;
      if (batch.apply(lease, cause, { reasonCode: PREEMPTED, reason: `${PREEMPTED}: others need the room${until}` })) ended.push(lease.id);
    }
    await tx.query(markPreempted, [ended, new Date(now), ended.map(() => new Date(now + graceMs))]);
    return batch.write(tx);
  });
  ctx.log.info('preemptible leases end for others', { leases: ids, why, graceMs });
  follow(deps, effects);
}

/** Whether all of them have given their room back before the deadline; `failed`: some do not. */
async function given(deps: ManagerDeps, ids: readonly string[], deadline: number): Promise<'given' | 'failed' | 'later'> {
  for (;;) {
    const holding = await deps.db.query(stillHolding, [ids, overdue(deps)]);
    if (deps.ctx.clock.monotonic() >= deadline) return 'later';
    if (holding.length === 0 || holding.some((l) => l.fails)) {
      deps.pool.invalidate();
      return holding.length === 0 ? 'given' : 'failed';
    }
    await sleep(deps.ctx.clock, LOOK_MS);
  }
}

function later({ config }: ManagerDeps, refusal: Fault, leases: number): Fault {
  const within = config.scheduler.preemption_grace;
  return new Fault('NoCapacity', refusal.message, [`${leases} preemptible ${leases === 1 ? 'instance ends' : 'instances end'} within ${within} s to make room: try again then`]);
}
