/**
 * Statements on the events of all leases, for those who follow them. Ids are given before transactions end, so a row may appear
 * below one that was read already. Read are rows whose transaction is over for sure, in the order of transactions: below a
 * position that was read nothing appears any more. `txid` is text on this side: it has 64 bits.
 */
import { statement } from './db.ts';
import type { EventRow } from './leases.ts';

export interface SiteEventRow extends EventRow {
  txid: string;
  user: string | null;
  node: string | null;
  /** Of what was asked for; the others say only how far was read. */
  wanted: boolean;
}

const view = (from: string, order: 'ASC' | 'DESC'): string => `
  SELECT e.txid::text AS txid, e.id, e.lease_id, a.name AS user, n.name AS node, e.at, e.from_state, e.to_state, e.trigger, e.who, e.why, e.request_id,
         ($1::text IS NULL OR e.lease_id = $1) AND ($2::text IS NULL OR a.name = $2) AND ($3::text IS NULL OR n.name = $3 OR e.who = 'node ' || $3) AS wanted
    FROM (${from}) e LEFT JOIN lease l ON l.id = e.lease_id LEFT JOIN account a ON a.id = l.account_id LEFT JOIN vmm_node n ON n.id = l.node_id
   ORDER BY e.txid ${order}, e.id ${order}`;

const OVER = 'txid < pg_snapshot_xmin(pg_current_snapshot())';

/** $1 lease, $2 user, $3 node (null = any), $4 and $5 txid and id of the last one read, $6 how many are looked at */
export const eventsAfter = statement<SiteEventRow>('events-after', view(
  `SELECT * FROM event WHERE ${OVER} AND (txid, id) > ($4::text::xid8, $5::bigint) ORDER BY txid, id LIMIT $6`, 'ASC'));

/** As eventsAfter, the newest first: $1 to $3, $4 how many are looked at */
export const newestEvents = statement<SiteEventRow>('newest-events', view(
  `SELECT * FROM event WHERE ${OVER} ORDER BY txid DESC, id DESC LIMIT $4`, 'DESC'));
