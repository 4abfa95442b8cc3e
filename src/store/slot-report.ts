/** Statements for reports on leases and slots to administrators. */
import type { MessageState } from '../pilot/protocol.ts';
import { statement } from './db.ts';

/** $1 leases: when the end of each was first asked for */
export const endsAsked = statement<{ lease_id: string; at: number }>('ends-asked', `
  SELECT lease_id, min(at) AS at FROM event WHERE lease_id = ANY($1::text[]) AND to_state = 'Ending' GROUP BY lease_id`);

export interface SlotMessageRow {
  id: string;
  host: string;
  pilot: string;
  seq: number;
  at: number;
  received_at: number;
  state: MessageState;
  code: number;
  text: string | null;
  applied: boolean;
}
/** $1 slot, $2 limit: the newest, in the order of their arrival */
export const messagesOfSlot = statement<SlotMessageRow>('messages-of-slot', `
  SELECT * FROM (
    SELECT id, host, pilot, seq, at, received_at, body->'message'->>'state' AS state, (body->'message'->>'code')::int AS code,
           body->'message'->>'text' AS text, applied
      FROM slot_message WHERE slot_id = $1 ORDER BY received_at DESC, seq DESC LIMIT $2) newest
   ORDER BY received_at, seq`);

/** Of nodes that pilots hold now: whose clock differs most from the service's */
export const worstClock = statement<{ host: string; clock_offset_ms: number }>('worst-clock', `
  SELECT n.host, n.clock_offset_ms FROM slot_node n JOIN slot s ON s.id = n.slot_id
   WHERE NOT s.final AND n.host IS NOT NULL ORDER BY abs(n.clock_offset_ms) DESC LIMIT 1`);
