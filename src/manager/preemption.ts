/**
 * Makes room for a request that found none: preemptible leases end, as the scheduler chooses them, all that are needed or none.
 * Their guests get the site's grace to power down; the request waits for as long as a client does, and is refused with the
 * time at which there will be room when that is later.
 */
import { Fault } from '../lease/faults.ts';
import { sleep } from '../platform/deadline.ts';
import { lockLeases } from '../store/leases.ts';
import { markPreempted, preemptibleLeases, stillHolding } from '../store/spot.ts';
import type { ManagerDeps } from './deps.ts';
import { PREEMPTED } from './displaced.ts';
import { follow } from './follow.ts';
import type { Order } from './resolved.ts';
import { TransitionBatch } from './transitions.ts';

/** Leases that are looked at: the cheapest and newest. */
const MOST_LOOKED_AT = 1000;
/** Far below what clients wait for an answer. */
const WAIT_MS = 25_000;
const LOOK_MS = 200;

/** As `create`; `create` is tried again when there is room. Others than normal requests of one group take what there is. */
export async function createWithRoom<T>(deps: ManagerDeps, order: Order, create: () => Promise<T>): Promise<T> {
  const deadline = deps.ctx.clock.monotonic() + WAIT_MS;
  for (let none = false; ;) {
    try {
      return await create();
    } catch (e) {
      if (!(e instanceof Fault) || e.code !== 'NoCapacity' || !mayPreempt(deps, order)) throw e;
      const ending = await makeRoom(deps, order);
      // Nobody has to end, twice: it is not for want of room.
      if (ending === undefined || (none && ending.length === 0)) throw e;
      none = ending.length === 0;
      if (!await given(deps, ending, deadline)) throw later(deps, e, ending.length);
    }
  }
}

const mayPreempt = (deps: ManagerDeps, order: Order): boolean =>
  deps.borrowing === undefined && order.length === 1 && order[0].spot === null && order[0].grid?.ensemble == null;

/** The leases whose end makes the room, and no others that end; undefined when there is none to be made. */
async function makeRoom(deps: ManagerDeps, [request]: Order): Promise<string[] | undefined> {
  const rows = await deps.db.query(preemptibleLeases, [MOST_LOOKED_AT]);
  if (rows.length === 0) return undefined;
  const chosen = deps.pool.preempt({
    memoryMb: request.resources.memoryMb, cores: request.resources.cores, networks: request.networks.map((n) => n.name), zone: request.zone ?? undefined,
    minCount: request.minCount, maxCount: request.minCount,
  }, rows.map((r) => ({ id: r.id, node: r.node_id, memoryMb: r.memory_mb, cores: r.cores, price: r.spot_price, createdAt: r.created_at, roomAt: r.ending ? r.preempt_ends_at ?? 0 : null })));
  if (chosen === undefined) return undefined;
  if (chosen.end.length > 0) await displace(deps, chosen.end, `room for ${request.minCount} of ${request.type} (${request.who})`);
  return [...chosen.ending, ...chosen.end];
}

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

/** True when all of them have given their room back before the deadline. */
async function given({ ctx, db, pool }: ManagerDeps, ids: readonly string[], deadline: number): Promise<boolean> {
  while ((await db.query(stillHolding, [ids])).length > 0) {
    if (ctx.clock.monotonic() >= deadline) return false;
    await sleep(ctx.clock, LOOK_MS);
  }
  pool.invalidate();
  return ctx.clock.monotonic() < deadline;
}

function later({ config }: ManagerDeps, refusal: Fault, leases: number): Fault {
  const within = config.scheduler.preemption_grace;
  return new Fault('NoCapacity', refusal.message, [`${leases} preemptible ${leases === 1 ? 'instance ends' : 'instances end'} within ${within} s to make room: try again then`]);
}
