/** The lease's row in itself: its flags follow from its state, it has a node, an end and a trail. */
import { isFinal, LEASE_STATES } from '../../lease/states.ts';
import { LOCK_LEASES, nowOf, rule } from '../rule.ts';
import { list } from '../sql.ts';

const FINAL = list(LEASE_STATES.filter(isFinal));
/** Room of these may have been given back while they live: a failed lease's VM was removed. */
const MAY_HOLD_NOTHING = list(['Corrupted', 'Ending']);

export const leaseRules = [
  rule<{ id: string; state: string }>({
    name: 'lease-state',
    broken: `SELECT id, state FROM lease WHERE NOT state IN (${list(LEASE_STATES)})`,
    says: (l) => `lease ${l.id} is in the state ${l.state}, which does not exist`,
    mend: 'restore a backup, or end it with: nimbus lease destroy --forget',
  }),
  rule<{ id: string; state: string; final: boolean }>({
    name: 'lease-final',
    broken: `SELECT id, state, final FROM lease WHERE final <> (state IN (${FINAL}))`,
    says: (l) => `lease ${l.id} is ${l.state}, but counts as ${l.final ? 'ended' : 'live'}`,
    mend: 'lets it count as its state says',
    repair: { lock: LOCK_LEASES, statement: `UPDATE lease SET final = state IN (${FINAL}) WHERE id = ANY($1::text[])` },
  }),
  rule<{ id: string; state: string }>({
    name: 'lease-holding',
    broken: `SELECT id, state FROM lease WHERE state IN (${FINAL}) AND holding`,
    says: (l) => `lease ${l.id} is ${l.state} and still holds its room`,
    mend: 'gives its room back',
    repair: { lock: LOCK_LEASES, statement: 'UPDATE lease SET holding = false WHERE id = ANY($1::text[])' },
  }),
  rule<{ id: string; state: string }>({
    name: 'lease-not-holding',
    broken: `SELECT id, state FROM lease WHERE NOT holding AND NOT state IN (${FINAL}, ${MAY_HOLD_NOTHING})`,
    says: (l) => `lease ${l.id} is ${l.state} and holds no room`,
    mend: 'lets it hold what it was given',
    repair: { lock: LOCK_LEASES, statement: 'UPDATE lease SET holding = true WHERE id = ANY($1::text[])' },
  }),
  rule<{ id: string; state: string; ended: boolean }>({
    name: 'lease-ended',
    broken: `SELECT id, state, ended_at IS NOT NULL AS ended FROM lease WHERE (state IN (${FINAL})) <> (ended_at IS NOT NULL)`,
    says: (l) => (l.ended ? `lease ${l.id} is ${l.state}, but has the time of an end` : `lease ${l.id} is ${l.state}, but nothing says since when`),
    mend: (l) => (l.ended ? 'removes that time' : 'takes the time of its last event'),
    repair: {
      lock: LOCK_LEASES,
      statement: `UPDATE lease l SET ended_at = CASE WHEN state IN (${FINAL})
          THEN coalesce((SELECT max(at) FROM event e WHERE e.lease_id = l.id), (SELECT closed_at FROM usage_record u WHERE u.lease_id = l.id), $2) END
        WHERE id = ANY($1::text[])`,
      values: (site) => [nowOf(site)],
    },
  }),
  rule<{ id: string; state: string }>({
    name: 'lease-node',
    broken: `SELECT id, state FROM lease WHERE node_id IS NULL AND NOT state IN ('Pending', ${FINAL}, ${MAY_HOLD_NOTHING})`,
    says: (l) => `lease ${l.id} is ${l.state}, but on no node`,
    mend: 'end it with: nimbus lease destroy --forget',
  }),
  rule<{ id: string; state: string; borrowed: boolean }>({
    name: 'lease-end',
    broken: `SELECT id, state, slot_node_id IS NOT NULL AS borrowed FROM lease
              WHERE ends_at IS NULL AND node_id IS NOT NULL AND NOT state IN (${FINAL}, ${MAY_HOLD_NOTHING})`,
    says: (l) => `lease ${l.id} is ${l.state} and would never end`,
    mend: (l) => (l.borrowed ? 'give it an end with: nimbus lease extend' : 'lets it end as long after its creation as was asked for'),
    repair: {
      lock: LOCK_LEASES, can: (l) => !l.borrowed,
      statement: "UPDATE lease SET ends_at = created_at + duration_s * interval '1 second' WHERE id = ANY($1::text[])",
    },
  }),
  rule<{ id: string; state: string; said: string | null }>({
    name: 'lease-trail', pages: 'lease',
    broken: `SELECT l.id, l.state, e.to_state AS said
               FROM lease l LEFT JOIN LATERAL (SELECT to_state FROM event WHERE lease_id = l.id ORDER BY id DESC LIMIT 1) e ON true
              WHERE $page(l.id) AND e.to_state IS DISTINCT FROM l.state`,
    says: (l) => `lease ${l.id} is ${l.state}, but its trail ${l.said === null ? 'is empty' : `ends with ${l.said}`}`,
    mend: 'nothing tells which is true: look at nimbus lease show, and end the lease if in doubt',
  }),
];
