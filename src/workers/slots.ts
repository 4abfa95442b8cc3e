/**
 * Carries out what pilot mode has written: submits requested slots, asks the batch system for all jobs once per poll, tells
 * pilots to go, cancels and shrinks jobs, applies what pilots have said. Everything it does may be done twice; what a crash
 * leaves undone is found again by the next tick, poll or start.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ControlClient } from '../control/types.ts';
import type { SlotWork, ToCancel, ToRelease, ToShrink, ToSubmit } from '../manager/slots/types.ts';
import type { CancelAnswer, Lrm, LrmFacts } from '../pilot/lrm/types.ts';
import type { Config } from '../platform/config.ts';
import type { Context, Timer } from '../platform/context.ts';
import { newOperationId } from '../platform/ids.ts';
import { pilotJob } from './pilot-job.ts';

/** How often rows are looked for that no wake-up told of, ms. */
const TICK_MS = 1_000;
/** A pilot that has not gone is told again after so long, ms. */
const TELL_AGAIN_MS = 3_000;
/** A batch system is asked at most for this share of the time. */
const BUSY_SHARE = 0.2;
const LONGEST_PAUSE_MS = 300_000;
/** How often it is asked what it is and how it is configured: an administrator may change the grace, the epilogue, the nodes. */
const FACTS_MS = 600_000;
/** How often it is asked whether the duty is free, ms. */
const DUTY_MS = 2_000;
/** Commands that submit, and commands that end jobs, at a time: batch systems do not like to be flooded. */
const MOST_AT_ONCE = 8;

export interface SlotWorker {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** There may be something to submit or to give back. */
  wake(): void;
  /** Pilots of these slots were heard, and what they said is stored. */
  heard(slotIds: readonly string[]): void;
  facts(): LrmFacts | null;
  /** Lists now; resolves when what the list says is written. */
  poll(): Promise<void>;
  readonly status: LrmStatus;
}

/** How the batch system answers, for administrators. */
export interface LrmStatus {
  readonly lastListed: number | null;
  readonly lastFailure: { readonly at: number; readonly what: string } | null;
  readonly listMs: number | null;
}

export interface SlotWorkerDeps {
  readonly ctx: Context;
  readonly config: Config;
  readonly lrm: Lrm;
  readonly work: SlotWork;
  readonly control: ControlClient;
  /** URLs at which pilots report. */
  readonly contacts: () => readonly string[];
  /** PEM handed to pilots. */
  readonly ca: string | undefined;
  /** Whether this process is the one that asks the batch system for its list; absent: there is but one. */
  readonly duty?: () => Promise<boolean>;
}

export function createSlotWorker(deps: SlotWorkerDeps): SlotWorker {
  const { ctx, config, lrm, work } = deps;
  const inFlight = new Set<string>();
  /** Jobs that are being cancelled or shrunk. */
  const ending = new Set<string>();
  const told = new Map<number, number>();
  const timers = new Map<string, Timer>();
  const running = new Set<Promise<void>>();
  let facts: LrmFacts | null = null;
  let factsAskedAt = -Infinity;
  let stopped = false;
  let failures = 0;
  let listed = true;
  let enders = 0;
  const toEnd: Array<() => Promise<void>> = [];
  let tending: Promise<void> | undefined;
  let tendAgain = false;
  let applying: Promise<void> | undefined;
  let toApply = new Set<string>();
  let polling: Promise<void> | undefined;
  const status = { lastListed: null as number | null, lastFailure: null as LrmStatus['lastFailure'], listMs: null as number | null };

  const failed = (what: string, e: unknown): void => {
    status.lastFailure = { at: ctx.clock.now(), what: `${what}: ${(e as Error).message}` };
    ctx.log.error(`${what}; trying again`, { error: (e as Error).message });
  };

  function arm(name: string, ms: number, fn: () => void): void {
    timers.get(name)?.cancel();
    if (!stopped) timers.set(name, ctx.clock.after(ms, fn, true));
  }

  /** Work that `stop` waits for. */
  function keep(p: Promise<void>): Promise<void> {
    running.add(p);
    return p.finally(() => running.delete(p));
  }

  function wake(): void {
    if (stopped) return;
    tendAgain = true;
    tending ??= keep(tend());
  }

  async function tend(): Promise<void> {
    while (tendAgain && !stopped) {
      tendAgain = false;
      try {
        const due = await work.due();
        const room = MOST_AT_ONCE - inFlight.size;
        if (due.requested && room > 0) for (const slot of await work.takeRequested(room)) void keep(submit(slot));
        const { nodes, cancels, shrinks } = await work.releases(due);
        for (const n of nodes) tell(n);
        for (const c of cancels) endLater(c.jobId, () => cancel(c));
        for (const s of shrinks) endLater(s.jobId, () => shrink(s));
      } catch (e) {
        failed('slots could not be looked after', e);
      }
    }
    tending = undefined;
    arm('tick', TICK_MS, wake);
  }

  async function submit(slot: ToSubmit): Promise<void> {
    inFlight.add(slot.slotId);
    try {
      const at = ctx.clock.now();
      const answer = await lrm.submit(pilotJob(config, slot, { contacts: deps.contacts(), ca: deps.ca }));
      ctx.log.info('a job was submitted', { slot: slot.slotId, attempt: slot.attempt, answer: answer.kind, ...('jobId' in answer ? { job: answer.jobId } : { reason: answer.reason }) });
      if (answer.kind !== 'submitted') status.lastFailure = { at, what: `submission of ${slot.slotId}: ${answer.reason}` };
      await work.submitted(slot.slotId, answer, ctx.clock.now());
    } catch (e) {
      failed(`the answer to the submission of ${slot.slotId} could not be written`, e);
    } finally {
      const full = inFlight.size >= MOST_AT_ONCE;
      inFlight.delete(slot.slotId);
      // There may be more that wait for their turn.
      if (full) wake();
    }
  }

  /** The pilot acts on the agent's word; should that be lost, on the answer to its next notification. */
  function tell(n: ToRelease): void {
    const now = ctx.clock.monotonic();
    if (now - (told.get(n.slotNodeId) ?? -Infinity) < TELL_AGAIN_MS) return;
    told.set(n.slotNodeId, now);
    if (told.size > 10_000) told.clear();
    const { operation_deadline_ms: deadlineMs } = config.control;
    void deps.control.ask(n.nodeId, { op: 'release', id: newOperationId(ctx.random), deadlineMs, why: n.why }).catch((e: unknown) => {
      ctx.log.info('a pilot could not be told to give its node back', { slot: n.slotId, node: n.nodeId, error: (e as Error).message });
    });
  }

  /** In the order of asking, some at a time, no job twice at once. Whatever fails is asked for again. */
  function endLater(jobId: string, end: () => Promise<void>): void {
    if (stopped || ending.has(jobId)) return;
    ending.add(jobId);
    toEnd.push(() => end().catch((e: unknown) => failed(`job ${jobId} could not be ended`, e)).finally(() => ending.delete(jobId)));
    if (enders < MOST_AT_ONCE) void keep(endOne());
  }

  async function endOne(): Promise<void> {
    enders += 1;
    for (let next = toEnd.shift(); next !== undefined && !stopped; next = toEnd.shift()) await next();
    enders -= 1;
  }

  async function askToCancel(c: ToCancel): Promise<CancelAnswer> {
    const answer = await lrm.cancel(c.jobId);
    ctx.log.info('a job was cancelled', { slot: c.slotId, job: c.jobId, answer: answer.kind });
    if (answer.kind === 'unknown') status.lastFailure = { at: ctx.clock.now(), what: `cancelling ${c.jobId}: ${answer.reason}` };
    return answer;
  }

  async function cancel(c: ToCancel): Promise<void> {
    const { kind } = await askToCancel(c);
    await work.cancelled(c.slotId, kind === 'gone');
  }

  async function shrink(s: ToShrink): Promise<void> {
    const answer = await lrm.shrink?.(s.jobId, s.part, s.keep);
    ctx.log.info('nodes of a job were given back', { slot: s.slotId, job: s.jobId, part: s.part, kept: s.keep, answer: answer?.kind ?? 'not possible' });
  }

  async function list(): Promise<void> {
    listed = deps.duty === undefined || await deps.duty();
    if (!listed) return;
    const askedAt = ctx.clock.now();
    // What is submitted while the list is made may or may not be in it.
    const unclear = new Set(inFlight);
    const listing = await lrm.list();
    status.listMs = listing.tookMs;
    if (listing.kind === 'unavailable') {
      failures += 1;
      status.lastFailure = { at: askedAt, what: `listing: ${listing.reason}` };
      ctx.log.warn('the batch system does not say what it runs; nothing is concluded from that', { reason: listing.reason, failures });
      return;
    }
    failures = 0;
    status.lastListed = askedAt;
    for (const id of inFlight) unclear.add(id);
    const { strays } = await work.reconcile(listing, askedAt, unclear);
    for (const s of strays) {
      ctx.log.warn('a job that no slot needs is cancelled', { slot: s.slotId, job: s.jobId });
      endLater(s.jobId, async () => void await askToCancel(s));
    }
  }

  async function poll(): Promise<void> {
    polling ??= keep(readFacts().then(list).catch((e: unknown) => failed('the batch system’s list could not be followed', e)))
      .finally(() => {
        polling = undefined;
        arm('poll', pause(), () => void poll());
      });
    await polling;
  }

  /** A slow batch system is left in peace, one that does not answer even more so. */
  function pause(): number {
    // Another process asks; should it end, its duty is taken over soon.
    if (!listed) return Math.min(DUTY_MS, config.pilot.poll * 1000);
    const period = config.pilot.poll * 1000;
    return Math.min(LONGEST_PAUSE_MS, Math.max(period * 2 ** Math.min(failures, 5), (status.listMs ?? 0) / BUSY_SHARE));
  }

  /** Until it has said so at each poll, then now and then; what it said last holds until it says something else. */
  async function readFacts(): Promise<void> {
    if (facts !== null && ctx.clock.monotonic() - factsAskedAt < FACTS_MS) return;
    factsAskedAt = ctx.clock.monotonic();
    try {
      const said = await lrm.facts();
      if (!isDeepStrictEqual(said, facts)) ctx.log.info('batch system', { ...said });
      facts = said;
    } catch (e) {
      failed('the batch system does not say what it is', e);
    }
  }

  function heard(slotIds: readonly string[]): void {
    for (const id of slotIds) toApply.add(id);
    applying ??= keep(apply());
  }

  async function apply(): Promise<void> {
    while (toApply.size > 0 && !stopped) {
      const ids = [...toApply];
      toApply = new Set();
      await work.applyMessages(ids).catch((e: unknown) => failed('what pilots said could not be applied', e));
    }
    // In the same breath as the last look: who is heard after it begins anew.
    applying = undefined;
  }

  /** What a crash, or a failure, left unapplied. */
  function applyRest(): void {
    void keep(work.applyMessages(null).catch((e: unknown) => failed('what pilots said could not be applied', e)))
      .finally(() => arm('apply', 5 * TICK_MS, applyRest));
  }

  return {
    async start() {
      await poll();
      applyRest();
      wake();
    },
    async stop() {
      stopped = true;
      for (const t of timers.values()) t.cancel();
      await Promise.all(running);
    },
    wake,
    heard,
    facts: () => facts,
    poll,
    status,
  };
}
