/** Moves the end of leases, within policies and within the transaction of whoever asks: alone, or with the tags that say so. */
import { reservedMinutes } from '../accounting/charge.ts';
import type { Ask, AskPart } from '../authorization/types.ts';
import { Fault } from '../lease/faults.ts';
import { formatDuration } from '../lease/duration.ts';
import type { Queryable } from '../store/db.ts';
import { insertEvents, moveEnds, type LockedLease } from '../store/leases.ts';
import { openBudgets, requireAllowed } from './budgets.ts';
import type { ManagerDeps } from './deps.ts';
import { lockUse } from './lock-use.ts';
import { checkIds, lockNamed } from './named-leases.ts';
import type { Caller, NewEnd } from './types.ts';

/** An end this near is no lease time any more; ask for the end instead. */
const SHORTEST_S = 1;

/** @throws Fault LeaseNotFound, DurationRefused, StateRefused, and what policies refuse with */
export async function moveEnd(deps: Pick<ManagerDeps, 'ctx' | 'config'>, tx: Queryable, caller: Caller, named: readonly string[], end: NewEnd): Promise<void> {
  const now = deps.ctx.clock.now();
  const endsAt = 'endsAt' in end ? end.endsAt : now + end.durationS * 1000;
  checkEnd(deps, now, endsAt);
  const leases = [...(await lockNamed(tx, caller, checkIds(named))).values()].map((lease) => ({ lease, before: endOf(lease) }));
  for (const { lease } of leases) checkBorrowed(deps, lease, endsAt);
  await checkPolicies(deps, tx, caller, leases.filter((l) => endsAt > l.before).map((l) => l.lease), endsAt);
  const durations = leases.map(({ lease: l }) => reservedS(l, endsAt));
  await lockUse(tx, leases.map(({ lease: l }) => l.account_id));
  await tx.query(moveEnds, [
    leases.map(({ lease: l }) => l.id), leases.map(() => new Date(endsAt)), durations,
    durations.map((s) => reservedMinutes(s, true, deps.config.accounting.charge_granularity)),
  ]);
  await tx.query(insertEvents, [JSON.stringify(leases.map(({ lease: l, before }) => ({
    lease_id: l.id, at: new Date(now).toISOString(), from_state: l.state, to_state: l.state, trigger: endsAt >= before ? 'extended' : 'shortened',
    who: caller.name, why: `ends ${new Date(endsAt).toISOString()} instead of ${new Date(before).toISOString()}`, request_id: caller.requestId,
  })))]);
}

/** @throws Fault StateRefused */
function endOf(l: LockedLease): number {
  if (l.final || l.state === 'Ending' || l.state === 'Corrupted') throw new Fault('StateRefused', `The lease ${l.id} is over and has no time left to change; run a new one`, [`it is ${l.state}`]);
  if (l.ends_at === null || l.state === 'Pending') throw new Fault('StateRefused', `The lease ${l.id} waits for a node; its time begins when the node is ready`, [`it is ${l.state}`]);
  return l.ends_at;
}

/** Of a lease on a borrowed node, as of any other, from its creation: what it may be charged for. */
const reservedS = (l: LockedLease, endsAt: number): number => Math.ceil((endsAt - l.created_at) / 1000);

/**
 * Users are held to their policies; an administrator who moves the end of another's lease decides by himself, and it counts all
 * the same. The use is locked after the leases, as by those who end them.
 */
async function checkPolicies(deps: Pick<ManagerDeps, 'ctx' | 'config'>, tx: Queryable, caller: Caller, leases: readonly LockedLease[], endsAt: number): Promise<void> {
  const granularity = deps.config.accounting.charge_granularity;
  const [first, ...others] = leases.filter((l) => l.account_id === caller.accountId).map((l): AskPart => ({
    minCount: 1, maxCount: 1, cores: 0, memoryMb: 0,
    minutes: Math.max(0, reservedMinutes(reservedS(l, endsAt), true, granularity) - reservedMinutes(l.duration_s, true, granularity)),
    durationS: Math.ceil((endsAt - beginOf(l)) / 1000), image: { id: '', name: '', owner: null }, networks: [], zone: null, type: '',
  }));
  if (first === undefined) return;
  const budgets = await openBudgets(tx, deps.config, [caller.accountId], { now: deps.ctx.clock.now(), lock: true, kind: 'extend' });
  const ask: Ask = { kind: 'extend', user: caller.name, parts: [first, ...others], zones: [] };
  requireAllowed(await budgets.decide(caller.accountId, ask), 'extend');
}

/** Nobody's time runs while he waits in a queue. */
const beginOf = (l: LockedLease): number => (l.slot_node_id === null ? l.created_at : l.running_at ?? l.created_at);

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
