/** Statements on intents: work for agents, written before it is done. */
import type { NodeAccess } from '../lease/node.ts';
import type { IntentKind } from '../lease/states.ts';
import type { Nic, RestingState } from '../lease/types.ts';
import { statement } from './db.ts';

/** An intent with all that its request to the agent carries. */
export interface IntentRow {
  id: string;
  lease_id: string;
  node_id: number;
  /** Its name. */
  node: string;
  kind: IntentKind;
  generation: number;
  attempts: number;
  created_at: number;
  /** When it was sent for the first time of those that were not answered; null: it was not sent yet, or the node took what it had room for. */
  sent_at: number | null;
  request_id: string | null;
  /** The process that has it under way. */
  process_id: number | null;
  memory_mb: number;
  cores: number;
  disk_mb: number;
  nics: Nic[];
  public_key: string | null;
  user_data: Buffer | null;
  image_id: string;
  image_sha256: string;
  image_format: 'raw' | 'qcow2';
  image_size: number;
  image_file: string;
  transport: NodeAccess['transport'];
  /** When the batch system takes the lease's node away, ms; null = it does not. */
  grace_ends_at: number | null;
  /** The guest is not asked to power down first. */
  hard: boolean;
  /** When the time of its guest is over that others displace, ms; null = they do not. */
  preempt_ends_at: number | null;
  /** Of the lease: where it rests instead of running. */
  target: RestingState | null;
}

/** `i` the intents, `l` their leases. */
export const intentRows = (leases: string): string => `SELECT i.id, i.lease_id, i.node_id, n.name AS node, i.kind, i.generation, i.attempts, i.created_at, i.sent_at, i.request_id, i.process_id, i.hard,
  l.memory_mb, l.cores, l.disk_mb, l.nics, l.public_key, l.user_data, l.target,
  l.image_id, m.sha256 AS image_sha256, m.format AS image_format, m.size_bytes AS image_size, m.file AS image_file, n.access->>'transport' AS transport,
  l.preempt_ends_at, (SELECT sn.grace_ends_at FROM slot_node sn WHERE sn.id = l.slot_node_id) AS grace_ends_at
  FROM i JOIN ${leases} l ON l.id = i.lease_id JOIN image m ON m.id = l.image_id JOIN vmm_node n ON n.id = i.node_id ORDER BY i.created_at, i.id`;

/**
 * Claims open intents that are due, and puts them off until `$2` for this process's next poll. $1 now, $2 until, $3 limit, $4
 * node (null = any), $5 this process (null = there is but one). What another process has claimed is left to it for as long as
 * it lives, unless only this one reaches the node; a node that only others reach is left to them. What this process has under way
 * already is claimed for longer, and no other attempt. A process that was stopped and does not know yet that others have
 * taken its work over claims what it writes for a life that is over: nobody is left who would free that.
 */
export const takeIntents = statement<IntentRow>('take-intents', `
  WITH due AS (
    SELECT id FROM intent o WHERE state = 'open' AND next_at <= $1 AND ($4::bigint IS NULL OR node_id = $4)
       AND ($5::bigint IS NULL
         OR (EXISTS (SELECT 1 FROM node_channel c WHERE c.node_id = o.node_id AND c.process_id = $5)
             AND (process_id IS NULL OR process_id = $5 OR NOT EXISTS (SELECT 1 FROM node_channel c WHERE c.node_id = o.node_id AND c.process_id = o.process_id)))
         OR (NOT EXISTS (SELECT 1 FROM node_channel c WHERE c.node_id = o.node_id)
             AND (process_id IS NULL OR process_id = $5 OR NOT EXISTS (SELECT 1 FROM process p WHERE p.id = o.process_id AND NOT p.taken_over))))
     ORDER BY next_at LIMIT $3 FOR UPDATE SKIP LOCKED
  ), i AS (
    UPDATE intent i SET next_at = $2, attempts = i.attempts + (i.process_id IS DISTINCT FROM $5 OR $5 IS NULL)::int, process_id = $5 FROM due WHERE i.id = due.id RETURNING i.*
  )
  ${intentRows('lease')}`);

/** $1 jsonb array of new intents, $2 now, $3 when a poll may take them, $4 who claims them; older open ones of the leases are superseded. Their rows, to hand them over. */
export const insertIntents = statement<IntentRow>('insert-intents', `
  WITH x AS (
    SELECT * FROM jsonb_to_recordset($1) AS x(id text, lease_id text, node_id bigint, kind text, generation int, request_id text, hard boolean)
  ), old AS (
    UPDATE intent o SET state = 'superseded', finished_at = $2 FROM x
     WHERE o.lease_id = x.lease_id AND o.state = 'open' AND o.generation < x.generation
  ), i AS (
    INSERT INTO intent (id, lease_id, node_id, kind, generation, created_at, next_at, request_id, process_id, hard)
    SELECT id, lease_id, node_id, kind, generation, $2, $3, request_id, $4, coalesce(hard, false) FROM x RETURNING *
  )
  ${intentRows('lease')}`);

/**
 * $1 ids, $2 when each is due again, $3 why, $4 who had claimed it, $5 since when it is not answered (null: it has not been sent), in parallel arrays: whoever reaches the node takes it then.
 * A claim that has passed on is not touched, and neither is what another is changing just then: it is over, or due when this claim's time is.
 */
export const postponeIntents = statement<never>('postpone-intents', `
  UPDATE intent i SET next_at = x.next_at, error = coalesce(x.error, i.error), sent_at = x.sent_at, process_id = NULL
    FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::bigint[], $5::timestamptz[]) AS x(id, next_at, error, claim, sent_at)
   WHERE i.id = x.id AND i.process_id IS NOT DISTINCT FROM x.claim
     AND i.id IN (SELECT id FROM intent WHERE id = ANY($1::text[]) AND state = 'open' FOR NO KEY UPDATE SKIP LOCKED)`);

/** $1 ids, $2 who had claimed each when it was sent, in parallel arrays: those that are still open and its own. Locked. */
export const claimedIntents = statement<{ id: string }>('claimed-intents', `
  SELECT i.id FROM unnest($1::text[], $2::bigint[]) AS x(id, claim) JOIN intent i ON i.id = x.id
   WHERE i.state = 'open' AND i.process_id IS NOT DISTINCT FROM x.claim ORDER BY i.id FOR NO KEY UPDATE OF i`);

export interface LeftUndoneRow {
  lease_id: string;
  kind: IntentKind;
  created_at: number;
  /** Times that it was asked again. */
  attempts: number;
  next_at: number;
  /** Why it was not done the last time; null: nobody has said so. */
  error: string | null;
}
/** $1 lease: the work that is to be done for it */
export const workOfLease = statement<LeftUndoneRow>('work-of-lease', `
  SELECT lease_id, kind, created_at, attempts, next_at, error FROM intent WHERE lease_id = $1 AND state = 'open' ORDER BY generation DESC LIMIT 1`);

/** $1 since when: of each node that has left older work undone how much that is, and the oldest; a few nodes. */
export const leftUndone = statement<LeftUndoneRow & { node: string; works: number }>('left-undone', `
  SELECT * FROM (
    SELECT DISTINCT ON (i.node_id) n.name AS node, count(*) OVER (PARTITION BY i.node_id)::int AS works, i.lease_id, i.kind, i.created_at, i.attempts, i.next_at, i.error
      FROM intent i JOIN vmm_node n ON n.id = i.node_id
     WHERE i.state = 'open' AND i.error IS NOT NULL AND i.created_at < $1 ORDER BY i.node_id, i.created_at, i.id) oldest
   ORDER BY created_at LIMIT 20`);

/** $1 leases, $2 now: nobody waits for their nodes any more. */
export const supersedeIntents = statement<never>('supersede-intents', `
  UPDATE intent SET state = 'superseded', finished_at = $2 WHERE lease_id = ANY($1::text[]) AND state = 'open'`);

/**
 * $1 node, $2 now, $3 this process: what waits for a node that has come back is due at once, unless another process has it under
 * way. Rows that another transaction holds are being finished or sent; to wait for them, with others held, could end in a deadlock.
 * A row when there is anything at all that waits for it.
 */
export const wakeIntents = statement<{ node_id: number }>('wake-intents', `
  WITH woken AS (
    UPDATE intent SET next_at = $2 WHERE id IN (
      SELECT id FROM intent WHERE node_id = $1 AND state = 'open' AND next_at > $2 AND ($3::bigint IS NULL OR process_id IS NULL OR process_id = $3) FOR UPDATE SKIP LOCKED)
  )
  SELECT node_id FROM intent WHERE node_id = $1 AND state = 'open' LIMIT 1`);

/** $1 leases: the generation of each one's latest start, which made the VM that is or was there */
export const startGenerations = statement<{ lease_id: string; generation: number }>('start-generations', `
  SELECT lease_id, max(generation) AS generation FROM intent
   WHERE lease_id = ANY($1::text[]) AND kind IN ('start', 'unserialize') GROUP BY lease_id`);
