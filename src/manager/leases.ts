/** The use cases on leases that exist: describe, end, reboot, move the end, read the console, show the trail. */
import { Fault } from '../lease/faults.ts';
import { LEASE_ID } from '../lease/ids.ts';
import type { Actor, Trigger } from '../lease/states.ts';
import { formatDuration } from '../lease/duration.ts';
import { newOperationId } from '../platform/ids.ts';
import {
  dueLeases, eventsOfLease, insertEvents, leasePlace, leasesByIds, leasesOfAccount, leasesOfAll, lockLeases, moveEnds, type LockedLease,
} from '../store/leases.ts';
import type { Db, Queryable } from '../store/db.ts';
import { accountByName } from '../store/users.ts';
import type { ManagerDeps } from './deps.ts';
import { TransitionBatch, type Effects } from './transitions.ts';
import type { Caller, EventView, LeaseChange, LeaseQuery, LeaseView, Manager, NewEnd } from './types.ts';
import { leaseView, readLeases } from './view.ts';

/** Leases that one call may name, and that one describe may answer. */
const MOST_NAMED = 1_000;
const MOST_DESCRIBED = 10_000;
const CONSOLE_BYTES = 64 * 1024;
/** An end this near is no lease time any more; ask for the end instead. */
const SHORTEST_S = 1;

type Cases = Pick<Manager['leases'], 'describe' | 'end' | 'reboot' | 'setEnd' | 'console' | 'events'>;

export interface LeaseCases extends Cases {
  /** Ends leases whose time is over; returns how many. */
  sweep(): Promise<number>;
  /** As `end`, by an administrator who takes the node's word for lost: room is given back at once. */
  forget(caller: Caller, ids: readonly string[], why: string): Promise<LeaseChange[]>;
}

export function leaseCases(deps: ManagerDeps): LeaseCases {
  return {
    describe: (caller, query) => describe(deps, caller, query),
    end: (caller, ids, why, o) => change(deps, caller, ids, 'end', why, o?.dryRun ?? false),
    reboot: (caller, ids, o) => change(deps, caller, ids, 'reboot', '', o?.dryRun ?? false),
    forget: (caller, ids, why) => change(deps, caller, ids, 'forget', why, false),
    setEnd: (caller, ids, end, o) => setEnd(deps, caller, ids, end, o?.dryRun ?? false),
    console: (caller, id, maxBytes) => readConsole(deps, caller, id, maxBytes ?? CONSOLE_BYTES),
    events: (caller, id) => events(deps, caller, id),
    sweep: () => sweep(deps),
  };
}

const accountOf = (caller: Caller): number | null => (caller.admin ? null : caller.accountId);

function checkIds(ids: readonly string[]): string[] {
  if (ids.length > MOST_NAMED) throw new Fault('ParameterInvalid', `at most ${MOST_NAMED} leases can be named at once`);
  for (const id of ids) {
    if (!LEASE_ID.test(id)) throw new Fault('LeaseIdMalformed', `Invalid id: "${id.slice(0, 64)}" (expecting "i-...")`);
  }
  return [...new Set(ids)];
}

function notFound(ids: readonly string[]): Fault {
  return new Fault('LeaseNotFound', ids.length === 1 ? `The instance ID '${ids[0]}' does not exist` : `The instance IDs '${ids.join(', ')}' do not exist`);
}

async function describe({ ctx, db, config }: ManagerDeps, caller: Caller, q: LeaseQuery): Promise<LeaseView[]> {
  if (q.ids !== undefined && q.ids.length > 0) return describeNamed(db, caller, q, q.ids);
  const account = q.account === undefined ? accountOf(caller) : await namedAccount(db, caller, q.account);
  const endedAfter = new Date(ctx.clock.now() - (q.endedWithinMs ?? config.ec2.terminated_visible * 1000));
  const after = q.after === undefined ? 0 : (await readLeases(db, leasesByIds, [[q.after], accountOf(caller)]))[0]?.seq ?? 0;
  const limit = Math.min(q.limit ?? MOST_DESCRIBED, MOST_DESCRIBED);
  const rows = await readLeases(db, account === null ? leasesOfAll : leasesOfAccount, [account, endedAfter, q.live ?? false, after, limit]);
  return rows.map(leaseView);
}

async function describeNamed(db: Db, caller: Caller, q: LeaseQuery, named: readonly string[]): Promise<LeaseView[]> {
  const ids = checkIds(named);
  const rows = await readLeases(db, leasesByIds, [ids, accountOf(caller)]);
  if (rows.length < ids.length && q.missing !== 'skip') {
    const found = new Set(rows.map((r) => r.id));
    throw notFound(ids.filter((id) => !found.has(id)));
  }
  return rows.map(leaseView);
}

async function namedAccount(db: Db, caller: Caller, name: string): Promise<number> {
  const [account] = await db.query(accountByName, [name]);
  if (account === undefined) throw new Fault('UserNotFound', `no user is named ${name}`);
  if (!caller.admin && account.id !== caller.accountId) throw new Fault('NotAuthorized', 'only administrators see the leases of others');
  return account.id;
}

/** Locks the named leases; a missing or foreign one fails the call before anything is written. */
async function lockNamed(tx: Queryable, caller: Caller, ids: readonly string[]): Promise<Map<string, LockedLease>> {
  const leases = new Map((await tx.query(lockLeases, [ids, accountOf(caller)])).map((l) => [l.id, l]));
  const missing = ids.filter((id) => !leases.has(id));
  if (missing.length > 0) throw notFound(missing);
  return leases;
}

async function change(
  deps: ManagerDeps, caller: Caller, named: readonly string[], trigger: Extract<Trigger, 'end' | 'reboot' | 'forget'>, why: string, dryRun: boolean,
): Promise<LeaseChange[]> {
  const ids = checkIds(named);
  const actor: Actor = caller.admin ? 'admin' : caller.door === 'service' ? 'service' : 'user';
  const { changes, effects } = await deps.db.transaction(async (tx) => {
    const leases = await lockNamed(tx, caller, ids);
    const batch = newBatch(deps);
    const made = ids.map((id) => applyAsked(deps, batch, leases.get(id) as LockedLease, trigger, actor, caller, why));
    if (dryRun) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
    return { changes: made, effects: await batch.write(tx) };
  });
  follow(deps, effects);
  return changes;
}

function applyAsked(
  deps: ManagerDeps, batch: TransitionBatch, lease: LockedLease, trigger: Trigger, actor: Actor, caller: Caller, why: string,
): LeaseChange {
  const before = lease.state;
  const cause = { trigger, actor, who: caller.name, why, at: deps.ctx.clock.now(), requestId: caller.requestId };
  const outcome = trigger === 'end' && actor === 'user' ? { reasonCode: 'Client.UserInitiatedShutdown', reason: `ended by ${caller.name}${why === '' ? '' : `: ${why}`}` } : {};
  const applied = batch.apply(lease, cause, outcome);
  // Ending what has ended, or ends already, is what the user wants.
  const already = (trigger === 'end' || trigger === 'forget') && (lease.final || lease.state === 'Ending');
  if (!applied && !already) {
    throw new Fault('StateRefused', `The instance '${lease.id}' is not in a state from which it can be ${trigger === 'reboot' ? 'rebooted' : 'changed'}`, [`it is ${before}`]);
  }
  return { id: lease.id, before, after: lease.state };
}

const newBatch = (deps: ManagerDeps): TransitionBatch =>
  new TransitionBatch(deps.ctx.random, deps.ctx.clock.now(), deps.config.accounting.charge_granularity);

function follow(deps: ManagerDeps, effects: Effects): void {
  for (const r of effects.released) deps.pool.giveBack([r.nodeId], r);
  if (effects.intentIds.length > 0) deps.handOver(effects.intentIds);
}

async function setEnd(deps: ManagerDeps, caller: Caller, named: readonly string[], end: NewEnd, dryRun: boolean): Promise<LeaseView[]> {
  const ids = checkIds(named);
  const now = deps.ctx.clock.now();
  const endsAt = 'endsAt' in end ? end.endsAt : now + end.durationS * 1000;
  checkEnd(deps, now, endsAt);
  await deps.db.transaction(async (tx) => {
    const leases = [...(await lockNamed(tx, caller, ids)).values()];
    for (const l of leases) {
      if (l.final || l.state === 'Ending' || l.state === 'Corrupted') throw new Fault('StateRefused', `The lease ${l.id} is over`, [`it is ${l.state}`]);
    }
    if (dryRun) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
    await tx.query(moveEnds, [leases.map((l) => l.id), leases.map(() => new Date(endsAt)), leases.map((l) => Math.ceil((endsAt - l.created_at) / 1000))]);
    await tx.query(insertEvents, [JSON.stringify(leases.map((l) => ({
      lease_id: l.id, at: new Date(now).toISOString(), from_state: l.state, to_state: l.state, trigger: endsAt >= l.ends_at ? 'extended' : 'shortened',
      who: caller.name, why: `ends ${new Date(endsAt).toISOString()} instead of ${new Date(l.ends_at).toISOString()}`, request_id: caller.requestId,
    })))]);
  });
  return describe(deps, caller, { ids });
}

function checkEnd({ config }: ManagerDeps, now: number, endsAt: number): void {
  const seconds = (endsAt - now) / 1000;
  const most = config.lease.max_duration;
  if (!(seconds >= SHORTEST_S)) throw new Fault('DurationRefused', 'the new end lies in the past; end the lease instead');
  if (seconds > most) {
    throw new Fault('DurationRefused', `a lease may end at most ${formatDuration(most)} from now`, [`lease.max_duration = ${formatDuration(most)}, asked ${formatDuration(seconds)}`]);
  }
}

async function readConsole(deps: ManagerDeps, caller: Caller, id: string, maxBytes: number): Promise<{ bytes: Buffer; at: number }> {
  const [lease] = await deps.db.query(leasePlace, [checkIds([id]), accountOf(caller)]);
  if (lease === undefined) throw notFound([id]);
  const now = deps.ctx.clock.now();
  if (lease.node_id === null || lease.final) return { bytes: Buffer.alloc(0), at: lease.ended_at ?? now };
  const done = await deps.control.ask(lease.node_id, {
    op: 'console', id: newOperationId(deps.ctx.random), requestId: caller.requestId, lease: id,
    maxBytes: Math.min(maxBytes, CONSOLE_BYTES), deadlineMs: deps.config.control.operation_deadline_ms,
  });
  if (!('console' in done.result)) throw new Fault('NodeRefused', 'the node answered something else than a console');
  return { bytes: Buffer.from(done.result.console, 'base64'), at: done.result.at };
}

async function events(deps: ManagerDeps, caller: Caller, id: string): Promise<EventView[]> {
  await describe(deps, caller, { ids: [id] });
  return (await deps.db.query(eventsOfLease, [id])).map((e) => ({
    seq: e.id, lease: e.lease_id, at: e.at, from: e.from_state, to: e.to_state, trigger: e.trigger as EventView['trigger'],
    who: e.who, why: e.why, requestId: e.request_id,
  }));
}

async function sweep(deps: ManagerDeps): Promise<number> {
  const now = deps.ctx.clock.now();
  const due = await deps.db.query(dueLeases, [new Date(now), MOST_NAMED]);
  if (due.length === 0) return 0;
  const effects = await deps.db.transaction(async (tx) => {
    const batch = newBatch(deps);
    for (const lease of await tx.query(lockLeases, [due.map((d) => d.id), null])) {
      // The end may have been moved between the look and the lock.
      if (lease.ends_at > now) continue;
      const why = 'the lease’s time is over';
      batch.apply(lease, { trigger: 'end', actor: 'sweeper', who: 'sweeper', why, at: now, requestId: null }, { reasonCode: 'Server.LeaseExpired', reason: why });
    }
    return batch.write(tx);
  });
  follow(deps, effects);
  return due.length;
}
