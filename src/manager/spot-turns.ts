/**
 * Gives spot requests leases when there is room that nobody else needs. A round tries some of those that are due, the dearest first, and of
 * each user the dearest before the next one of anybody. One that is refused is due again when as much time has passed as it has been refused
 * for, a minute at most: those behind it have their turn. When room came, all that found none are due at once: it goes to the dearest.
 * That happens every few seconds at most, so that on a busy site too those behind are reached in between.
 */
import { Fault, isFault } from '../lease/faults.ts';
import type { CreateRequest } from '../lease/types.ts';
import { isUnavailable } from '../store/db.ts';
import { noteSpotStatus, roomIsPromised, waitingSpotRequests, wakeSpotRequests, type SpotRequestRow } from '../store/spot.ts';
import type { ManagerDeps } from './deps.ts';
import { endedWithinMs } from './displaced.ts';
import { endFailed, endOverdue, lent } from './spot.ts';
import { launchOf } from './spot-launch.ts';
import type { Caller } from './types.ts';

/** Requests that are tried in one round, and when one that was refused is tried again. */
const MOST_TRIED = 50;
const AGAIN_MS = { least: 2_000, most: 60_000 };
/** And one whose last instance has ended before it ran. */
const FAILED_AGAIN_MS = 60_000;
const WAKE_MS = 5_000;
/** Whoever room was made for gets so long to take it. */
const PROMISE_MS = 30_000;
const NO_ROOM = 'capacity-not-available';

type Create = (caller: Caller, request: CreateRequest) => Promise<unknown>;

/** A round: tries the requests that wait; returns how many were given a lease. */
export function spotTurns(deps: ManagerDeps, create: Create): () => Promise<number> {
  const { ctx, db } = deps;
  const wake = waker(deps);
  return async () => {
    if (!lent(deps)) return 0;
    if (deps.borrowing !== undefined) await endOverdue(deps);
    await endFailed(deps);
    const promised = await roomPromised(deps);
    // Where a batch system lends nodes, room is its queue's affair.
    if (deps.borrowing === undefined && !promised) await wake();
    const now = ctx.clock.now();
    const waiting = await db.query(waitingSpotRequests, [new Date(now), MOST_TRIED, new Date(now - FAILED_AGAIN_MS)]);
    let given = 0;
    for (const row of waiting) {
      const refusal = promised ? new Fault('NoCapacity', 'Room is being made for others.') : await tryOne(row, create);
      if (refusal === undefined) given += 1;
      else await note(deps, row, refusal, promised ? AGAIN_MS.least : AGAIN_MS.most);
    }
    return given;
  };
}

function waker({ ctx, db, pool }: ManagerDeps): () => Promise<void> {
  let seen = -1;
  let wokenAt = -Infinity;
  return async () => {
    await pool.ready();
    const gains = pool.gains();
    if (gains === seen || ctx.clock.monotonic() - wokenAt < WAKE_MS) return;
    await db.query(wakeSpotRequests, [new Date(ctx.clock.now()), NO_ROOM]);
    seen = gains;
    wokenAt = ctx.clock.monotonic();
  };
}

/** Preemptible leases do not take what others were ended for. */
export async function roomPromised({ ctx, db, borrowing, config }: Pick<ManagerDeps, 'ctx' | 'db' | 'borrowing' | 'config'>): Promise<boolean> {
  // A batch system's queue knows whose turn it is.
  if (borrowing !== undefined) return false;
  const now = ctx.clock.now();
  return (await db.query(roomIsPromised, [new Date(now - PROMISE_MS), new Date(now - endedWithinMs(config))]))[0]?.promised === true;
}

async function tryOne(row: SpotRequestRow, create: Create): Promise<Fault | undefined> {
  const caller: Caller = { accountId: row.account_id, name: row.account_name, ownerId: row.owner_id, requestId: row.id, door: 'ec2', admin: false };
  try {
    // The token makes a repetition harmless, by this process or another: the lease after these is made once.
    await create(caller, { ...launchOf(row.launch), clientToken: `${row.id}.${row.launches}`, spot: { price: row.price, persistent: row.persistent, requestId: row.id } });
    return undefined;
  } catch (e) {
    if (isUnavailable(e)) throw e;
    if (isFault(e)) return e;
    return new Fault('Internal', 'The service could not try the request.', [], { cause: e });
  }
}

async function note({ ctx, db }: ManagerDeps, row: SpotRequestRow, refusal: Fault, most: number): Promise<void> {
  const now = ctx.clock.now();
  const code = STATUS[refusal.code] ?? 'bad-parameters';
  if (code === 'system-error') ctx.log.error('a spot request could not be tried', { request: row.id, error: String(refusal.cause ?? refusal.message) });
  const refusedFor = row.status_code === code ? now - row.status_at : 0;
  const pause = Math.min(most, Math.max(AGAIN_MS.least, refusedFor));
  await db.query(noteSpotStatus, [row.id, code, refusal.text, new Date(now), new Date(now + pause), code === 'bad-parameters']);
}

/** What of a refusal passes by itself; with all others the request has failed. */
const STATUS: Readonly<Partial<Record<Fault['code'], string>>> = {
  NoCapacity: NO_ROOM, NoAddress: NO_ROOM, Busy: 'pending-evaluation', TooMany: 'constraint-not-fulfillable',
  NotAuthorized: 'constraint-not-fulfillable', DecisionFailed: 'constraint-not-fulfillable', Internal: 'system-error',
};
