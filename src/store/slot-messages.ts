/** Statements on what pilots say: counters of their requests, their messages once each, and when they were last heard. */
import type { PilotMessage } from '../pilot/protocol.ts';
import type { SlotState } from '../pilot/states.ts';
import { statement } from './db.ts';

/** How a slot's pilots prove who they are. Neither changes while the slot lives. */
export interface SlotCredentialsRow {
  id: string;
  secret: string;
  nonce: string;
}
/** $1 ids */
export const slotCredentials = statement<SlotCredentialsRow>('slot-credentials', 'SELECT id, secret, nonce FROM slot WHERE id = ANY($1::text[])');

/** What decides whether a pilot belongs to a slot, and what it is told. */
export interface SlotStandingRow {
  id: string;
  state: SlotState;
  final: boolean;
  nodes: number;
  /** As the batch system says; empty until it does. */
  hosts: string[];
  created_at: number;
  /** Hosts whose pilots shall go, or are gone. */
  leaving: string[];
  /** Pilot processes that were heard, by whichever service. */
  senders: number;
}
/** $1 ids. Nothing is locked: an end that is decided meanwhile finds a message more, or the next request. */
export const slotStanding = statement<SlotStandingRow>('slot-standing', `
  SELECT s.id, s.state, s.final, s.nodes, s.hosts, s.created_at,
         ARRAY(SELECT n.host FROM slot_node n WHERE n.slot_id = s.id AND n.host IS NOT NULL AND n.state IN ('Returning', 'Returned', 'Failed', 'Lost')) AS leaving,
         (SELECT count(*)::int FROM slot_sender x WHERE x.slot_id = s.id) AS senders
    FROM slot s WHERE s.id = ANY($1::text[])`);

/** $1 ids: which pilot spoke for which host, and how many messages of it are stored. */
export const slotSpeakers = statement<{ slot_id: string; host: string; pilot: string; messages: number }>('slot-speakers', `
  SELECT slot_id, host, pilot, count(*)::int AS messages FROM slot_message WHERE slot_id = ANY($1::text[])
   GROUP BY slot_id, host, pilot ORDER BY min(received_at)`);

/** $1 ids: the highest counter of each pilot process. */
export const slotSenders = statement<{ slot_id: string; cnonce: string; nc: number }>('slot-senders', `
  SELECT slot_id, cnonce, nc FROM slot_sender WHERE slot_id = ANY($1::text[])`);

/** One of `storeMessages`' messages; times in ms. */
export interface NewMessage {
  readonly slot_id: string;
  readonly id: string;
  readonly host: string;
  readonly pilot: string;
  readonly seq: number;
  readonly at: number;
  readonly received_at: number;
  readonly body: { readonly part: number; readonly offsetMs: number | null; readonly message: PilotMessage };
}
export interface NewCounter {
  readonly slot_id: string;
  readonly cnonce: string;
  readonly nc: number;
}
export interface NewHearing {
  readonly slot_id: string;
  readonly host: string;
  readonly pilot: string;
  readonly at: number;
  /** Pilot's clock less the service's, as one request shows it; null = it does not. */
  readonly offset_ms: number | null;
}

/**
 * $1 messages, $2 counters, $3 hearings, as jsonb arrays; one row of each (slot, id), (slot, cnonce), (slot, host). Returns the
 * slot of each message that was not stored before (`fresh`) and how many counters went up (`counters`): fewer than were given
 * means that somebody else has used one of them, and the transaction must not be committed.
 *
 * A request that was long on its way makes a clock look slow, never fast: the greatest offset comes nearest. A node's row that
 * somebody holds is left alone, as the next request tells the same; so this waits for nobody.
 */
export const storeMessages = statement<{ counters: number; fresh: string[] }>('store-messages', `
  WITH stored AS (
    INSERT INTO slot_message (slot_id, id, host, pilot, seq, at, received_at, body)
    SELECT slot_id, id, host, pilot, seq, to_timestamp(at / 1000), to_timestamp(received_at / 1000), body
      FROM jsonb_to_recordset($1) AS x(slot_id text, id text, host text, pilot text, seq int, at float8, received_at float8, body jsonb)
    ON CONFLICT (slot_id, id) DO NOTHING RETURNING slot_id
  ), counted AS (
    INSERT INTO slot_sender AS s (slot_id, cnonce, nc)
    SELECT slot_id, cnonce, nc FROM jsonb_to_recordset($2) AS x(slot_id text, cnonce text, nc bigint)
    ON CONFLICT (slot_id, cnonce) DO UPDATE SET nc = excluded.nc WHERE s.nc < excluded.nc RETURNING 1
  ), heard AS (
    SELECT n.id, x.at, x.offset_ms FROM jsonb_to_recordset($3) AS x(slot_id text, host text, pilot text, at float8, offset_ms int)
      JOIN slot_node n ON n.slot_id = x.slot_id AND n.host = x.host AND n.pilot = x.pilot
       FOR NO KEY UPDATE OF n SKIP LOCKED
  ), refreshed AS (
    UPDATE slot_node n SET last_heard = to_timestamp(heard.at / 1000),
           clock_offset_ms = CASE WHEN n.last_heard IS NULL THEN coalesce(heard.offset_ms, n.clock_offset_ms) ELSE greatest(n.clock_offset_ms, heard.offset_ms) END
      FROM heard WHERE n.id = heard.id
  )
  SELECT (SELECT count(*)::int FROM counted) AS counters, ARRAY(SELECT slot_id FROM stored) AS fresh`);

export interface OpenMessageRow {
  slot_id: string;
  id: string;
  /** The node, by the name that it was first heard under: the same in all its messages. */
  host: string;
  pilot: string;
  /** Which part of a heterogeneous job. */
  part: number;
  seq: number;
  /** When it happened, on the service's clock; never later than `received_at`. */
  at: number;
  received_at: number;
  /** Pilot's clock less the service's, as the message's request shows it; null = it does not. */
  clock_offset_ms: number | null;
  /** As the pilot sent it. Its moments are on the pilot's clock and lie between the slot's beginning and the message's arrival. */
  body: PilotMessage;
}
/** What the next call finds is not read by this one. */
const MOST_OPEN = 10_000;

/** $1 slots (null = all): what was stored and not applied yet, in the order of arrival. */
export const openMessages = statement<OpenMessageRow>('open-messages', `
  SELECT slot_id, id, host, pilot, (body->>'part')::int AS part, seq, at, received_at, (body->>'offsetMs')::int AS clock_offset_ms, body->'message' AS body
    FROM slot_message WHERE NOT applied AND ($1::text[] IS NULL OR slot_id = ANY($1)) ORDER BY received_at, seq, slot_id LIMIT ${MOST_OPEN}`);

/** $1 slots, $2 ids, in parallel arrays */
export const markApplied = statement<never>('mark-applied', `
  UPDATE slot_message m SET applied = true FROM unnest($1::text[], $2::text[]) AS x(slot_id, id) WHERE m.slot_id = x.slot_id AND m.id = x.id`);
