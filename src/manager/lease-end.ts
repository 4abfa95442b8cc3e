/** Moves the end of leases, within policy and within the transaction of whoever asks: alone, or with the tags that say so. */
import { Fault } from '../lease/faults.ts';
import { formatDuration } from '../lease/duration.ts';
import type { Queryable } from '../store/db.ts';
import { insertEvents, moveEnds } from '../store/leases.ts';
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
  const leases = [...(await lockNamed(tx, caller, checkIds(named))).values()];
  for (const l of leases) {
    if (l.final || l.state === 'Ending' || l.state === 'Corrupted') throw new Fault('StateRefused', `The lease ${l.id} is over and has no time left to change; run a new one`, [`it is ${l.state}`]);
  }
  await tx.query(moveEnds, [leases.map((l) => l.id), leases.map(() => new Date(endsAt)), leases.map((l) => Math.ceil((endsAt - l.created_at) / 1000))]);
  await tx.query(insertEvents, [JSON.stringify(leases.map((l) => ({
    lease_id: l.id, at: new Date(now).toISOString(), from_state: l.state, to_state: l.state, trigger: endsAt >= l.ends_at ? 'extended' : 'shortened',
    who: caller.name, why: `ends ${new Date(endsAt).toISOString()} instead of ${new Date(l.ends_at).toISOString()}`, request_id: caller.requestId,
  })))]);
}

function checkEnd({ config }: Pick<ManagerDeps, 'config'>, now: number, endsAt: number): void {
  const seconds = (endsAt - now) / 1000;
  const most = config.lease.max_duration;
  if (!(seconds >= SHORTEST_S)) throw new Fault('DurationRefused', 'the new end lies in the past; end the lease instead');
  if (seconds > most) {
    throw new Fault('DurationRefused', `a lease may end at most ${formatDuration(most)} from now`, [`lease.max_duration = ${formatDuration(most)}, asked ${formatDuration(seconds)}`]);
  }
}
