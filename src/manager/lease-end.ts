/** Moves the end of leases, within policy and within the transaction of whoever asks: alone, or with the tags that say so. */
import { Fault } from '../lease/faults.ts';
import { formatDuration } from '../lease/duration.ts';
import type { Queryable } from '../store/db.ts';
import { insertEvents, moveEnds, type LockedLease } from '../store/leases.ts';
import type { ManagerDeps } from './deps.ts';
import { checkIds, lockNamed } from './named-leases.ts';
import type { Caller, NewEnd } from './types.ts';

/** An end this near is no lease time any more; ask for the end instead. */
const SHORTEST_S = 1;

/** @throws Fault LeaseNotFound, DurationRefused, StateRefused */
export async function moveEnd(deps: Pick<ManagerDeps, 'ctx' | 'config'>, tx: Queryable, caller: Caller, named: readonly string[], end: NewEnd): Promise<void> {
  const now = deps.ctx.clock.now();
  const endsAt = 'endsAt' in end ? end.endsAt : now + end.durationS * 1000;
  checkEnd(deps, now, endsAt);
  const leases = [...(await lockNamed(tx, caller, checkIds(named))).values()].map((lease) => ({ lease, before: endOf(lease) }));
  for (const { lease } of leases) checkBorrowed(deps, lease, endsAt);
  await tx.query(moveEnds, [
    leases.map(({ lease: l }) => l.id), leases.map(() => new Date(endsAt)),
    // Of a lease on a borrowed node, as of any other, from its creation: what it may be charged for.
    leases.map(({ lease: l }) => Math.ceil((endsAt - l.created_at) / 1000)),
  ]);
  await tx.query(insertEvents, [JSON.stringify(leases.map(({ lease: l, before }) => ({
    lease_id: l.id, at: new Date(now).toISOString(), from_state: l.state, to_state: l.state, trigger: endsAt >= before ? 'extended' : 'shortened',
    who: caller.name, why: `ends ${new Date(endsAt).toISOString()} instead of ${new Date(before).toISOString()}`, request_id: caller.requestId,
  })))]);
}

/** @throws Fault StateRefused */
function endOf(l: LockedLease): number {
  if (l.final || l.state === 'Ending' || l.state === 'Corrupted') throw new Fault('StateRefused', `The lease ${l.id} is over and has no time left to change; run a new one`, [`it is ${l.state}`]);
  if (l.ends_at === null) throw new Fault('StateRefused', `The lease ${l.id} waits for a node; its time begins when the node is ready`, [`it is ${l.state}`]);
  return l.ends_at;
}

/** The batch system has lent the node until a moment, and no longer. @throws Fault DurationRefused */
function checkBorrowed({ config }: Pick<ManagerDeps, 'config'>, l: LockedLease, endsAt: number): void {
  if (l.until_at === null) return;
  const latest = l.until_at - config.pilot.padding * 1000;
  if (endsAt > latest) {
    throw new Fault('DurationRefused', `The node of lease ${l.id} is borrowed from the batch system and cannot be kept longer`, [`the lease may end at ${new Date(latest).toISOString()} at the latest`]);
  }
}

function checkEnd({ config }: Pick<ManagerDeps, 'config'>, now: number, endsAt: number): void {
  const seconds = (endsAt - now) / 1000;
  const most = config.lease.max_duration;
  if (!(seconds >= SHORTEST_S)) throw new Fault('DurationRefused', 'the new end lies in the past; end the lease instead');
  if (seconds > most) {
    throw new Fault('DurationRefused', `a lease may end at most ${formatDuration(most)} from now`, [`lease.max_duration = ${formatDuration(most)}, asked ${formatDuration(seconds)}`]);
  }
}
