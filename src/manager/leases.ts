/** The use cases on leases that exist: describe, end, reboot, move the end, read the console, show the trail. */
import { Fault } from '../lease/faults.ts';
import type { Actor, Trigger } from '../lease/states.ts';
import { newOperationId } from '../platform/ids.ts';
import {
  dueLeases, eventsOfLease, leasePlace, lockLeases, type LockedLease,
} from '../store/leases.ts';
import type { LeaseSearch } from '../store/lease-search.ts';
import { isUnavailable, type Db } from '../store/db.ts';
import { inHalves } from '../platform/halves.ts';
import { accountByName } from '../store/users.ts';
import { createAskNode, type AskNode } from './ask-node.ts';
import type { ManagerDeps } from './deps.ts';
import { follow } from './follow.ts';
import { moveEnd } from './lease-end.ts';
import { leaseReads, type LeaseReads } from './lease-reads.ts';
import { accountOf, checkIds, lockNamed, MOST_NAMED, notFound } from './named-leases.ts';
import { requireEndable, startAsked, stopAsked } from './power.ts';
import { TransitionBatch, type Cause } from './transitions.ts';
import type { Caller, EventView, LeaseChange, LeaseQuery, LeaseView, Manager, NewEnd } from './types.ts';
import { leaseView } from './view.ts';

/** Leases that one describe may answer. */
const MOST_DESCRIBED = 10_000;
const CONSOLE_BYTES = 64 * 1024;

type Cases = Pick<Manager['leases'], 'describe' | 'end' | 'reboot' | 'start' | 'stop' | 'setEnd' | 'console' | 'events'>;

export interface LeaseCases extends Cases {
  /** Ends leases whose time is over; returns how many. */
  sweep(): Promise<number>;
  /** As `end`, by an administrator who takes the node's word for lost: room is given back at once. */
  forget(caller: Caller, ids: readonly string[], why: string): Promise<LeaseChange[]>;
}

export function leaseCases(deps: ManagerDeps): LeaseCases {
  const askNode = createAskNode(deps);
  const reads = leaseReads(deps.db);
  return {
    describe: (caller, query) => describe(deps, reads, caller, query),
    end: (caller, ids, why, o) => change(deps, caller, ids, o, asked('end', why)),
    reboot: (caller, ids, o) => change(deps, caller, ids, o, asked('reboot', '')),
    forget: (caller, ids, why) => change(deps, caller, ids, {}, asked('forget', why)),
    start: (caller, ids, o) => change(deps, caller, ids, o, startAsked),
    stop: (caller, ids, o) => change(deps, caller, ids, o, (batch, lease, cause) => stopAsked(batch, lease, { ...cause, hard: o?.hard === true })),
    setEnd: (caller, ids, end, o) => setEnd(deps, reads, caller, ids, end, o?.dryRun ?? false),
    console: (caller, id, maxBytes) => readConsole(deps, askNode, caller, id, maxBytes ?? CONSOLE_BYTES),
    events: (caller, id) => events(deps, reads, caller, id),
    sweep: () => sweep(deps),
  };
}

async function describe(deps: ManagerDeps, reads: LeaseReads, caller: Caller, q: LeaseQuery): Promise<LeaseView[]> {
  if (q.ids !== undefined && q.ids.length > 0) return describeNamed(reads, caller, q, q.ids);
  const { ctx, db, config } = deps;
  const account = q.account === undefined ? accountOf(caller) : await namedAccount(db, caller, q.account);
  const within = q.endedWithinMs ?? config.ec2.terminated_visible * 1000;
  const afterSeq = q.after === undefined ? 0 : (await reads.named([q.after], accountOf(caller)))[0]?.seq ?? 0;
  const [live, limit] = [q.live ?? false, Math.min(q.limit ?? MOST_DESCRIBED, MOST_DESCRIBED)];
  const where = (): LeaseSearch => ({ account, endedAfter: new Date(ctx.clock.now() - within), live, afterSeq, limit });
  const rows = await (q.match === undefined ? reads.listed([account, within, live, afterSeq, limit].join(' '), where) : reads.matching(where(), q.match));
  return rows.map(leaseView);
}

async function describeNamed(reads: LeaseReads, caller: Caller, q: LeaseQuery, named: readonly string[]): Promise<LeaseView[]> {
  const ids = checkIds(named);
  const rows = await reads.named(ids, accountOf(caller));
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

/** What is asked of one lease. @throws Fault when its state does not allow it */
type Act = (batch: TransitionBatch, lease: LockedLease, cause: Omit<Cause, 'trigger'>) => void;

/** All of the named leases, or none. */
async function change(deps: ManagerDeps, caller: Caller, named: readonly string[], options: { dryRun?: boolean } | undefined, act: Act): Promise<LeaseChange[]> {
  const ids = checkIds(named);
  const actor: Actor = caller.admin ? 'admin' : caller.door === 'service' ? 'service' : 'user';
  const cause = { actor, who: caller.name, why: '', at: deps.ctx.clock.now(), requestId: caller.requestId };
  const { changes, effects } = await deps.db.transaction(async (tx) => {
    const leases = await lockNamed(tx, caller, ids);
    const batch = newBatch(deps);
    const made = ids.map((id) => {
      const lease = leases.get(id) as LockedLease;
      const before = lease.state;
      act(batch, lease, cause);
      return { id, before, after: lease.state, ran: lease.running_at !== null };
    });
    if (options?.dryRun === true) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
    return { changes: made, effects: await batch.write(tx) };
  });
  follow(deps, effects);
  return changes;
}

function asked(trigger: Extract<Trigger, 'end' | 'reboot' | 'forget'>, why: string): Act {
  return (batch, lease, cause) => {
    if (trigger === 'end') requireEndable(lease, cause);
    const outcome = trigger === 'end' && cause.actor === 'user' ? { reasonCode: 'Client.UserInitiatedShutdown', reason: `ended by ${cause.who}${why === '' ? '' : `: ${why}`}` } : {};
    const before = lease.state;
    // Ending what has ended, or ends already, is what the user wants.
    const already = (trigger === 'end' || trigger === 'forget') && (lease.final || lease.state === 'Ending');
    if (batch.apply(lease, { ...cause, trigger, why }, outcome) || already) return;
    throw new Fault('StateRefused', `The instance '${lease.id}' is not in a state from which it can be ${trigger === 'reboot' ? 'rebooted' : 'changed'}`, [`it is ${before}`]);
  };
}

const newBatch = (deps: ManagerDeps): TransitionBatch =>
  new TransitionBatch(deps.ctx.random, deps.ctx.clock.now(), deps.config.accounting.charge_granularity, deps.self?.id() ?? null);

async function setEnd(deps: ManagerDeps, reads: LeaseReads, caller: Caller, ids: readonly string[], end: NewEnd, dryRun: boolean): Promise<LeaseView[]> {
  await deps.decision?.extend(caller, checkIds(ids), end);
  await deps.db.transaction(async (tx) => {
    await moveEnd(deps, tx, caller, ids, end);
    // Thrown inside, so that what was tried is rolled back.
    if (dryRun) throw new Fault('DryRun', 'Request would have succeeded, but DryRun flag is set.');
  });
  return describe(deps, reads, caller, { ids });
}

async function readConsole(deps: ManagerDeps, askNode: AskNode, caller: Caller, id: string, maxBytes: number): Promise<{ bytes: Buffer; at: number }> {
  const [lease] = await deps.db.query(leasePlace, [checkIds([id]), accountOf(caller)]);
  if (lease === undefined) throw notFound([id]);
  const now = deps.ctx.clock.now();
  if (lease.node_id === null || lease.final) return { bytes: Buffer.alloc(0), at: lease.ended_at ?? now };
  const done = await askNode(lease.node_id, {
    op: 'console', id: newOperationId(deps.ctx.random), requestId: caller.requestId, lease: id,
    maxBytes: Math.min(maxBytes, CONSOLE_BYTES), deadlineMs: deps.config.control.operation_deadline_ms,
  });
  if (!('console' in done.result)) throw new Fault('NodeRefused', 'the node answered something else than a console');
  return { bytes: Buffer.from(done.result.console, 'base64'), at: done.result.at };
}

async function events(deps: ManagerDeps, reads: LeaseReads, caller: Caller, id: string): Promise<EventView[]> {
  await describe(deps, reads, caller, { ids: [id] });
  return (await deps.db.query(eventsOfLease, [id])).map((e) => ({
    seq: e.id, lease: e.lease_id, at: e.at, from: e.from_state, to: e.to_state, trigger: e.trigger as EventView['trigger'],
    who: e.who, why: e.why, requestId: e.request_id,
  }));
}

async function sweep(deps: ManagerDeps): Promise<number> {
  const due = await deps.db.query(dueLeases, [new Date(deps.ctx.clock.now()), MOST_NAMED]);
  if (due.length === 0) return 0;
  // A lease whose end cannot be written must not keep the others from ending on time.
  const ended = await inHalves<string, boolean>(due.map((d) => d.id), (ids) => endDue(deps, ids), isUnavailable);
  const failed = ended.find((e) => e instanceof Error);
  if (failed !== undefined) deps.ctx.log.error('some leases could not be ended on time; trying again', { error: failed.message, leases: ended.filter((e) => e instanceof Error).length });
  return ended.filter((e) => e === true).length;
}

/** True for each that was ended; its end may have been moved between the look and the lock. */
async function endDue(deps: ManagerDeps, ids: readonly string[]): Promise<boolean[]> {
  const now = deps.ctx.clock.now();
  const over = new Set<string>();
  const effects = await deps.db.transaction(async (tx) => {
    const batch = newBatch(deps);
    for (const lease of await tx.query(lockLeases, [ids, null])) {
      const why = lease.state === 'Pending' ? 'the time to gather its ensemble is over' : 'the lease’s time is over';
      const cause = { actor: 'sweeper', who: 'sweeper', why, at: now, requestId: null } as const;
      const outcome = { reasonCode: 'Server.LeaseExpired', reason: why };
      if (lease.ends_at === null || lease.ends_at > now) continue;
      // What it was to leave behind is saved first; when that is done, or has failed, it is due again.
      if (lease.save_as !== null && batch.apply(lease, { ...cause, trigger: 'make-transportable' }, outcome)) continue;
      if (batch.apply(lease, { ...cause, trigger: 'end' }, outcome)) over.add(lease.id);
    }
    return batch.write(tx);
  });
  follow(deps, effects);
  return ids.map((id) => over.has(id));
}
