/**
 * Statements on subscriptions to leases. Each stands behind an event of its lease, in the order in which transactions ended
 * (`events.ts`); `txid` is text on this side. Whoever claims one tells its consumer what came after.
 */
import type { LeaseState } from '../lease/states.ts';
import { statement } from './db.ts';

export type Topic = 'currentState' | 'ResourceTermination';

/** Where messages go: its address, and the XML of what has to stand in their headers. */
export interface ConsumerRow {
  address: string;
  properties: string[];
}

export interface SubscriptionRow {
  id: string;
  account_id: number;
  lease_id: string;
  /** Number of the lease; null when it is gone. */
  number: number | null;
  topic: Topic;
  consumer: ConsumerRow;
  wrapped: boolean;
  created_at: number;
  ends_at: number | null;
  paused: boolean;
  txid: string;
  event_id: number;
  attempts: number;
  failing_since: number | null;
  delivered: number;
  last_error: string | null;
}
const COLUMNS = `s.id, s.account_id, s.lease_id, (SELECT seq FROM lease l WHERE l.id = s.lease_id) AS number, s.topic, s.consumer, s.wrapped, s.created_at, s.ends_at, s.paused,
  s.txid::text AS txid, s.event_id, s.attempts, s.failing_since, s.delivered, s.last_error`;

/** Transactions that are over for sure. */
const OVER = 'txid < pg_snapshot_xmin(pg_current_snapshot())';
/** Of a subscription `s`. */
export const HAS_NEWS = `EXISTS (SELECT FROM event e WHERE e.lease_id = s.lease_id AND e.${OVER} AND (e.txid, e.id) > (s.txid, s.event_id))`;

/** $1 id, $2 account, $3 lease, $4 topic, $5 consumer, $6 wrapped, $7 now, $8 end. It is told of whatever ends after this moment. */
export const insertSubscription = statement<never>('insert-subscription', `
  INSERT INTO subscription (id, account_id, lease_id, topic, consumer, wrapped, created_at, ends_at, txid, next_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, pg_snapshot_xmin(pg_current_snapshot()), $7)`);

/** $1 account: nobody subscribes in its name meanwhile. Its creates go on. */
export const lockSubscriber = statement<{ id: number }>('lock-subscriber', 'SELECT id FROM account WHERE id = $1 FOR NO KEY UPDATE');

/** $1 lease, $2 account: how many there are. */
export const countSubscriptions = statement<{ of_lease: number; of_account: number }>('count-subscriptions', `
  SELECT count(*) FILTER (WHERE lease_id = $1)::int AS of_lease, count(*)::int AS of_account FROM subscription WHERE lease_id = $1 OR account_id = $2`);

/** $1 id, $2 account (null = any) */
export const subscriptionById = statement<SubscriptionRow>('subscription-by-id', `
  SELECT ${COLUMNS} FROM subscription s WHERE s.id = $1 AND ($2::bigint IS NULL OR s.account_id = $2)`);

/** $1 id, $2 account (null = any) */
export const deleteSubscription = statement<{ id: string }>('delete-subscription', `
  DELETE FROM subscription WHERE id = $1 AND ($2::bigint IS NULL OR account_id = $2) RETURNING id`);

/** $1 id, $2 account (null = any), $3 paused, $4 now: what happened meanwhile is due when it goes on. */
export const pauseSubscription = statement<{ id: string }>('pause-subscription', `
  UPDATE subscription SET paused = $3, next_at = $4 WHERE id = $1 AND ($2::bigint IS NULL OR account_id = $2) RETURNING id`);

/** $1 id, $2 account (null = any), $3 end (null = with the lease) */
export const endSubscription = statement<{ id: string }>('end-subscription', `
  UPDATE subscription SET ends_at = $3 WHERE id = $1 AND ($2::bigint IS NULL OR account_id = $2) RETURNING id`);

export interface Position {
  txid: string;
  id: number;
}
/** Where a reader begins who wants to hear of what happens from now on. */
export const eventsNow = statement<Position & { subscribed: boolean }>('events-now', `
  SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS txid, 0::bigint AS id, EXISTS (SELECT FROM subscription) AS subscribed`);

/** $1 and $2 position, $3 how many are looked at */
export const newEvents = statement<Position & { lease_id: string; subscribed: boolean }>('new-events', `
  SELECT e.txid::text AS txid, e.id, e.lease_id, EXISTS (SELECT FROM subscription s WHERE s.lease_id = e.lease_id) AS subscribed
    FROM event e WHERE ${OVER} AND (txid, id) > ($1::text::xid8, $2::bigint) ORDER BY txid, id LIMIT $3`);

/** $1 now, $2 limit: those that have something to tell, whether it was noticed or not; of each account the first, then the second, and so on. */
export const dueSubscriptions = statement<{ id: string; account_id: number }>('due-subscriptions', `
  SELECT s.id, s.account_id FROM subscription s
   WHERE NOT s.paused AND s.next_at <= $1 AND (s.claimed_until IS NULL OR s.claimed_until <= $1) AND ${HAS_NEWS}
   ORDER BY row_number() OVER (PARTITION BY s.account_id ORDER BY s.next_at, s.id), s.next_at LIMIT $2`);

/** $1 leases, $2 limit: their subscriptions */
export const subscriptionsOfLeases = statement<{ id: string; account_id: number }>('subscriptions-of-leases', `
  SELECT id, account_id FROM subscription WHERE lease_id = ANY($1::text[]) AND NOT paused LIMIT $2`);

/** $1 id, $2 who, $3 now, $4 until when: a row when it is his to tell. */
export const claimSubscription = statement<SubscriptionRow>('claim-subscription', `
  UPDATE subscription s SET claimed_by = $2, claimed_until = $4
   WHERE s.id = $1 AND NOT s.paused AND s.next_at <= $3 AND (s.claimed_until IS NULL OR s.claimed_until <= $3)
     AND (s.ends_at IS NULL OR s.ends_at > $3) AND ${HAS_NEWS}
  RETURNING ${COLUMNS}`);

export interface LeaseNewsRow extends Position {
  at: number;
  from_state: LeaseState | null;
  to_state: LeaseState;
  why: string;
}
/** $1 lease, $2 and $3 position, $4 limit */
export const leaseNews = statement<LeaseNewsRow>('lease-news', `
  SELECT txid::text AS txid, id, at, from_state, to_state, why FROM event
   WHERE lease_id = $1 AND ${OVER} AND (txid, id) > ($2::text::xid8, $3::bigint) ORDER BY txid, id LIMIT $4`);

/** $1 id, $2 who, $3 and $4 position, $5 messages, $6 now. Its claim goes with it; no row when it had passed on. */
export const subscriptionTold = statement<{ id: string }>('subscription-told', `
  UPDATE subscription SET txid = $3::text::xid8, event_id = $4, delivered = delivered + $5, last_delivered_at = CASE WHEN $5 > 0 THEN $6 ELSE last_delivered_at END,
         attempts = 0, failing_since = NULL, claimed_by = NULL, claimed_until = NULL
   WHERE id = $1 AND claimed_by = $2 RETURNING id`);

/** $1 id, $2 who, $3 now, $4 when to try again, $5 what was wrong */
export const subscriptionNotTold = statement<never>('subscription-not-told', `
  UPDATE subscription SET attempts = attempts + 1, failing_since = coalesce(failing_since, $3), next_at = $4, last_error = $5, last_error_at = $3,
         claimed_by = NULL, claimed_until = NULL
   WHERE id = $1 AND claimed_by = $2`);

/** $1 now, $2 failing since before: they are over, or nobody is there to be told. */
export const removeOldSubscriptions = statement<{ id: string; lease_id: string; failed: boolean; last_error: string | null; address: string }>('remove-old-subscriptions', `
  DELETE FROM subscription WHERE ends_at <= $1 OR failing_since < $2
  RETURNING id, lease_id, failing_since < $2 IS TRUE AS failed, last_error, consumer->>'address' AS address`);

export interface SubscriptionListRow extends SubscriptionRow {
  user: string;
}
/** $1 limit: those of everyone */
export const allSubscriptions = statement<SubscriptionListRow>('all-subscriptions', `
  SELECT ${COLUMNS}, a.name AS user FROM subscription s JOIN account a ON a.id = s.account_id ORDER BY s.created_at LIMIT $1`);
