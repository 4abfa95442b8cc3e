/**
 * Tells the consumers of subscriptions what has happened to their leases. New events are followed in the order in which their
 * transactions ended, so a change is told within a moment; once a second every subscription is looked at, so that what another
 * process left, or a consumer did not take, is told too. Of several processes the one that claims a subscription tells it.
 */
import { STATES } from '../lease/states.ts';
import type { Context, Timer } from '../platform/context.ts';
import { errorText } from '../platform/errors.ts';
import { newRequestId } from '../platform/ids.ts';
import type { Db } from '../store/db.ts';
import {
  claimSubscription, deleteSubscription, dueSubscriptions, eventsNow, leaseNews, newEvents, removeOldSubscriptions, subscriptionNotTold,
  subscriptionsOfLeases, subscriptionTold, type LeaseNewsRow, type Position, type SubscriptionRow,
} from '../store/subscriptions.ts';
import { createShares } from './shares.ts';

const FOLLOW_MS = 25;
const LOOK_MS = 1_000;
/** Events looked at at once, subscriptions told at once, and of one account, whose consumers may be slow; changes in one message. */
const MOST_EVENTS = 500;
const MOST_DUE = 1_000;
const MOST_AT_ONCE = 64;
const OF_ONE = { account: 8 };
const MOST_NEWS = 50;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 5 * 60_000;
/** Who cannot be told for so long is told no more. */
const GIVEN_UP_MS = 3600_000;
/** Beyond the deadline of a delivery: for what is written before and after it. */
const CLAIM_SPARE_MS = 20_000;
const LONGEST_ERROR = 500;

/** A change of a lease's visible state, or its end, in the order in which they came. */
export interface News {
  readonly at: number;
  readonly before: string | null;
  readonly after: string;
  readonly why: string;
}

export interface Delivery {
  readonly deadlineMs: number;
  /** Rejects when the consumer has not taken it. */
  deliver(subscription: SubscriptionRow, news: readonly News[]): Promise<void>;
}

export interface Notifier {
  start(): void;
  /** There is a subscription more. */
  wake(): void;
  stop(): Promise<void>;
}

export function createNotifier(ctx: Context, db: Db, delivery: Delivery): Notifier {
  const me = newRequestId(ctx.random);
  const shares = createShares(MOST_AT_ONCE, OF_ONE);
  const telling = new Map<string, Promise<void>>();
  const timers = new Set<Timer>();
  let stopped = false;
  let position: Position | undefined;

  function every(ms: () => number, work: () => Promise<void>, what: string): void {
    if (stopped) return;
    const timer = ctx.clock.after(ms(), () => {
      timers.delete(timer);
      work().catch((e: unknown) => ctx.log.warn(what, { error: errorText(e) })).finally(() => every(ms, work, what));
    }, true);
    timers.add(timer);
  }

  /** Nobody follows events for nobody. */
  async function follow(): Promise<void> {
    if (position === undefined) return;
    const events = await db.query(newEvents, [position.txid, position.id, MOST_EVENTS]);
    const last = events.at(-1);
    if (last === undefined) return;
    const leases = [...new Set(events.filter((e) => e.subscribed).map((e) => e.lease_id))];
    if (leases.length > 0) for (const s of await db.query(subscriptionsOfLeases, [leases, MOST_DUE])) tell(s);
    position = { txid: last.txid, id: last.id };
  }

  async function look(): Promise<void> {
    const now = ctx.clock.now();
    for (const gone of await db.query(removeOldSubscriptions, [new Date(now), new Date(now - GIVEN_UP_MS)])) {
      if (gone.failed) ctx.log.warn('a consumer could not be told of its lease for an hour; its subscription is over', { subscription: gone.id, lease: gone.lease_id, consumer: gone.address, error: gone.last_error });
    }
    const [begin] = await db.query(eventsNow);
    if (begin === undefined || !begin.subscribed) position = undefined;
    else {
      position ??= begin;
      for (const s of await db.query(dueSubscriptions, [new Date(now), MOST_DUE])) tell(s);
    }
  }

  function tell({ id, account_id: account }: Pick<SubscriptionRow, 'id' | 'account_id'>): void {
    if (stopped || telling.has(id)) return;
    const work = shares.use({ account }, () => tellAll(id)).catch((e: unknown) => ctx.log.warn('a subscription could not be looked at; trying again', { subscription: id, error: errorText(e) }))
      .finally(() => telling.delete(id));
    telling.set(id, work);
  }

  /** Until nothing is new, or the consumer does not take it. What comes while the claim is given back is claimed again. */
  async function tellAll(id: string): Promise<void> {
    while (!stopped) {
      const now = ctx.clock.now();
      const [subscription] = await db.query(claimSubscription, [id, me, new Date(now), new Date(now + delivery.deadlineMs + CLAIM_SPARE_MS)]);
      if (subscription === undefined || !(await tellOnce(subscription))) return;
    }
  }

  async function tellOnce(s: SubscriptionRow): Promise<boolean> {
    const rows = forOneMessage(s, await db.query(leaseNews, [s.lease_id, s.txid, s.event_id, MOST_NEWS]));
    const news = newsOf(s, rows);
    if (news.length > 0) {
      try {
        await delivery.deliver(s, news);
      } catch (e) {
        await notTold(s, errorText(e));
        return false;
      }
    }
    const last = rows.at(-1) ?? { txid: s.txid, id: s.event_id, to_state: undefined };
    // The last word on the lease was said.
    if (last.to_state !== undefined && STATES[last.to_state].final) await db.query(deleteSubscription, [s.id, null]);
    else await db.query(subscriptionTold, [s.id, me, last.txid, last.id, news.length, new Date(ctx.clock.now())]);
    return true;
  }

  async function notTold(s: SubscriptionRow, error: string): Promise<void> {
    const now = ctx.clock.now();
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(s.attempts, 20));
    ctx.log.info('a consumer did not take a notification; it is sent again', { subscription: s.id, lease: s.lease_id, consumer: s.consumer.address, error, attempts: s.attempts + 1, pauseMs: pause });
    await db.query(subscriptionNotTold, [s.id, me, new Date(now), new Date(now + pause), error.slice(0, LONGEST_ERROR)]);
  }

  return {
    start() {
      every(() => FOLLOW_MS, follow, 'new events could not be read; trying again');
      every(() => LOOK_MS, look, 'subscriptions could not be looked at; trying again');
      void look().catch(() => undefined);
    },
    wake() {
      if (!stopped && position === undefined) void look().catch((e: unknown) => ctx.log.warn('subscriptions could not be looked at; trying again', { error: errorText(e) }));
    },
    async stop() {
      stopped = true;
      timers.forEach((t) => t.cancel());
      await Promise.all(telling.values());
    },
  };
}

/** Unwrapped, each change is a message of its own: what was taken is not told again when the next one is not, and the claim lasts for one. */
function forOneMessage(s: SubscriptionRow, rows: readonly LeaseNewsRow[]): readonly LeaseNewsRow[] {
  const first = s.wrapped ? -1 : rows.findIndex((r) => newsOf(s, [r]).length > 0);
  return first < 0 ? rows : rows.slice(0, first + 1);
}

/** What the subscription's topic is about. */
function newsOf(s: SubscriptionRow, rows: readonly LeaseNewsRow[]): News[] {
  return rows.flatMap((r) => {
    const before = r.from_state === null ? null : STATES[r.from_state].visible;
    const after = STATES[r.to_state].visible;
    if (before === after) return [];
    if (s.topic === 'ResourceTermination' && after !== 'Cancelled') return [];
    return [{ at: r.at, before, after, why: r.why }];
  });
}
