/** Statements on spot requests and on leases that may be displaced. */
import type { LeaseState } from '../lease/states.ts';
import { statement } from './db.ts';

export interface SpotRequestRow {
  id: string;
  account_id: number;
  account_name: string;
  owner_id: string;
  persistent: boolean;
  price: number;
  created_at: number;
  valid_from: number | null;
  valid_until: number | null;
  launch: unknown;
  cancelled_at: number | null;
  failed_at: number | null;
  status_code: string;
  status_message: string;
  status_at: number;
  tags: Record<string, string> | null;
  /** Leases that were made for it. */
  launches: number;
  /** The last of them, as long as it is kept. */
  lease_id: string | null;
  lease_zone: string | null;
  lease_final: boolean | null;
  lease_state: LeaseState | null;
  lease_ran: boolean | null;
  /** Its lease has, or had, a node; false = it waits for one of the batch system's, or has ended before it had one. */
  lease_placed: boolean | null;
  lease_preempted_at: number | null;
  lease_preempt_ends_at: number | null;
  lease_reason_code: string | null;
  lease_reason: string | null;
  lease_created_at: number | null;
  lease_ended_at: number | null;
}

const VIEW = `
  SELECT s.id, s.account_id, a.name AS account_name, a.owner_id, s.persistent, s.price, s.created_at, s.valid_from, s.valid_until, s.launch, s.launches, s.cancelled_at, s.failed_at,
         s.status_code, s.status_message, s.status_at, (SELECT jsonb_object_agg(t.key, t.value) FROM tag t WHERE t.resource_id = s.id) AS tags,
         l.id AS lease_id, l.zone AS lease_zone, l.final AS lease_final, l.state AS lease_state, l.running_at IS NOT NULL AS lease_ran, l.node_id IS NOT NULL AS lease_placed, l.preempted_at AS lease_preempted_at, l.preempt_ends_at AS lease_preempt_ends_at, l.reason_code AS lease_reason_code, l.reason AS lease_reason,
         l.created_at AS lease_created_at, l.ended_at AS lease_ended_at
    FROM spot_request s JOIN account a ON a.id = s.account_id
    LEFT JOIN LATERAL (SELECT * FROM lease o WHERE o.spot_request_id = s.id ORDER BY o.seq DESC LIMIT 1) l ON true`;

/** $1 account (null = any), $2 ids (null = all), $3 limit */
export const spotRequests = statement<SpotRequestRow>('spot-requests', `${VIEW}
   WHERE ($1::bigint IS NULL OR s.account_id = $1) AND ($2::text[] IS NULL OR s.id = ANY($2)) ORDER BY s.created_at, s.id LIMIT $3`);

/** Of a request `s`, its account `a` and its last lease `l`: it is time for another one. */
export const WAITS_FOR_LEASE = (now: string): string => `s.cancelled_at IS NULL AND s.failed_at IS NULL AND s.next_at <= ${now} AND a.removed_at IS NULL
     AND (s.valid_from IS NULL OR s.valid_from <= ${now}) AND (s.valid_until IS NULL OR s.valid_until > ${now})
     AND (s.launches = 0 OR (s.persistent AND coalesce(l.final, true)))`;

/**
 * $1 now, $2 limit, $3 before this: those that wait for a lease, the dearest first; after one whose VM never ran not before it has been
 * over for a while. Beyond the limit each user's dearest come before anybody's next ones: nobody's thousand keep others from being tried.
 */
export const waitingSpotRequests = statement<SpotRequestRow>('waiting-spot-requests', `${VIEW}
   WHERE s.id IN (SELECT w.id FROM (
           SELECT s.id, s.price, s.created_at, row_number() OVER (PARTITION BY s.account_id ORDER BY s.price DESC, s.created_at, s.id) AS turn
             FROM spot_request s JOIN account a ON a.id = s.account_id
             LEFT JOIN LATERAL (SELECT * FROM lease o WHERE o.spot_request_id = s.id ORDER BY o.seq DESC LIMIT 1) l ON true
            WHERE ${WAITS_FOR_LEASE('$1')} AND (l.id IS NULL OR l.running_at IS NOT NULL OR l.ended_at <= $3)) w
          ORDER BY w.turn, w.price DESC, w.created_at, w.id LIMIT $2)
   ORDER BY s.price DESC, s.created_at, s.id`);

/** $1 now, $2 status: those that were refused so are due */
export const wakeSpotRequests = statement<never>('wake-spot-requests', `
  UPDATE spot_request SET next_at = $1 WHERE cancelled_at IS NULL AND failed_at IS NULL AND status_code = $2 AND next_at > $1`);

/** $1 jsonb array of requests, $2 now */
export const insertSpotRequests = statement<never>('insert-spot-requests', `
  INSERT INTO spot_request (id, account_id, persistent, price, created_at, valid_from, valid_until, launch, launches, status_code, status_message, status_at, next_at)
  SELECT x.id, x.account_id, x.persistent, x.price, $2, x.valid_from, x.valid_until, x.launch, x.launches, x.status_code, x.status_message, $2, $2
    FROM jsonb_to_recordset($1) AS x(id text, account_id bigint, persistent boolean, price float8, valid_from timestamptz, valid_until timestamptz,
         launch jsonb, launches int, status_code text, status_message text)`);

/** $1 id, $2 code, $3 message, $4 now, $5 when it is tried again, $6 it has failed for good. The time of a status is that of its change. */
export const noteSpotStatus = statement<never>('note-spot-status', `
  UPDATE spot_request SET status_at = CASE WHEN status_code = $2 THEN status_at ELSE $4 END, status_code = $2, status_message = $3, next_at = $5,
         failed_at = CASE WHEN $6 THEN coalesce(failed_at, $4) ELSE failed_at END
   WHERE id = $1`);

/** $1 ids, $2 account (null = any), $3 now: those that are there */
export const cancelSpotRequests = statement<{ id: string }>('cancel-spot-requests', `
  UPDATE spot_request SET cancelled_at = coalesce(cancelled_at, $3) WHERE id = ANY($1::text[]) AND ($2::bigint IS NULL OR account_id = $2) RETURNING id`);

/** $1 ids: a lease is made for each of those that come back; the others were cancelled meanwhile */
export const countSpotLaunches = statement<{ id: string }>('count-spot-launches', `
  UPDATE spot_request SET launches = launches + 1 WHERE id = ANY($1::text[]) AND cancelled_at IS NULL RETURNING id`);

/** $1 account, $2 now: those whose time is over are closed */
export const countOpenSpotRequests = statement<{ requests: number }>('count-open-spot-requests', `
  SELECT count(*) AS requests FROM spot_request s
   WHERE s.account_id = $1 AND s.cancelled_at IS NULL AND s.failed_at IS NULL
     AND (s.persistent OR s.launches = 0) AND (s.valid_until IS NULL OR s.valid_until > $2)`);

/** $1 requests (null = those whose time is over), $2 now: leases of theirs that still wait for a node of the batch system */
export const waitingSpotLeases = statement<{ id: string }>('waiting-spot-leases', `
  SELECT l.id FROM lease l JOIN spot_request s ON s.id = l.spot_request_id
   WHERE l.state = 'Pending' AND ($1::text[] IS NULL AND s.valid_until <= $2 OR s.id = ANY($1)) ORDER BY l.id LIMIT 1000`);

/** Leases of spot requests that have failed, and of which nothing is left on their nodes. */
export const failedSpotLeases = statement<{ id: string }>('failed-spot-leases', `
  SELECT id FROM lease WHERE spot_request_id IS NOT NULL AND NOT final AND state = 'Corrupted' AND NOT holding ORDER BY id LIMIT 1000`);

/**
 * Of the open removal `i` of a lease `l`: its room is not there soon. The node has failed to remove it more than once, or was asked long
 * enough before `before` to have done it.
 */
const REMOVAL_FAILS = (before: string): string => `(i.attempts > 1 AND i.error IS NOT NULL OR greatest(i.created_at, l.preempt_ends_at) <= ${before})`;

export interface PreemptibleRow {
  id: string;
  node_id: number;
  memory_mb: number;
  cores: number;
  spot_price: number;
  created_at: number;
  ending: boolean;
  preempt_ends_at: number | null;
  /** Something else on its node should have ended. */
  doubtful: boolean;
}
/**
 * $1 limit, $2 nodes, $3 what should have ended before this does not: leases on these nodes that may be displaced, and those that end
 * already and will soon have done so; the cheapest and newest first, and before those on nodes where something does not end.
 */
export const preemptibleLeases = statement<PreemptibleRow>('preemptible-leases', `
  WITH removal AS MATERIALIZED (
    SELECT i.lease_id, i.node_id, ${REMOVAL_FAILS('$3')} AS fails FROM intent i JOIN lease l ON l.id = i.lease_id
     WHERE i.state = 'open' AND i.kind = 'remove' AND i.node_id = ANY($2::bigint[])
  )
  SELECT l.id, l.node_id, l.memory_mb, l.cores, l.spot_price, l.created_at, r.lease_id IS NOT NULL AS ending, l.preempt_ends_at,
         l.node_id IN (SELECT node_id FROM removal WHERE fails) AS doubtful
    FROM lease l LEFT JOIN removal r ON r.lease_id = l.id
   WHERE l.spot_request_id IS NOT NULL AND l.holding AND l.node_id = ANY($2::bigint[])
     AND (l.state NOT IN ('Ending', 'Corrupted') OR NOT r.fails) ORDER BY doubtful, l.spot_price, l.created_at DESC LIMIT $1`);

/** $1 ids, $2 now, $3 of each: when its guest's time is over. The first time counts. */
export const markPreempted = statement<never>('mark-preempted', `
  UPDATE lease l SET preempted_at = $2, preempt_ends_at = x.ends_at FROM unnest($1::text[], $3::timestamptz[]) AS x(id, ends_at)
   WHERE l.id = x.id AND l.preempted_at IS NULL`);

/**
 * $1 ended after, $2 its guest's time over after: room was made, or is being made, for somebody who has not come back for it yet. What
 * has not ended long after its guest's time is on a node that does not answer: nobody waits for that.
 */
export const roomIsPromised = statement<{ promised: boolean }>('room-is-promised', `
  SELECT EXISTS (SELECT 1 FROM lease WHERE spot_request_id IS NOT NULL AND preempted_at IS NOT NULL AND (ended_at > $1 OR NOT final AND preempt_ends_at > $2)) AS promised`);

/** $1 ids, $2 what should have ended before this does not: those that still hold their room */
export const stillHolding = statement<{ id: string; fails: boolean }>('still-holding', `
  SELECT l.id, i.id IS NULL OR ${REMOVAL_FAILS('$2')} AS fails
    FROM lease l LEFT JOIN intent i ON i.lease_id = l.id AND i.state = 'open' AND i.kind = 'remove' WHERE l.id = ANY($1::text[]) AND l.holding`);

/** $1 from, $2 to, $3 types (null = all), $4 limit: what leases were granted at, the newest first */
export const spotPrices = statement<{ type: string; zone: string; price: number; at: number }>('spot-prices', `
  SELECT type, zone, spot_price AS price, max(created_at) AS at FROM lease
   WHERE spot_request_id IS NOT NULL AND ($1::timestamptz IS NULL OR created_at >= $1) AND ($2::timestamptz IS NULL OR created_at <= $2)
     AND ($3::text[] IS NULL OR type = ANY($3))
   GROUP BY type, zone, spot_price ORDER BY max(created_at) DESC, type, zone, spot_price LIMIT $4`);
