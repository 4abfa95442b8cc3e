/** Submission: a slot is `Submitting` before the batch system is called, and stays so until an answer is written. */
import type { SubmitAnswer } from '../../pilot/lrm/types.ts';
import { takeRequestedSlots } from '../../store/slots.ts';
import type { SlotDeps } from '../deps.ts';
import { changeSlots } from './batch.ts';
import type { ToSubmit } from './types.ts';

/** Submissions that were lost without a word, after which the slot is given up. */
const MOST_ATTEMPTS = 5;

export async function takeRequested({ ctx, db, self }: SlotDeps, most: number): Promise<readonly ToSubmit[]> {
  const rows = await db.query(takeRequestedSlots, [new Date(ctx.clock.now()), most, self?.id() ?? null]);
  return rows.map((r) => ({
    slotId: r.id, secret: r.secret, nonce: r.nonce, pilotS: r.pilot_s, graceS: r.grace_s, attempt: r.attempts,
    job: { slotId: r.id, parts: r.parts, walltimeS: r.walltime_s, account: r.lrm_account, spot: r.spot },
  }));
}

export async function recordSubmission(deps: SlotDeps, slotId: string, answer: SubmitAnswer, at: number): Promise<void> {
  if (answer.kind === 'unknown') return;
  await changeSlots(deps, [slotId], (batch) => {
    const open = batch.slots.get(slotId);
    if (open === undefined) return;
    const { slot } = open;
    if (answer.kind === 'rejected') {
      batch.step(open, 'rejected', { code: 'Server.BatchSystemRefused', reason: `the batch system refuses the request: ${answer.reason}` });
      return;
    }
    // Also of a slot that was let go meanwhile: its job has to be cancelled, and only now is there one to name.
    slot.job_id ??= answer.jobId;
    if (slot.state === 'Releasing') slot.next_at = batch.now;
    batch.touch(slot);
    batch.step(open, 'submitted');
    for (const n of open.nodes) batch.note(n, { 'submit-begun': slot.submitted_at ?? at, submitted: at });
  });
}

/** Two lists without the job: it was not submitted, and is again, unless that has failed too often. */
export const mayTryAgain = (attempts: number): boolean => attempts < MOST_ATTEMPTS;
