/** Subscriptions of grid clients to what happens to a lease. `workers/notifier.ts` tells their consumers. */
import { Fault } from '../lease/faults.ts';
import { STATES, type VisibleState } from '../lease/states.ts';
import { newRequestId } from '../platform/ids.ts';
import { eventsOfLease, lockLeases } from '../store/leases.ts';
import {
  countSubscriptions, deleteSubscription, endSubscription, insertSubscription, lockSubscriber, pauseSubscription, subscriptionById, type ConsumerRow, type Topic,
} from '../store/subscriptions.ts';
import type { ManagerDeps } from './deps.ts';
import { accountOf } from './named-leases.ts';
import type { Caller } from './types.ts';
import type { Workspaces } from './workspaces.ts';

const MOST_OF_LEASE = 32;
const MOST_OF_ACCOUNT = 1_000;

export interface NewSubscription {
  readonly topic: Topic;
  readonly consumer: ConsumerRow;
  /** The message in a Notify, not by itself. */
  readonly wrapped: boolean;
  /** ms; null = when the lease does */
  readonly endsAt: number | null;
}

export interface SubscriptionView extends NewSubscription {
  readonly id: string;
  /** Of the lease; null when that is gone. */
  readonly number: number | null;
  readonly createdAt: number;
  readonly paused: boolean;
}

/** What a consumer would have been told last. */
export interface StateChange {
  readonly before: VisibleState | null;
  readonly after: VisibleState;
}

export interface Subscriptions {
  /** @throws Fault LeaseNotFound, TooMany, DurationRefused */
  create(caller: Caller, lease: number, asked: NewSubscription): Promise<SubscriptionView>;
  /** @throws Fault SubscriptionNotFound */
  find(caller: Caller, id: string): Promise<SubscriptionView>;
  pause(caller: Caller, id: string, paused: boolean): Promise<void>;
  setEnd(caller: Caller, id: string, endsAt: number | null): Promise<void>;
  remove(caller: Caller, id: string): Promise<void>;
  /** null: nothing has changed since its creation. @throws Fault LeaseNotFound */
  latest(caller: Caller, lease: number): Promise<StateChange | null>;
}

/** @param told called when there is a subscription more, or one goes on */
export function subscriptionCases({ ctx, db }: Pick<ManagerDeps, 'ctx' | 'db'>, workspaces: Pick<Workspaces, 'find'>, told: () => void): Subscriptions {
  const known = (rows: readonly unknown[], id: string): void => {
    if (rows.length === 0) throw new Fault('SubscriptionNotFound', `unknown subscription: '${id.slice(0, 64)}'`);
  };
  const checkEnd = (endsAt: number | null): void => {
    if (endsAt !== null && !(endsAt > ctx.clock.now())) throw new Fault('DurationRefused', 'The termination time of a subscription lies in the future');
  };

  async function find(caller: Caller, id: string): Promise<SubscriptionView> {
    const rows = await db.query(subscriptionById, [id, accountOf(caller)]);
    known(rows, id);
    const [s] = rows;
    if (s === undefined) throw new Fault('Internal', 'the subscription was lost');
    return { id: s.id, number: s.number, topic: s.topic, consumer: s.consumer, wrapped: s.wrapped, createdAt: s.created_at, endsAt: s.ends_at, paused: s.paused };
  }

  return {
    find,
    async create(caller, number, { topic, consumer, wrapped, endsAt }) {
      checkEnd(endsAt);
      const [workspace] = await workspaces.find(caller, { number });
      const id = newRequestId(ctx.random);
      await db.transaction(async (tx) => {
        // Who counts has to be alone with the lease and with the user.
        const [lease] = await tx.query(lockLeases, [[workspace?.id], accountOf(caller)]);
        if (lease === undefined || lease.final) throw new Fault('LeaseNotFound', `unknown workspace: '${number}'`);
        await tx.query(lockSubscriber, [caller.accountId]);
        const [count] = await tx.query(countSubscriptions, [lease.id, caller.accountId]);
        if ((count?.of_lease ?? 0) >= MOST_OF_LEASE) throw new Fault('TooMany', `a lease has at most ${MOST_OF_LEASE} subscriptions`);
        if ((count?.of_account ?? 0) >= MOST_OF_ACCOUNT) throw new Fault('TooMany', `a user has at most ${MOST_OF_ACCOUNT} subscriptions`);
        await tx.query(insertSubscription, [id, caller.accountId, lease.id, topic, JSON.stringify(consumer), wrapped, new Date(ctx.clock.now()), endsAt === null ? null : new Date(endsAt)]);
      });
      told();
      return find(caller, id);
    },
    async pause(caller, id, paused) {
      known(await db.query(pauseSubscription, [id, accountOf(caller), paused, new Date(ctx.clock.now())]), id);
      if (!paused) told();
    },
    async setEnd(caller, id, endsAt) {
      checkEnd(endsAt);
      known(await db.query(endSubscription, [id, accountOf(caller), endsAt === null ? null : new Date(endsAt)]), id);
    },
    async remove(caller, id) {
      known(await db.query(deleteSubscription, [id, accountOf(caller)]), id);
    },
    async latest(caller, number) {
      const [lease] = await workspaces.find(caller, { number });
      const events = await db.query(eventsOfLease, [lease?.id]);
      const change = events.filter((e) => e.from_state !== null && STATES[e.from_state].visible !== STATES[e.to_state].visible).at(-1);
      return change?.from_state == null ? null : { before: STATES[change.from_state].visible, after: STATES[change.to_state].visible };
    },
  };
}
