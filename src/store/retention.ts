/** Statements that remove what is over and old, a batch at a time. */
import { statement } from './db.ts';
import { BEING_SAVED } from './images.ts';

/** Held to the end of the transaction: of several services one prunes. */
export const mayPrune = statement<{ may: boolean }>('may-prune', 'SELECT pg_try_advisory_xact_lock(7310584022) AS may');

export interface PrunedRows {
  pruned: number;
}

const OLD_LEASES = (before: string): string => `FROM lease l
     WHERE l.final AND l.ended_at < ${before}
       AND NOT EXISTS (SELECT 1 FROM lease o WHERE o.group_id = l.group_id AND (NOT o.final OR o.holding OR o.ended_at >= ${before}))
       AND NOT EXISTS (SELECT 1 FROM lease o JOIN usage_record u ON u.lease_id = o.id WHERE o.group_id = l.group_id AND u.closed_at IS NULL)`;
const OLD_ENSEMBLES = (before: string): string =>
  `FROM ensemble e WHERE e.created_at < ${before} AND NOT EXISTS (SELECT 1 FROM grid_group g WHERE g.ensemble_id = e.id)`;
const OLD_IMAGE_ORDERS = (before: string): string => `FROM image_order o WHERE o.created_at < ${before}
       AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.id = o.lease_id AND l.image_order = o.id AND ${BEING_SAVED})`;
const OLD_SLOTS = (before: string): string => `FROM slot s
     WHERE s.final AND s.ended_at < ${before}
       AND NOT EXISTS (SELECT 1 FROM slot_node n JOIN lease l ON l.slot_node_id = n.id WHERE n.slot_id = s.id)
       AND NOT EXISTS (SELECT 1 FROM vmm_node v JOIN lease l ON l.node_id = v.id WHERE v.slot_id = s.id)
       AND NOT EXISTS (SELECT 1 FROM vmm_node v WHERE v.slot_id = s.id AND v.ended_at IS NULL)`;
const OLD_USAGE = (before: string): string =>
  `FROM usage_record u WHERE u.closed_at < ${before} AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.id = u.lease_id)`;

const OLD_SPOT_REQUESTS = (before: string): string => `FROM spot_request s
     WHERE s.created_at < ${before} AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.spot_request_id = s.id)
       AND (s.cancelled_at < ${before} OR s.failed_at < ${before} OR s.valid_until < ${before} OR (NOT s.persistent AND s.launches > 0))`;

/** Whether there are any of each. */
export interface Old {
  leases: boolean;
  ensembles: boolean;
  orders: boolean;
  spot: boolean;
  slots: boolean;
  usage: boolean;
}

/** $1 to $4, null = never: leases ended; ensembles, orders of images and spot requests made; slots ended; usage records closed before. */
export const whatIsOld = statement<Old>('what-is-old', `
  SELECT EXISTS (SELECT 1 ${OLD_LEASES('$1::timestamptz')}) AS leases, EXISTS (SELECT 1 ${OLD_ENSEMBLES('$2::timestamptz')}) AS ensembles, EXISTS (SELECT 1 ${OLD_IMAGE_ORDERS('$2::timestamptz')}) AS orders,
         EXISTS (SELECT 1 ${OLD_SPOT_REQUESTS('$2::timestamptz')}) AS spot, EXISTS (SELECT 1 ${OLD_SLOTS('$3::timestamptz')}) AS slots, EXISTS (SELECT 1 ${OLD_USAGE('$4::timestamptz')}) AS usage`);

/**
 * $1 ended before, $2 limit: leases with their events, work and tags, and their groups with their client tokens. A group
 * goes as a whole, when the last of its leases is old.
 */
export const pruneLeases = statement<PrunedRows>('prune-leases', `
  WITH old AS (
    SELECT l.group_id ${OLD_LEASES('$1')}
     ORDER BY l.ended_at LIMIT $2
  ), gone AS (SELECT id FROM lease WHERE group_id IN (SELECT group_id FROM old)),
     e AS (DELETE FROM event WHERE lease_id IN (SELECT id FROM gone)),
     i AS (DELETE FROM intent WHERE lease_id IN (SELECT id FROM gone)),
     t AS (DELETE FROM tag WHERE resource_id IN (SELECT id FROM gone UNION ALL SELECT 'vol-' || substr(id, 3) FROM gone)),
     l AS (DELETE FROM lease WHERE id IN (SELECT id FROM gone) RETURNING id),
     g AS (DELETE FROM lease_group WHERE id IN (SELECT group_id FROM old)),
     s AS (DELETE FROM subscription WHERE lease_id IN (SELECT id FROM gone))
  SELECT count(*)::int AS pruned FROM l`);

/** $1 made before, $2 limit: ensembles of which no group is left. */
export const pruneEnsembles = statement<PrunedRows>('prune-ensembles', `
  WITH gone AS (
    SELECT e.id ${OLD_ENSEMBLES('$1')} ORDER BY e.created_at LIMIT $2
  ), d AS (DELETE FROM ensemble WHERE id IN (SELECT id FROM gone) RETURNING id)
  SELECT count(*)::int AS pruned FROM d`);

/** $1 made before, $2 limit: rows with nothing but tags of their own. */
const pruneWithTags = (table: string, row: string, old: (before: string) => string): ReturnType<typeof statement<PrunedRows>> => statement<PrunedRows>(`prune-${table}`, `
  WITH gone AS (
    SELECT ${row}.id ${old('$1')}
     ORDER BY ${row}.created_at LIMIT $2
  ), t AS (DELETE FROM tag WHERE resource_id IN (SELECT id FROM gone)),
     d AS (DELETE FROM ${table} WHERE id IN (SELECT id FROM gone) RETURNING id)
  SELECT count(*)::int AS pruned FROM d`);

/** Images that could not be made. */
export const pruneImageOrders = pruneWithTags('image_order', 'o', OLD_IMAGE_ORDERS);

/** Spot requests that are over and of which no lease is left. */
export const pruneSpotRequests = pruneWithTags('spot_request', 's', OLD_SPOT_REQUESTS);

/** $1 ended before, $2 limit: slots to which no lease refers, with their nodes and what their pilots said. */
export const pruneSlots = statement<PrunedRows>('prune-slots', `
  WITH gone AS (
    SELECT s.id ${OLD_SLOTS('$1')}
     ORDER BY s.ended_at LIMIT $2
  ), m AS (DELETE FROM slot_message WHERE slot_id IN (SELECT id FROM gone)),
     c AS (DELETE FROM slot_sender WHERE slot_id IN (SELECT id FROM gone)),
     n AS (DELETE FROM slot_node WHERE slot_id IN (SELECT id FROM gone)),
     v AS (DELETE FROM vmm_node WHERE slot_id IN (SELECT id FROM gone)),
     s AS (DELETE FROM slot WHERE id IN (SELECT id FROM gone) RETURNING id)
  SELECT count(*)::int AS pruned FROM s`);

/** $1 closed before, $2 limit: usage records with their intervals, of leases that are gone. */
export const pruneUsage = statement<PrunedRows>('prune-usage', `
  WITH gone AS (
    SELECT u.lease_id ${OLD_USAGE('$1')}
     ORDER BY u.closed_at LIMIT $2
  ), i AS (DELETE FROM usage_interval WHERE lease_id IN (SELECT lease_id FROM gone)),
     u AS (DELETE FROM usage_record WHERE lease_id IN (SELECT lease_id FROM gone) RETURNING lease_id)
  SELECT count(*)::int AS pruned FROM u`);
