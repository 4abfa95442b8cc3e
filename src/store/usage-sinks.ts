/** Statements on accounting sinks and the events that wait for them. Triggers write the events (migrations/0003_policies.ts). */
import { statement } from './db.ts';

/** $1 names, $2 now: these are told of usage from here on, no others are. Events that wait for one that is gone stay for its return. */
export const declareSinks = statement<never>('declare-sinks', `
  WITH gone AS (UPDATE usage_sink SET active = false WHERE active AND name <> ALL($1::text[]))
  INSERT INTO usage_sink (name, next_at) SELECT name, $2 FROM unnest($1::text[]) AS x(name) ORDER BY name
  ON CONFLICT (name) DO UPDATE SET active = true`);

/** $1 sink, $2 who, $3 now, $4 until when: a row when it is his to deliver, and due. */
export const claimSink = statement<{ name: string; attempts: number }>('claim-sink', `
  UPDATE usage_sink SET claimed_by = $2, claimed_until = $4
   WHERE name = $1 AND next_at <= $3 AND (claimed_by = $2 OR claimed_until IS NULL OR claimed_until <= $3)
     AND EXISTS (SELECT FROM usage_event WHERE sink = $1)
  RETURNING name, attempts`);

/** $1 sink, $2 limit: events that have no number yet get the next ones. Those of one lease come in the order of its transactions. */
export const numberUsageEvents = statement<never>('number-usage-events', `
  WITH n AS (SELECT id, row_number() OVER (ORDER BY id) AS k FROM usage_event WHERE sink = $1 AND number IS NULL ORDER BY id LIMIT $2),
       s AS (UPDATE usage_sink SET numbered = numbered + (SELECT count(*) FROM n) WHERE name = $1 RETURNING numbered - (SELECT count(*) FROM n) AS base)
  UPDATE usage_event e SET number = s.base + n.k FROM n, s WHERE e.id = n.id AND e.number IS NULL`);

export interface UsageEventRow {
  number: number;
  kind: string;
  lease_id: string;
  body: Record<string, unknown>;
}
/** $1 sink, $2 limit */
export const nextUsageEvents = statement<UsageEventRow>('next-usage-events', `
  SELECT number, kind, lease_id, body FROM usage_event WHERE sink = $1 AND number IS NOT NULL ORDER BY number LIMIT $2`);

/** $1 sink, $2 numbers, $3 now: they go, and the next ones are due at once. */
export const usageDelivered = statement<never>('usage-delivered', `
  WITH d AS (DELETE FROM usage_event WHERE sink = $1 AND number = ANY($2::bigint[]) RETURNING id)
  UPDATE usage_sink SET delivered = delivered + (SELECT count(*) FROM d), attempts = 0, last_delivered_at = $3, next_at = $3 WHERE name = $1`);

/** $1 sink, $2 now, $3 when to try again, $4 what was wrong */
export const usageNotDelivered = statement<never>('usage-not-delivered', `
  UPDATE usage_sink SET attempts = attempts + 1, next_at = $3, last_error = $4, last_error_at = $2 WHERE name = $1`);

/** $1 sink, $2 most that are kept, the newest */
export const dropOldUsageEvents = statement<{ dropped: number }>('drop-old-usage-events', `
  WITH bound AS (SELECT id FROM usage_event WHERE sink = $1 ORDER BY id DESC OFFSET $2 LIMIT 1),
       d AS (DELETE FROM usage_event e USING bound b WHERE e.sink = $1 AND e.id <= b.id RETURNING e.id)
  UPDATE usage_sink SET dropped = usage_sink.dropped + n.n FROM (SELECT count(*) AS n FROM d) n WHERE name = $1 AND n.n > 0 RETURNING n.n AS dropped`);

export interface UsageSinkRow {
  name: string;
  active: boolean;
  backlog: number;
  next: string | null;
  delivered: number;
  dropped: number;
  attempts: number;
  next_at: number;
  last_delivered_at: number | null;
  last_error: string | null;
  last_error_at: number | null;
}
export const allSinks = statement<UsageSinkRow>('all-sinks', `
  SELECT s.name, s.active, count(e.id) AS backlog, min(e.number)::text AS next, s.delivered, s.dropped, s.attempts, s.next_at, s.last_delivered_at, s.last_error, s.last_error_at
    FROM usage_sink s LEFT JOIN usage_event e ON e.sink = s.name GROUP BY s.name ORDER BY s.name`);
