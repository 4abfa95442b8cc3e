/** Intents: open ones are of live leases, of their newest generation, for their node. */
import { statement } from '../../store/db.ts';
import { LOCK_LEASES, nowOf, rule } from '../rule.ts';

const LOCK_THEIR_LEASES = statement<unknown>('fsck-lock-leases-of-intents', `
  SELECT id FROM lease WHERE id IN (SELECT lease_id FROM intent WHERE id = ANY($1::text[])) ORDER BY id FOR NO KEY UPDATE`);
const SUPERSEDE = {
  lock: LOCK_THEIR_LEASES,
  statement: "UPDATE intent SET state = 'superseded', finished_at = $2 WHERE id = ANY($1::text[]) AND state = 'open'",
  values: (site: Parameters<typeof nowOf>[0]) => [nowOf(site)],
};
interface Intent { id: string; lease: string; kind: string; state: string; generation: number; newest: number }
const OPEN = `SELECT i.id, i.lease_id AS lease, i.kind, l.state, i.generation, l.generation AS newest FROM intent i JOIN lease l ON l.id = i.lease_id WHERE i.state = 'open'`;

export const intentRules = [
  rule<Intent>({
    name: 'intent-final',
    broken: `${OPEN} AND l.final`,
    says: (i) => `the ${i.kind} ${i.id} of lease ${i.lease} is still to be done, but the lease is ${i.state}`,
    mend: 'gives the work up',
    repair: SUPERSEDE,
  }),
  rule<Intent>({
    name: 'intent-old',
    broken: `${OPEN} AND NOT l.final AND i.generation < l.generation`,
    says: (i) => `the ${i.kind} ${i.id} of lease ${i.lease} is still to be done, but the lease has gone on: generation ${i.generation}, now ${i.newest}`,
    mend: 'gives the work up',
    repair: SUPERSEDE,
  }),
  rule<Intent & { node: string; placed: string | null }>({
    name: 'intent-node',
    broken: `SELECT i.id, i.lease_id AS lease, i.kind, l.state, i.generation, l.generation AS newest, n.name AS node, m.name AS placed
               FROM intent i JOIN lease l ON l.id = i.lease_id JOIN vmm_node n ON n.id = i.node_id LEFT JOIN vmm_node m ON m.id = l.node_id
              WHERE i.state = 'open' AND NOT l.final AND i.node_id IS DISTINCT FROM l.node_id`,
    says: (i) => `the ${i.kind} ${i.id} of lease ${i.lease} is for node ${i.node}, but the lease is on ${i.placed ?? 'no node'}`,
    mend: 'gives the work up',
    repair: SUPERSEDE,
  }),
  rule<{ id: string; generation: number; newest: number }>({
    name: 'intent-ahead',
    broken: `SELECT l.id, l.generation, max(i.generation) AS newest FROM lease l JOIN intent i ON i.lease_id = l.id
              WHERE NOT l.final GROUP BY l.id HAVING max(i.generation) > l.generation`,
    says: (l) => `lease ${l.id} has generation ${l.generation}, but work of generation ${l.newest} was written for it`,
    mend: 'takes the higher generation',
    repair: {
      lock: LOCK_LEASES,
      statement: 'UPDATE lease l SET generation = (SELECT max(i.generation) FROM intent i WHERE i.lease_id = l.id) WHERE id = ANY($1::text[])',
    },
  }),
  rule<{ id: string; intents: number }>({
    name: 'intent-doubled',
    broken: `SELECT l.id, count(*)::int AS intents FROM lease l JOIN intent i ON i.lease_id = l.id
              WHERE i.state = 'open' AND i.generation = l.generation AND NOT l.final GROUP BY l.id HAVING count(*) > 1`,
    says: (l) => `lease ${l.id} has ${l.intents} works to be done at once`,
    mend: 'keeps the one that was written last',
    repair: {
      lock: LOCK_LEASES,
      statement: `UPDATE intent i SET state = 'superseded', finished_at = $2 WHERE i.state = 'open' AND i.lease_id = ANY($1::text[])
         AND i.id <> (SELECT o.id FROM intent o WHERE o.lease_id = i.lease_id AND o.state = 'open' ORDER BY o.generation DESC, o.created_at DESC, o.id DESC LIMIT 1)`,
      values: (site) => [nowOf(site)],
    },
  }),
  rule<{ id: string; lease: string; state: string }>({
    name: 'intent-finished',
    broken: "SELECT id, lease_id AS lease, state FROM intent WHERE (state = 'open') <> (finished_at IS NULL)",
    says: (i) => `the work ${i.id} of lease ${i.lease} is ${i.state}, but ${i.state === 'open' ? 'has the time of an end' : 'nothing says since when'}`,
    mend: 'sets the time as its state says',
    repair: {
      lock: LOCK_THEIR_LEASES,
      statement: "UPDATE intent SET finished_at = CASE WHEN state <> 'open' THEN greatest(created_at, next_at) END WHERE id = ANY($1::text[])",
    },
  }),
];
