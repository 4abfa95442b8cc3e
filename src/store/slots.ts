/** Statements on slots (batch jobs) and their nodes. Times go in as Date, come out as ms. */
import type { SlotNodeState, SlotState } from '../pilot/states.ts';
import { statement } from './db.ts';

/** Held to the end of the transaction by whoever asks for borrowed nodes: the caps are one site's. */
export const lockBorrowing = statement<never>('lock-borrowing', 'SELECT pg_advisory_xact_lock(7310584021)');

/** What live slots of each user hold or ask for. */
export const slotUse = statement<{ account_id: number; nodes: number; queued: number }>('slot-use', `
  SELECT s.account_id, sum((SELECT count(*) FROM slot_node n WHERE n.slot_id = s.id AND n.state NOT IN ('Returned', 'Failed', 'Lost')))::int AS nodes,
         count(*) FILTER (WHERE s.state IN ('Requested', 'Submitting', 'Queued'))::int AS queued
    FROM slot s WHERE NOT s.final GROUP BY s.account_id`);

/** $1 jsonb array of slots with their nodes, $2 now. Returns the nodes' ids. */
export const insertSlots = statement<{ slot_id: string; ordinal: number; id: number }>('insert-slots', `
  WITH x AS (
    SELECT * FROM jsonb_to_recordset($1) AS x(id text, account_id bigint, lrm text, parts jsonb, duration_s int, pilot_s int, walltime_s int,
      grace_s int, lrm_account text, secret text, nonce text, request_id text, spot boolean, slot_nodes jsonb)
  ), s AS (
    INSERT INTO slot (id, account_id, state, lrm, parts, nodes, duration_s, pilot_s, walltime_s, grace_s, lrm_account, secret, nonce, request_id, spot, created_at, next_at)
    SELECT id, account_id, 'Requested', lrm, parts, jsonb_array_length(slot_nodes), duration_s, pilot_s, walltime_s, grace_s, lrm_account, secret, nonce, request_id, spot, $2, $2 FROM x
  )
  INSERT INTO slot_node (slot_id, ordinal, part, state, memory_mb, cores)
  SELECT x.id, n.ordinal, n.part, 'Waiting', n.memory_mb, n.cores
    FROM x, jsonb_to_recordset(x.slot_nodes) AS n(ordinal int, part int, memory_mb int, cores int)
  RETURNING slot_id, ordinal, id`);

export interface RequestedSlotRow {
  id: string;
  parts: Array<{ nodes: number; memoryMb: number; cores: number }>;
  pilot_s: number;
  walltime_s: number;
  grace_s: number;
  lrm_account: string | null;
  secret: string;
  nonce: string;
  attempts: number;
  spot: boolean;
}
/** $1 now, $2 limit, $3 this process: they are `Submitting` from here on, and `submitted_at` says since when. */
export const takeRequestedSlots = statement<RequestedSlotRow>('take-requested-slots', `
  UPDATE slot s SET state = 'Submitting', attempts = attempts + 1, submitted_at = $1, missing_polls = 0, process_id = $3
   WHERE id IN (SELECT id FROM slot WHERE NOT final AND state = 'Requested' AND next_at <= $1 ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED)
  RETURNING id, parts, pilot_s, walltime_s, grace_s, lrm_account, secret, nonce, attempts, spot`);

export interface SlotRow {
  id: string;
  account_id: number;
  state: SlotState;
  final: boolean;
  job_id: string | null;
  nodes: number;
  hosts: string[];
  native_state: string | null;
  queue_position: number | null;
  queue_reason: string | null;
  expected_start: number | null;
  missing_polls: number;
  attempts: number;
  next_at: number;
  created_at: number;
  submitted_at: number | null;
  ready_at: number | null;
  released_at: number | null;
  ended_at: number | null;
  reason_code: string | null;
  reason: string | null;
  grace_s: number;
  pilot_s: number;
  request_id: string | null;
}
const SLOT = `id, account_id, state, final, job_id, nodes, hosts, native_state, queue_position, queue_reason, expected_start, missing_polls,
  attempts, next_at, created_at, submitted_at, ready_at, released_at, ended_at, reason_code, reason, grace_s, pilot_s, request_id`;

/** What reconciliation compares with the batch system's list. */
export type LiveSlotRow = Pick<SlotRow, 'id' | 'state' | 'job_id' | 'native_state' | 'queue_position' | 'queue_reason' | 'expected_start' | 'hosts' | 'missing_polls' | 'submitted_at' | 'released_at'>
  & { submitting_elsewhere: boolean };
/** $1 this process, $2 submissions that another one began before this have failed without a word. */
export const liveSlots = statement<LiveSlotRow>('live-slots', `
  SELECT id, state, job_id, native_state, queue_position, queue_reason, expected_start, hosts, missing_polls, submitted_at, released_at,
         (state = 'Submitting' AND process_id <> $1 AND submitted_at > $2 AND EXISTS (SELECT 1 FROM process p WHERE p.id = process_id AND p.ended_at IS NULL)) IS TRUE AS submitting_elsewhere
    FROM slot WHERE NOT final`);
/** $1 ids: locked in one order by every process */
export const lockSlots = statement<SlotRow>('lock-slots', `SELECT ${SLOT} FROM slot WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE`);
/** $1 ids: which of them have ended */
export const finalSlots = statement<{ id: string }>('final-slots', 'SELECT id FROM slot WHERE id = ANY($1::text[]) AND final');

export interface SlotNodeRow {
  id: number;
  slot_id: string;
  ordinal: number;
  part: number;
  state: SlotNodeState;
  memory_mb: number;
  cores: number;
  host: string | null;
  pilot: string | null;
  node_id: number | null;
  clock_offset_ms: number;
  until_at: number | null;
  grace_ends_at: number | null;
  last_heard: number | null;
  phases: Record<string, number>;
  reason: string | null;
}
const NODE = 'id, slot_id, ordinal, part, state, memory_mb, cores, host, pilot, node_id, clock_offset_ms, until_at, grace_ends_at, last_heard, phases, reason';
/** $1 slots */
export const nodesOfSlots = statement<SlotNodeRow>('nodes-of-slots', `SELECT ${NODE} FROM slot_node WHERE slot_id = ANY($1::text[]) ORDER BY slot_id, ordinal`);

/** $1 slots: their nodes, each with its leases that are not over */
export const slotNodesWithLeases = statement<SlotNodeRow & { leases: string[] }>('slot-nodes-with-leases', `
  SELECT ${NODE}, ARRAY(SELECT l.id FROM lease l WHERE l.slot_node_id = n.id AND NOT l.final) AS leases
    FROM slot_node n WHERE slot_id = ANY($1::text[]) ORDER BY slot_id, ordinal`);

/** $1 jsonb array of whole rows, as changed */
export const updateSlots = statement<never>('update-slots', `
  UPDATE slot s SET state = x.state, final = x.final, job_id = x.job_id, hosts = x.hosts, native_state = x.native_state, queue_position = x.queue_position,
         queue_reason = x.queue_reason, expected_start = x.expected_start, missing_polls = x.missing_polls, next_at = x.next_at, ready_at = x.ready_at,
         released_at = x.released_at, ended_at = x.ended_at, reason_code = x.reason_code, reason = x.reason
    FROM jsonb_to_recordset($1) AS x(id text, state text, final boolean, job_id text, hosts text[], native_state text, queue_position int,
         queue_reason text, expected_start timestamptz, missing_polls int, next_at timestamptz, ready_at timestamptz, released_at timestamptz,
         ended_at timestamptz, reason_code text, reason text)
   WHERE s.id = x.id`);

/** $1 jsonb array: what the batch system says of slots whose state stays what it is */
export const noteSlots = statement<never>('note-slots', `
  UPDATE slot s SET job_id = coalesce(s.job_id, x.job_id), native_state = x.native_state, queue_position = x.queue_position, queue_reason = x.queue_reason,
         expected_start = x.expected_start, hosts = x.hosts, missing_polls = x.missing_polls
    FROM jsonb_to_recordset($1) AS x(id text, job_id text, native_state text, queue_position int, queue_reason text, expected_start timestamptz, hosts text[], missing_polls int)
   WHERE s.id = x.id AND NOT s.final`);

/** $1 jsonb array of nodes as changed; phases are added to what stands */
export const updateSlotNodes = statement<never>('update-slot-nodes', `
  UPDATE slot_node n SET state = x.state, host = x.host, pilot = x.pilot, node_id = x.node_id, until_at = x.until_at,
         grace_ends_at = x.grace_ends_at, clock_offset_ms = x.clock_offset_ms, phases = n.phases || x.phases, reason = x.reason
    FROM jsonb_to_recordset($1) AS x(id bigint, state text, host text, pilot text, node_id bigint, until_at timestamptz,
         grace_ends_at timestamptz, clock_offset_ms int, phases jsonb, reason text)
   WHERE n.id = x.id`);

/** $1 name, $2 zone, $3 memory, $4 cores, $5 access, $6 now, $7 slot, $8 memory used, $9 cores used */
export const insertSlotVmmNode = statement<{ id: number }>('insert-slot-vmm-node', `
  INSERT INTO vmm_node (name, zone, memory_mb, cores, access, created_at, slot_id, memory_used, cores_used)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
  ON CONFLICT (name) DO UPDATE SET access = excluded.access RETURNING id`);

/** $1 ids, $2 now */
export const endSlotVmmNodes = statement<never>('end-slot-vmm-nodes', `
  UPDATE vmm_node SET ended_at = $2, active = false, reachable = false WHERE id = ANY($1::bigint[]) AND ended_at IS NULL`);

/** $1 jsonb array: leases get the node that has reported, and their end */
export const bindLeases = statement<never>('bind-leases', `
  UPDATE lease l SET node_id = x.node_id, ends_at = x.ends_at
    FROM jsonb_to_recordset($1) AS x(id text, node_id bigint, ends_at timestamptz) WHERE l.id = x.id`);

/** Of a slot node `n` and its VMM node `v`: nothing was heard of it since `since`, and no channel leads to it. */
const silent = (since: string): string => `n.state IN ('Reserved', 'Preempted', 'Returning') AND NOT v.reachable
     AND coalesce(n.last_heard, to_timestamp((n.phases->>'reported')::float8 / 1000)) < ${since}`;

/** Of a slot node `n` and its VMM node `v`: its leases shall end, and its agent was not reached since `since` to be told so. */
const unheeding = (since: string): string => `n.state IN ('Reserved', 'Preempted') AND NOT v.reachable AND coalesce(v.last_seen, v.created_at) < ${since}
     AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.slot_node_id = n.id AND l.holding AND l.state NOT IN ('Ending', 'Corrupted'))`;

/** $1 slots, $2 when they were heard or reached at last, at the latest: those that are silent (lost), and those that do not heed. */
export const unheardNodes = statement<{ id: number; lost: boolean; unheeding: boolean }>('unheard-nodes', `
  SELECT * FROM (SELECT n.id, coalesce(${silent('$2')}, false) AS lost, coalesce(${unheeding('$2')}, false) AS unheeding
    FROM slot_node n JOIN vmm_node v ON v.id = n.node_id WHERE n.slot_id = ANY($1::text[])) AS x WHERE lost OR unheeding`);

/** Of the nodes `n` of a job: when it, or the first of its pilots, began. */
const BEGUN = "to_timestamp(min(coalesce(n.phases->>'job-running', n.phases->>'reported')::float8) / 1000)";

/** What the slot worker has to do now. */
export interface SlotsDueRow {
  /** Slots that someone has to decide something about. */
  tend: string[];
  /** There are some to submit. */
  requested: boolean;
  /** There are nodes whose pilots shall go. */
  returning: boolean;
}
/**
 * One row, so that a service with nothing to do asks one question each second. Of slots to tend: $1 those that have waited since before this are given up, $2 those that
 * were let go before this are cancelled, $3 nodes that were heard before this at last are lost, $4 jobs that began before
 * this and whose pilots have not all come will never be complete, or will do without them; those of which no lease waits for one any
 * more are complete. A job keeps its first node, whatever becomes of that. The host of a pilot that was given up without a word is one
 * of those that nobody has named.
 */
export const slotsDue = statement<SlotsDueRow>('slots-due', `
  WITH live AS MATERIALIZED (SELECT id, state, job_id, hosts, next_at, created_at, jsonb_array_length(parts) AS parts FROM slot WHERE NOT final),
       node AS MATERIALIZED (SELECT n.id, n.slot_id, n.part, n.state, n.host, n.node_id, n.last_heard, n.phases FROM slot_node n JOIN live s ON s.id = n.slot_id),
       held AS MATERIALIZED (SELECT DISTINCT slot_node_id FROM lease WHERE holding AND slot_node_id IS NOT NULL),
       used AS (SELECT DISTINCT n.slot_id FROM node n JOIN held h ON h.slot_node_id = n.id)
  SELECT EXISTS (SELECT 1 FROM live WHERE state = 'Requested' AND next_at <= $2) AS requested,
         EXISTS (SELECT 1 FROM node WHERE state = 'Returning' AND node_id IS NOT NULL) AS returning,
         ARRAY(SELECT id FROM (
      SELECT s.id FROM live s LEFT JOIN used u ON u.slot_id = s.id WHERE s.state <> 'Releasing' AND u.slot_id IS NULL
       UNION SELECT n.slot_id FROM node n LEFT JOIN held h ON h.slot_node_id = n.id WHERE n.state IN ('Reserved', 'Preempted') AND h.slot_node_id IS NULL
       UNION SELECT id FROM live WHERE state = 'Releasing' AND next_at <= $2
       UNION SELECT id FROM live WHERE state IN ('Requested', 'Submitting', 'Queued') AND created_at < $1
       UNION SELECT n.slot_id FROM node n JOIN vmm_node v ON v.id = n.node_id WHERE (${silent('$3')}) OR (${unheeding('$3')})
       UNION SELECT s.id FROM live s JOIN node n ON n.slot_id = s.id
              WHERE s.state = 'Ready' AND s.job_id IS NOT NULL AND s.next_at <= $2
                AND (s.parts = 1 OR n.part > 0 AND NOT EXISTS (SELECT 1 FROM node w WHERE w.slot_id = n.slot_id AND w.part = n.part AND w.state = 'Waiting'))
                AND n.state IN ('Returned', 'Failed', 'Lost') AND (n.host = ANY(s.hosts[2:]) OR n.host IS NULL AND n.state = 'Lost' AND EXISTS (SELECT 1 FROM unnest(s.hosts[2:]) h
                   WHERE NOT EXISTS (SELECT 1 FROM node k WHERE k.slot_id = s.id AND lower(split_part(k.host, '.', 1)) = lower(split_part(h, '.', 1)))))
       UNION SELECT s.id FROM live s JOIN node n ON n.slot_id = s.id LEFT JOIN held h ON h.slot_node_id = n.id WHERE s.state = 'Starting'
              GROUP BY s.id HAVING bool_or(n.state = 'Waiting') AND (NOT bool_or(n.state = 'Waiting' AND h.slot_node_id IS NOT NULL)
                OR ${BEGUN} < $4)
       UNION SELECT s.id FROM live s JOIN node n ON n.slot_id = s.id WHERE s.state = 'Ready' GROUP BY s.id HAVING bool_or(n.state = 'Waiting') AND ${BEGUN} < $4
         ) AS due ORDER BY id LIMIT 500) AS tend`);

/** $1 this process: nodes whose pilots were told to go, or shall be told, and have not said that they are gone; not those that only others reach. */
export const returningNodes = statement<{ id: number; slot_id: string; node_id: number }>('returning-nodes', `
  SELECT n.id, n.slot_id, n.node_id FROM slot_node n JOIN slot s ON s.id = n.slot_id
   WHERE NOT s.final AND n.state = 'Returning' AND n.node_id IS NOT NULL
     AND (EXISTS (SELECT 1 FROM node_channel c WHERE c.node_id = n.node_id AND c.process_id = $1) OR NOT EXISTS (SELECT 1 FROM node_channel c WHERE c.node_id = n.node_id)) ORDER BY n.id LIMIT 2000`);

/** $1 id (null = all), $2 live only, $3 user (null = all), $4 limit */
export const slotsForAdmin = statement<SlotRow & { lrm: string; user: string; duration_s: number; walltime_s: number; spot: boolean }>('slots-for-admin', `
  SELECT ${SLOT.split(',').map((c) => `s.${c.trim()}`).join(', ')}, s.lrm, a.name AS user, s.duration_s, s.walltime_s, s.spot
    FROM slot s JOIN account a ON a.id = s.account_id
   WHERE ($1::text IS NULL OR s.id = $1) AND (NOT $2::boolean OR NOT s.final) AND ($3::text IS NULL OR a.name = $3)
   ORDER BY s.created_at DESC, s.id LIMIT $4`);

/** $1 slot nodes */
export const leaseIdsOfSlotNodes = statement<{ id: string; slot_node_id: number; final: boolean }>('lease-ids-of-slot-nodes', `
  SELECT id, slot_node_id, final FROM lease WHERE slot_node_id = ANY($1::bigint[]) ORDER BY slot_node_id, launch_index`);
