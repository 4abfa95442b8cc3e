/**
 * Writes down what agents report. What arrives while one transaction runs goes into the next together, so that a burst of
 * a thousand starts costs a few commits. A report of an older generation finishes its intent and changes nothing else; one from
 * a node that does not hold the lease changes nothing of it, whatever it says.
 */
import { createBatcher } from '../platform/batcher.ts';
import { inHalves } from '../platform/halves.ts';
import { Fault } from '../lease/faults.ts';
import { breakdown, type LeasePhase, type Moments } from '../lease/phases.ts';
import { STATES, type IntentKind, type LeaseState, type Trigger } from '../lease/states.ts';
import type { Reach } from '../lease/types.ts';
import type { Context } from '../platform/context.ts';
import { isUnavailable, type Queryable } from '../store/db.ts';
import { failImageOrders, forgetImageOrder, imageOrders, insertImage } from '../store/images.ts';
import { claimedIntents, startGenerations } from '../store/intents.ts';
import { lockLeases, type LockedLease } from '../store/leases.ts';
import { endsAsked } from '../store/slot-report.ts';
import type { ManagerDeps } from './deps.ts';
import { endOf } from './displaced.ts';
import { follow } from './follow.ts';
import { holdPhases } from './phases-held.ts';
import { TransitionBatch, within, type Cause, type Outcome } from './transitions.ts';

export interface SavedImage {
  readonly id: string;
  readonly accountId: number;
  readonly name: string;
  readonly format: 'raw' | 'qcow2';
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly file: string;
  readonly description: string;
}

/** What an agent, or the dispatcher in its place, says of one lease. `at` is on the service's clock, ms. */
export type Report = {
  readonly lease: string;
  readonly generation: number;
  /** Name of the node. */
  readonly node: string;
  readonly at: number;
  readonly requestId: string | null;
} & (
  | { readonly kind: 'phase'; readonly phase: LeasePhase }
  | { readonly kind: 'done'; readonly intentId: string; readonly intent: IntentKind; readonly reach: Reach | null; readonly phases: Readonly<Partial<Record<LeasePhase, number>>> }
  /** The lease's disk is in the repository, as a file without a row. */
  | { readonly kind: 'saved'; readonly intentId: string; readonly image: SavedImage }
  | { readonly kind: 'failed'; readonly intentId: string; readonly intent: IntentKind; readonly code: string; readonly reason: string; readonly superseded: boolean; readonly claim: number | null }
  /** `gone`: nothing of it is on its node any more, its disk neither. */
  | { readonly kind: 'vm-exited'; readonly reason: string; readonly gone?: boolean }
);

/** States of a VM that is there and stays what it is whatever is asked of it meanwhile. */
const OUTLIVES_INTENTS = (s: LeaseState | undefined): boolean =>
  s === 'Running' || s === 'Rebooting' || s === 'Pausing' || s === 'Paused' || s === 'Resuming';

const MOST_IN_BATCH = 256;
const MOST_WAITING = 100_000;
/** A node that lies does it often: the log says so once in so long. */
const SAY_AGAIN_MS = 60_000;

const ON_PHASE: Readonly<Partial<Record<LeasePhase, Trigger>>> = {
  'propagate-begun': 'propagate-begun', propagated: 'propagated', 'start-begun': 'start-begun',
};
const ON_DONE: Readonly<Record<IntentKind, Trigger>> = {
  start: 'started', reboot: 'rebooted', pause: 'paused', resume: 'resumed', shutdown: 'shut-down', serialize: 'serialized',
  unserialize: 'started', save: 'transportable', copy: 'copy-done', remove: 'ended',
};
/** A first start that fails is the end of the VM; a refused reboot, pause or resume leaves it as it was, and so does one whose memory is kept. */
const ON_FAILED: Readonly<Record<IntentKind, readonly Trigger[]>> = {
  start: ['failed'], unserialize: ['refused'], save: [], copy: [], remove: [],
  reboot: ['refused'], pause: ['refused'], resume: ['refused'], shutdown: ['refused'], serialize: ['refused'],
};

const PREEMPTED = 'the batch system took the node back';

export interface Recorder {
  /** Resolves when the report is committed. */
  report(report: Report): Promise<void>;
  idle(): Promise<void>;
  readonly waiting: number;
}

export function createRecorder(deps: ManagerDeps): Recorder {
  const liars = rarely(deps.ctx);
  const batcher = createBatcher<Report, void>({
    most: MOST_IN_BATCH,
    mostWaiting: MOST_WAITING,
    full: () => new Fault('Busy', 'too many reports of agents are waiting'),
    // A report that cannot be written must not keep its neighbours from being.
    run: (all) => inHalves<Report, void>(all, async (reports) => {
      await record(deps, reports, liars);
      return reports.map(() => undefined);
    }, isUnavailable),
  });
  const phases = holdPhases<Report>(deps.ctx.clock, (r) => batcher.add(r));
  return {
    report: (r) => phases.report(r),
    idle() {
      phases.letGo();
      return batcher.idle();
    },
    get waiting() { return batcher.waiting + phases.held; },
  };
}

async function record(deps: ManagerDeps, reports: readonly Report[], liars: Liars): Promise<void> {
  const { ctx, db, config } = deps;
  const now = ctx.clock.now();
  /** Of leases that have begun to run, or have ended. */
  let measured: Moments[] = [];
  const effects = await db.transaction(async (tx) => {
    const leases = new Map((await tx.query(lockLeases, [[...new Set(reports.map((r) => r.lease))], null])).map((l) => [l.id, l]));
    const [exited, passedOn] = [await exitsOfThisVm(tx, leases, reports), await failuresPassedOn(tx, reports)];
    const notMade = new Map<string, string>();
    const orders = await ordersOf(tx, leases, notMade);
    const batch = new TransitionBatch(ctx.random, now, config.accounting.charge_granularity, deps.self?.id() ?? null);
    for (const r of reports) {
      const lease = leases.get(r.lease);
      if (r.kind === 'saved' && lease?.node === r.node) await keepImage(tx, r.image, lease, now);
    }
    measured = [];
    const ended = new Map<string, number>();
    for (const said of reports) {
      const lease = leases.get(said.lease);
      if (lease === undefined || passedOn.has(said)) continue;
      const r = dated(said, lease, now);
      const before = lease.state;
      const isFirstStart = r.kind === 'done' && r.intent === 'start' && lease.running_at === null;
      const order = orders.get(lease.image_order ?? '');
      if (lease.node === r.node) applyReport(batch, lease, r, now, exited.has(said), order);
      else foreign(liars, batch, lease, r);
      if (isFirstStart && lease.state === 'Running') measured.push({ ...lease.phases, ...r.phases, recorded: now });
      if (before === 'Ending' && lease.final && lease.phases['received'] !== undefined) ended.set(lease.id, Math.min(r.at, now));
    }
    if (ended.size > 0 && ctx.meter !== undefined) {
      for (const { lease_id: id, at } of await tx.query(endsAsked, [[...ended.keys()]])) measured.push({ 'end-asked': at, ended: ended.get(id) ?? now });
    }
    if (notMade.size > 0) await tx.query(failImageOrders, [[...notMade.keys()], [...notMade.values()], new Date(now)]);
    return batch.write(tx);
  });
  for (const moments of measured) for (const step of breakdown(moments)) ctx.meter?.step(step.name, step.ms);
  follow(deps, effects);
}

/** Its phases too are dated as what happens to a lease is: what they come to is added to everybody's. */
function dated(r: Report, lease: LockedLease, now: number): Report {
  if (r.kind === 'phase') return { ...r, at: within(lease, r.at, now) };
  if (r.kind !== 'done') return r;
  return { ...r, phases: Object.fromEntries(Object.entries(r.phases).map(([phase, at]) => [phase, within(lease, at, now)])) };
}

/**
 * A VM that ended while a reboot or the like was on its way says so under the generation that it knew. It is the lease's
 * VM all the same when nothing has started another one since.
 */
async function exitsOfThisVm(tx: Queryable, leases: ReadonlyMap<string, LockedLease>, reports: readonly Report[]): Promise<Set<Report>> {
  const older = reports.filter((r) => r.kind === 'vm-exited' && r.generation < (leases.get(r.lease)?.generation ?? 0) && OUTLIVES_INTENTS(leases.get(r.lease)?.state));
  if (older.length === 0) return new Set();
  const started = new Map((await tx.query(startGenerations, [[...new Set(older.map((r) => r.lease))]])).map((s) => [s.lease_id, s.generation]));
  return new Set(older.filter((r) => r.generation >= (started.get(r.lease) ?? 0)));
}

/** What failed for a process that others took for dead may have been done by them since: theirs counts. */
async function failuresPassedOn(tx: Queryable, reports: readonly Report[]): Promise<Set<Report>> {
  const failed = reports.filter((r) => r.kind === 'failed');
  if (failed.length === 0) return new Set();
  const open = new Set((await tx.query(claimedIntents, [failed.map((r) => r.intentId), failed.map((r) => r.claim)])).map((i) => i.id));
  return new Set(failed.filter((r) => !open.has(r.intentId)));
}

/** The intent was this node's, if there is one; the lease is another's. */
function foreign(liars: Liars, batch: TransitionBatch, lease: LockedLease, r: Report): void {
  if ('intentId' in r) batch.finish(r.intentId, 'superseded', `node ${r.node} does not hold the lease`);
  liars(r, lease);
}

type Liars = (r: Report, lease: LockedLease) => void;

function rarely({ clock, log }: Context): Liars {
  const said = new Map<string, number>();
  return (r, lease) => {
    if (clock.monotonic() - (said.get(r.node) ?? -Infinity) < SAY_AGAIN_MS) return;
    said.set(r.node, clock.monotonic());
    log.warn('a node reports of a lease that it does not hold; such reports are ignored', { node: r.node, lease: r.lease, holder: lease.node, report: r.kind, requestId: r.requestId });
  };
}

function applyReport(batch: TransitionBatch, lease: LockedLease, r: Report, now: number, thisVm: boolean, order: ImageOrder | undefined): void {
  const cause = (trigger: Trigger, why: string): Cause => ({ trigger, actor: 'agent', who: `node ${r.node}`, why, at: r.at, requestId: r.requestId });
  const current = r.generation === lease.generation;
  switch (r.kind) {
    case 'phase': {
      const trigger = ON_PHASE[r.phase];
      if (current && trigger !== undefined) batch.apply(lease, cause(trigger, ''), { phases: { [r.phase]: r.at } });
      return;
    }
    case 'done':
      batch.finish(r.intentId, 'done', null);
      if (current) finishDone(batch, lease, r, cause, now);
      return;
    case 'saved':
      batch.finish(r.intentId, 'done', null);
      if (!current) return;
      if (order !== undefined) return goOn(batch, lease, cause(lease.state === 'Running' ? 'copy-done' : 'image-made', `its disk is the image ${r.image.id}`), order, now);
      batch.apply(lease, cause('transportable', ''));
      if (lease.save_as !== null) return;
      preempt(batch, lease, r, `${PREEMPTED}; its disk was saved as image ${r.image.id} (${r.image.name})`);
      return;
    case 'failed':
      batch.finish(r.intentId, r.superseded ? 'superseded' : 'failed', r.reason);
      if (!current) return;
      // Of the newest generation the node cannot have seen a newer one: the table has fallen behind it.
      if (r.superseded && r.intent === 'remove') batch.again(lease, r.intent, r.requestId);
      if ((r.intent === 'save' || r.intent === 'copy') && order !== undefined) {
        order.fail(r.reason);
        return goOn(batch, lease, cause(r.intent === 'copy' ? 'copy-done' : 'refused', r.reason), order, now);
      }
      if (r.intent === 'save' && lease.save_as !== null) return notSaved(batch, lease, cause('refused', r.reason), r);
      if (r.intent === 'save') preempt(batch, lease, r, `${PREEMPTED}; nothing was saved: ${r.reason}`);
      notDone(batch, lease, r, cause);
      return;
    case 'vm-exited':
      if (current || thisVm) vmExited(batch, lease, r, cause);
  }
}

function notDone(batch: TransitionBatch, lease: LockedLease, r: Report & { kind: 'failed' }, cause: (trigger: Trigger, why: string) => Cause): void {
  const outcome = { reasonCode: r.code, reason: r.reason };
  const ranBefore = r.intent === 'start' && lease.running_at !== null;
  if (ranBefore && batch.apply(lease, { ...cause('not-started', r.reason), hard: true }, outcome)) return;
  // The node knows nothing of it: there is no VM that could run on.
  const isUnknown = r.intent === 'shutdown' && r.code === 'Server.NoSuchVm';
  for (const trigger of isUnknown ? ['failed'] as const : ON_FAILED[r.intent]) batch.apply(lease, cause(trigger, r.reason), outcome);
}

/** An image that is being made of a lease which goes on. */
interface ImageOrder {
  readonly restart: boolean;
  fail(why: string): void;
}

async function ordersOf(tx: Queryable, leases: ReadonlyMap<string, LockedLease>, failed: Map<string, string>): Promise<Map<string, ImageOrder>> {
  const ids = [...leases.values()].flatMap((l) => (l.image_order === null ? [] : [l.image_order]));
  if (ids.length === 0) return new Map();
  return new Map((await tx.query(imageOrders, [ids])).map(({ id, restart }) => [id, { restart, fail: (why) => void failed.set(id, why) }]));
}

/** Made or not, the lease is again what it was before: at rest, or running, unless its time is over. */
function goOn(batch: TransitionBatch, lease: LockedLease, cause: Cause, { restart }: ImageOrder, now: number): void {
  lease.image_order = null;
  batch.apply(lease, cause);
  if (!restart || (lease.ends_at !== null && lease.ends_at <= now)) return;
  batch.apply(lease, { ...cause, trigger: 'start', actor: 'service', who: 'service', why: 'runs on after its disk was saved' });
}

/** Its user may look after the disk; when the lease's time is over, it ends without another attempt. */
function notSaved(batch: TransitionBatch, lease: LockedLease, cause: Cause, r: Report & { kind: 'failed' }): void {
  lease.save_as = null;
  batch.apply(lease, cause, { reasonCode: r.code, reason: `its disk was not saved: ${r.reason}` });
}

/** What disks are saved for that no user asked for: the lease ends with it, saved or not. */
function preempt(batch: TransitionBatch, lease: LockedLease, r: Report, why: string): void {
  const cause = { trigger: 'end', actor: 'service', who: 'batch system', why, at: r.at, requestId: r.requestId } as const;
  batch.apply(lease, cause, endOf(lease, { code: 'Server.BatchSystemPreempted', reason: why }));
}

/** Of two savings of one lease, as after a crash, the first one is kept: the name says so. */
async function keepImage(tx: Queryable, i: SavedImage, lease: LockedLease, now: number): Promise<void> {
  const keep = async (name: string): Promise<boolean> =>
    (await tx.query(insertImage, [i.id, i.accountId, name, i.format, i.sizeBytes, i.sha256, i.file, i.description, new Date(now)])).length > 0;
  const kept = await keep(i.name);
  // A name that its user chose may have been given to another image meanwhile: that is no reason to lose the disk.
  if (!kept && i.id === lease.image_order) await keep(`saved-${i.id.slice(4)}`);
  else if (!kept && lease.save_as !== null) await keep(`saved-${lease.id}`);
  await tx.query(forgetImageOrder, [i.id, null]);
}

function vmExited(batch: TransitionBatch, lease: LockedLease, r: Report & { kind: 'vm-exited' }, cause: (trigger: Trigger, why: string) => Cause): void {
  // Its end is what was asked for. The agent that was asked may be gone: the request comes again, and its answer says so.
  if (lease.state === 'ShuttingDown' && r.gone !== true) return;
  const rests = lease.rests && r.gone !== true;
  // A VM that is over before its start was recorded was started: the agent's answer, or its phases, are still on their way.
  const missed = rests ? ['propagated', 'start-begun', 'started'] as const : ['propagated', 'start-begun'] as const;
  if (lease.running_at === null) for (const before of missed) batch.apply(lease, cause(before, ''));
  const outcome = { reasonCode: 'Client.InstanceInitiatedShutdown', reason: r.reason };
  if (rests && batch.apply(lease, cause('powered-off', r.reason), outcome)) return;
  if (STATES[lease.state].vm || lease.state === 'Serialized') batch.apply(lease, cause('vm-exited', r.reason), outcome);
}

function finishDone(
  batch: TransitionBatch, lease: LockedLease, r: Report & { kind: 'done' }, cause: (trigger: Trigger, why: string) => Cause, now: number,
): void {
  // Where the time went is said of the first start: before a later one lies the time at rest.
  const isFirst = lease.running_at === null;
  const outcome: Outcome = r.intent === 'start' && isFirst ? { reach: r.reach, phases: { ...r.phases, recorded: now } } : { reach: r.reach };
  // The events of phases that were not reported one by one still carry the agent's stamps.
  if (r.intent === 'start') {
    for (const phase of ['propagate-begun', 'propagated', 'start-begun'] as const) {
      const trigger = ON_PHASE[phase];
      const at = r.phases[phase];
      if (trigger !== undefined && at !== undefined) batch.apply(lease, { ...cause(trigger, ''), at });
    }
  }
  const propagated = r.intent === 'start' && lease.target === 'Propagated';
  batch.apply(lease, { ...cause(propagated ? 'propagated' : ON_DONE[r.intent], ''), at: (r.intent === 'start' ? r.phases.started : undefined) ?? r.at }, outcome);
  if (lease.target === 'Paused' && lease.state === 'Running') {
    lease.target = null;
    batch.apply(lease, { ...cause('pause', 'asked for at its creation'), actor: 'service', who: 'service' });
  }
  // A corrupted lease stays what it is until its end, but what its VM held is free.
  if (r.intent === 'remove') batch.release(lease, r.at);
}
