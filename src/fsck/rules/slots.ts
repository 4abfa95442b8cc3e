/** Slots, their nodes and the VMM nodes that they lend agree. */
import { SLOT_NODE_STATES, nodeIsOver } from '../../pilot/states.ts';
import { statement } from '../../store/db.ts';
import { LOCK_LEASES, LOCK_NODES, LOCK_SLOTS, nowOf, rule } from '../rule.ts';
import { list } from '../sql.ts';

const OVER = list(SLOT_NODE_STATES.filter(nodeIsOver));
/** A message that waits longer than this was not applied by a service that runs. */
const APPLIED_WITHIN = "interval '5 minutes'";
const END_VMM_NODES = {
  lock: LOCK_NODES,
  statement: 'UPDATE vmm_node SET ended_at = $2, active = false, reachable = false WHERE id = ANY($1::text[]::bigint[])',
  values: (site: Parameters<typeof nowOf>[0]) => [nowOf(site)],
};

export const slotRules = [
  rule<{ id: string; state: string }>({
    name: 'slot-ended',
    broken: "SELECT id, state FROM slot WHERE final <> (state = 'Ended') OR (state = 'Ended') <> (ended_at IS NOT NULL)",
    says: (s) => `slot ${s.id} is ${s.state}, but ${s.state === 'Ended' ? 'counts as live, or nothing says since when' : 'counts as ended'}`,
    mend: 'lets it count as its state says',
    repair: {
      lock: LOCK_SLOTS, values: (site) => [nowOf(site)],
      statement: "UPDATE slot SET final = (state = 'Ended'), ended_at = CASE WHEN state = 'Ended' THEN coalesce(ended_at, $2) END WHERE id = ANY($1::text[])",
    },
  }),
  rule<{ id: string; slot: string; host: string | null; state: string }>({
    name: 'slot-node-open',
    broken: `SELECT n.id::text, n.slot_id AS slot, n.host, n.state FROM slot_node n JOIN slot s ON s.id = n.slot_id WHERE s.state = 'Ended' AND NOT n.state IN (${OVER})`,
    says: (n) => `node ${n.host ?? 'not known'} of slot ${n.slot} is ${n.state}, but the slot has ended`,
    mend: 'takes the node for lost',
    repair: {
      lock: statement<unknown>('fsck-lock-slots-of-nodes', 'SELECT id FROM slot WHERE id IN (SELECT slot_id FROM slot_node WHERE id = ANY($1::text[]::bigint[])) ORDER BY id FOR NO KEY UPDATE'),
      statement: "UPDATE slot_node SET state = 'Lost' WHERE id = ANY($1::text[]::bigint[])",
    },
  }),
  rule<{ id: string; name: string; slot: string; state: string }>({
    name: 'borrowed-node-kept',
    broken: `SELECT v.id::text, v.name, n.slot_id AS slot, n.state FROM slot_node n JOIN vmm_node v ON v.id = n.node_id WHERE n.state IN (${OVER}) AND v.ended_at IS NULL`,
    says: (n) => `node ${n.name} was given back by slot ${n.slot} (${n.state}), but counts as a node of the site`,
    mend: 'ends the node',
    repair: END_VMM_NODES,
  }),
  rule<{ id: string; name: string; slot: string; state: string }>({
    name: 'borrowed-node-ended',
    broken: `SELECT v.id::text, v.name, n.slot_id AS slot, n.state FROM slot_node n JOIN vmm_node v ON v.id = n.node_id WHERE NOT n.state IN (${OVER}) AND v.ended_at IS NOT NULL`,
    says: (n) => `node ${n.name} counts as given back, but is ${n.state} in slot ${n.slot}`,
    mend: 'give the slot back with: nimbus slot kill',
  }),
  rule<{ id: string; name: string; slot: string; held: number }>({
    name: 'borrowed-node-stray',
    broken: `SELECT v.id::text, v.name, v.slot_id AS slot, (SELECT count(*)::int FROM lease l WHERE l.node_id = v.id AND l.holding) AS held
               FROM vmm_node v WHERE v.slot_id IS NOT NULL AND v.ended_at IS NULL AND NOT EXISTS (SELECT 1 FROM slot_node n WHERE n.node_id = v.id AND n.slot_id = v.slot_id)`,
    says: (n) => `node ${n.name} is borrowed by slot ${n.slot}, which does not know it`,
    mend: (n) => (n.held === 0 ? 'ends the node' : 'end the leases on it'),
    repair: { ...END_VMM_NODES, can: (n) => n.held === 0 },
  }),
  rule<{ id: string; state: string; node: string | null; right: string }>({
    name: 'lease-misplaced',
    broken: `SELECT l.id, l.state, v.name AS node, w.name AS right FROM lease l JOIN slot_node n ON n.id = l.slot_node_id JOIN vmm_node w ON w.id = n.node_id
               LEFT JOIN vmm_node v ON v.id = l.node_id WHERE l.holding AND l.state <> 'Pending' AND l.node_id IS DISTINCT FROM n.node_id`,
    says: (l) => `lease ${l.id} (${l.state}) is on ${l.node === null ? 'no node' : `node ${l.node}`}, but its slot gave it ${l.right}`,
    mend: 'puts it on the node of its slot',
    repair: { lock: LOCK_LEASES, statement: 'UPDATE lease l SET node_id = n.node_id FROM slot_node n WHERE n.id = l.slot_node_id AND l.id = ANY($1::text[])' },
  }),
];

/** Only of a service that runs. */
export const slotMessageRule = rule<{ id: string; messages: number }>({
  name: 'slot-messages', timed: true,
  broken: `SELECT slot_id AS id, count(*)::int AS messages FROM slot_message WHERE NOT applied AND received_at < $1::timestamptz - ${APPLIED_WITHIN} GROUP BY slot_id`,
  says: (s) => `${s.messages} messages of the pilots of slot ${s.id} were stored, but have had no effect`,
  mend: 'look at the service’s log',
});
