/** Writes what the batch system's list changes. Facts of many slots are one statement; steps are made under locks, some hundred slots a transaction. */
import { Fault } from '../../lease/faults.ts';
import { inHalves } from '../../platform/halves.ts';
import { jobLives, reconcile, type JobFacts, type KnownSlot, type Reconciliation } from '../../pilot/reconcile.ts';
import type { JobView, Listing } from '../../pilot/lrm/types.ts';
import { isUnavailable, type Db, type Queryable } from '../../store/db.ts';
import { holdDuty } from '../../store/processes.ts';
import { finalSlots, liveSlots, noteSlots, type LiveSlotRow, type SlotRow } from '../../store/slots.ts';
import type { SlotDeps } from '../deps.ts';
import { changeSlots, type OpenSlot, type SlotBatch } from './batch.ts';
import { mayTryAgain } from './submit.ts';
import { settle } from './together.ts';
import type { ReconcileResult, ToCancel } from './types.ts';

const STEPS_AT_ONCE = 250;
/** The duty of asking for the list, and of concluding from it. */
export const BATCH_SYSTEM = 'batch-system';

export async function reconcileSlots(deps: SlotDeps, listing: Listing & { kind: 'listing' }, askedAt: number, inFlight: ReadonlySet<string>): Promise<ReconcileResult> {
  const { ctx, db } = deps;
  for (const i of listing.ignored) ctx.log.warn('the batch system’s list holds what cannot be read; ignored', { slot: i.slotId, why: i.why });
  const begun = new Date(askedAt - 2 * deps.config.pilot.command_deadline * 1000);
  const live = await db.query(liveSlots, [deps.self?.id() ?? null, begun]);
  const unclear = new Set([...inFlight, ...live.flatMap((s) => (s.submitting_elsewhere ? [s.id] : [])), ...listing.ignored.flatMap((i) => i.slotId ?? [])]);
  const jobs = [...listing.jobs, ...listing.others ?? []];
  const { notes, steps, strays, ignored } = reconcile(live.map(known), jobs, askedAt, unclear);
  for (const i of ignored) ctx.log.warn('the batch system’s list contradicts the slot; ignored', { slot: i.id, why: i.why });
  if (notes.length > 0) {
    await db.transaction(async (tx) => {
      await stillOurs(deps, tx);
      await tx.query(noteSlots, [JSON.stringify(notes.map(({ id, facts }) => factsRow(id, facts)))]);
    });
  }
  for (let i = 0; i < steps.length; i += STEPS_AT_ONCE) await takeSteps(deps, steps.slice(i, i + STEPS_AT_ONCE));
  return { changed: notes.length + steps.length, live: live.length, strays: [...strays, ...await jobsOfEndedSlots(db, live, jobs)] };
}

/** A slot was believed to be over, or ended while its submission was under way, and its job is there after all. */
async function jobsOfEndedSlots(db: Db, live: readonly LiveSlotRow[], jobs: readonly JobView[]): Promise<readonly ToCancel[]> {
  const ids = new Set(live.map((s) => s.id));
  const others = jobs.filter((j) => !ids.has(j.slotId) && jobLives(j.state));
  if (others.length === 0) return [];
  const ended = new Set((await db.query(finalSlots, [[...new Set(others.map((j) => j.slotId))]])).map((s) => s.id));
  return others.filter((j) => ended.has(j.slotId)).map((j) => ({ slotId: j.slotId, jobId: j.jobId }));
}

/** A list that a process had asked for before it was taken for dead is old by now, and the duty is another's. */
async function stillOurs({ self }: SlotDeps, tx: Queryable): Promise<void> {
  const id = self?.id() ?? null;
  if (id === null) return;
  if ((await tx.query(holdDuty, [BATCH_SYSTEM, id])).length === 0) throw new Fault('Unavailable', 'another service asks the batch system now');
}

async function takeSteps(deps: SlotDeps, steps: Reconciliation['steps']): Promise<void> {
  // A slot whose step cannot be written must not keep the others from taking theirs.
  const done = await inHalves(steps, async (some) => {
    await changeSlots(deps, some.map((s) => s.id), async (batch, tx) => {
      await stillOurs(deps, tx);
      for (const s of some) takeStep(deps, batch, s);
    });
    return some.map(() => true);
  }, isUnavailable);
  const failed = done.find((d) => d instanceof Error);
  if (failed instanceof Error) deps.ctx.log.error('what the batch system says of some slots could not be written; the next poll tries again', { error: failed.message });
}

function takeStep(deps: SlotDeps, batch: SlotBatch, { id, facts, step }: Reconciliation['steps'][number]): void {
  const open = batch.slots.get(id);
  if (open === undefined || open.slot.final) return;
  // Some batch systems call a job over while its pilots are still in their grace.
  if (step.trigger === 'gone' && open.nodes.some((n) => n.state === 'Preempted' && (n.grace_ends_at ?? 0) > batch.now)) return;
  applyFacts(open.slot, facts);
  batch.touch(open.slot);
  switch (step.trigger) {
    case 'not-submitted':
      return again(batch, open);
    case 'gone':
      batch.step(open, 'gone', step.code === null || finished(open) ? undefined : { code: step.code, reason: step.reason ?? '' });
      return;
    case 'requeued':
      batch.step(open, 'requeued', step);
      return;
    case 'running':
      for (const n of open.nodes) if (n.phases['job-running'] === undefined) batch.note(n, { 'job-running': batch.now });
      batch.step(open, 'running');
      // Its pilots may have been heard before the list was.
      settle(batch, open);
      return;
    case 'submitted':
      deps.ctx.log.info('a job was found in the batch system’s list', { slot: id, job: facts.jobId });
      batch.step(open, 'submitted');
  }
}

/** Every pilot has said that its node is given back: that the job is over is how it should be. */
const finished = (open: OpenSlot): boolean => open.nodes.every((n) => n.state === 'Returned');

function again(batch: SlotBatch, open: OpenSlot): void {
  const { slot } = open;
  if (mayTryAgain(slot.attempts)) {
    batch.step(open, 'not-submitted');
    slot.next_at = batch.now;
    return;
  }
  batch.step(open, 'rejected', { code: 'Server.BatchSystemUnreachable', reason: `the batch system took none of ${slot.attempts} submissions` });
}

function applyFacts(slot: SlotRow, f: JobFacts): void {
  slot.job_id ??= f.jobId;
  slot.native_state = f.nativeState;
  slot.queue_position = f.position;
  slot.queue_reason = f.reason;
  slot.expected_start = f.expectedStart;
  slot.missing_polls = f.missingPolls;
  slot.hosts = [...f.hosts];
}

const factsRow = (id: string, f: JobFacts): object => ({
  id, job_id: f.jobId, native_state: f.nativeState, queue_position: f.position, queue_reason: f.reason, hosts: f.hosts, missing_polls: f.missingPolls,
  expected_start: f.expectedStart === null ? null : new Date(f.expectedStart).toISOString(),
});

const known = (s: LiveSlotRow): KnownSlot => ({
  id: s.id, state: s.state, jobId: s.job_id, nativeState: s.native_state, position: s.queue_position, reason: s.queue_reason, expectedStart: s.expected_start,
  hosts: s.hosts, missingPolls: s.missing_polls, submittedAt: s.submitted_at, releasedAt: s.released_at,
});
