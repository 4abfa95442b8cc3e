/**
 * Delivers usage events to accounting sinks: each sink its own queue, in order, at least once. One process at a time serves a
 * sink; one that dies, or hangs for longer than its claim, is followed by another. An event goes when the sink has taken it.
 */
import type { Context, Timer } from '../platform/context.ts';
import { newRequestId } from '../platform/ids.ts';
import { OutsideFailed, type Outside } from '../platform/outside/index.ts';
import type { Db } from '../store/db.ts';
import { claimSink, declareSinks, dropOldUsageEvents, nextUsageEvents, numberUsageEvents, usageDelivered, usageNotDelivered, type UsageEventRow } from '../store/usage-sinks.ts';

const LOOK_MS = 1_000;
/** Events in one delivery. */
const MOST_AT_ONCE = 100;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 5 * 60_000;
/** Beyond the deadline of a delivery: for what is written before and after it. */
const CLAIM_SPARE_MS = 30_000;
const LONGEST_ERROR = 1_000;

export interface Sink {
  readonly name: string;
  readonly outside: Outside;
  readonly deadlineMs: number;
  /** Events that wait at most. */
  readonly keep: number;
}

export interface UsageSinks {
  /** Names the sinks to the database, so that events are written for them, and begins. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export function createUsageSinks(ctx: Context, db: Db, sinks: readonly Sink[]): UsageSinks {
  // Another process of the same host and number may follow this one.
  const me = newRequestId(ctx.random);
  let stopped = false;
  const timers = new Set<Timer>();
  const running = new Set<Promise<void>>();

  function again(sink: Sink): void {
    if (stopped) return;
    const timer = ctx.clock.after(LOOK_MS, () => {
      timers.delete(timer);
      const round = serve(ctx, db, me, sink, () => stopped).catch((e: unknown) => {
        ctx.log.error('usage events could not be looked at; trying again', { sink: sink.name, error: (e as Error).message });
      }).finally(() => {
        running.delete(round);
        again(sink);
      });
      running.add(round);
    }, true);
    timers.add(timer);
  }

  return {
    async start() {
      await db.query(declareSinks, [sinks.map((s) => s.name), new Date(ctx.clock.now())]);
      sinks.forEach(again);
    },
    async stop() {
      stopped = true;
      timers.forEach((t) => t.cancel());
      await Promise.all(running);
      await Promise.all(sinks.map((s) => s.outside.close()));
    },
  };
}

/** Delivers until nothing waits, or the sink does not take it. */
async function serve(ctx: Context, db: Db, me: string, sink: Sink, stopped: () => boolean): Promise<void> {
  for (;;) {
    const now = ctx.clock.now();
    const [claim] = await db.query(claimSink, [sink.name, me, new Date(now), new Date(now + sink.deadlineMs + CLAIM_SPARE_MS)]);
    if (claim === undefined || stopped()) return;
    const [dropped] = await db.query(dropOldUsageEvents, [sink.name, sink.keep]);
    if (dropped !== undefined) ctx.log.error('usage events were dropped: more waited than the sink may keep', { sink: sink.name, dropped: dropped.dropped, keep: sink.keep });
    await db.query(numberUsageEvents, [sink.name, MOST_AT_ONCE]);
    const events = await db.query(nextUsageEvents, [sink.name, MOST_AT_ONCE]);
    if (events.length === 0 || !(await deliver(ctx, db, sink, events, claim.attempts))) return;
  }
}

async function deliver(ctx: Context, db: Db, sink: Sink, events: readonly UsageEventRow[], attempts: number): Promise<boolean> {
  try {
    await sink.outside.ask({ version: 1, sink: sink.name, events: events.map(eventView) });
  } catch (e) {
    if (!(e instanceof OutsideFailed)) throw e;
    const now = ctx.clock.now();
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempts, 20));
    ctx.log.warn('an accounting sink did not take usage events; they are sent again', { sink: sink.name, error: e.message, events: events.length, attempts: attempts + 1, pauseMs: pause });
    await db.query(usageNotDelivered, [sink.name, new Date(now), new Date(now + pause), e.message.slice(0, LONGEST_ERROR)]);
    return false;
  }
  await db.query(usageDelivered, [sink.name, events.map((e) => e.number), new Date(ctx.clock.now())]);
  return true;
}

/** Ids grow by delivery. They are text: JSON has no integers beyond 2^53. */
const eventView = ({ number, kind, lease_id: lease, body }: UsageEventRow): object => ({ id: String(number), kind, lease, ...body });
