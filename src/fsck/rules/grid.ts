/** What grid clients have beyond leases: ensembles that are gathered, subscriptions whose consumers are told. */
import { statement } from '../../store/db.ts';
import { HAS_NEWS } from '../../store/subscriptions.ts';
import { nowOf, rule } from '../rule.ts';

const LOCK_ENSEMBLES = statement<unknown>('fsck-lock-ensembles', 'SELECT id FROM ensemble WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE');
const REMOVE_SUBSCRIPTIONS = {
  lock: statement<unknown>('fsck-lock-subscriptions', 'SELECT id FROM subscription WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE'),
  statement: 'DELETE FROM subscription WHERE id = ANY($1::text[])',
};
/** Longer than a delivery may take by any configuration that makes sense. */
const CLAIMED_WITHIN = "interval '1 day'";
/** Of a service that runs, for a consumer that takes what it is told. */
const TOLD_WITHIN = "interval '5 minutes'";

export const gridRules = [
  rule<{ id: string }>({
    name: 'ensemble-empty',
    broken: 'SELECT e.id FROM ensemble e WHERE NOT EXISTS (SELECT 1 FROM grid_group g WHERE g.ensemble_id = e.id)',
    says: (e) => `ensemble ${e.id} has no groups`,
    mend: 'removes the ensemble',
    repair: {
      lock: LOCK_ENSEMBLES,
      statement: 'DELETE FROM ensemble WHERE id = ANY($1::text[])',
    },
  }),
  rule<{ id: string; lease: string }>({
    name: 'ensemble-open',
    broken: `SELECT e.id, min(l.id) AS lease FROM ensemble e JOIN grid_group g ON g.ensemble_id = e.id JOIN lease l ON l.group_id = g.group_id
              WHERE e.done_at IS NULL AND (l.node_id IS NOT NULL OR l.slot_node_id IS NOT NULL) GROUP BY e.id`,
    says: (e) => `ensemble ${e.id} counts as gathered, but its lease ${e.lease} was placed`,
    mend: 'lets it count as done since that lease was placed',
    repair: {
      lock: LOCK_ENSEMBLES, values: (site) => [nowOf(site)],
      statement: `UPDATE ensemble e SET done_at = coalesce((SELECT min(v.at) FROM event v JOIN lease l ON l.id = v.lease_id JOIN grid_group g ON g.group_id = l.group_id
                         WHERE g.ensemble_id = e.id AND v.trigger = 'placed'), $2) WHERE id = ANY($1::text[])`,
    },
  }),
  rule<{ id: string; group: string }>({
    name: 'ensemble-account',
    broken: `SELECT e.id, min(g.group_id) AS group FROM ensemble e JOIN grid_group g ON g.ensemble_id = e.id JOIN lease_group r ON r.id = g.group_id
              WHERE r.account_id <> e.account_id GROUP BY e.id`,
    says: (e) => `ensemble ${e.id} has group ${e.group} of another user`,
    mend: 'nothing tells whose it is: end that group’s leases',
  }),
  rule<{ id: string; lease: string }>({
    name: 'subscription-lease',
    broken: 'SELECT s.id, s.lease_id AS lease FROM subscription s WHERE NOT EXISTS (SELECT 1 FROM lease l WHERE l.id = s.lease_id)',
    says: (s) => `subscription ${s.id} is to lease ${s.lease}, which does not exist`,
    mend: 'removes the subscription',
    repair: REMOVE_SUBSCRIPTIONS,
  }),
  rule<{ id: string; lease: string }>({
    name: 'subscription-account',
    broken: `SELECT s.id, s.lease_id AS lease FROM subscription s JOIN lease l ON l.id = s.lease_id JOIN account a ON a.id = s.account_id
              WHERE l.account_id <> s.account_id AND NOT a.admin`,
    says: (s) => `subscription ${s.id} tells of lease ${s.lease} somebody whose lease it is not`,
    mend: 'removes the subscription',
    repair: REMOVE_SUBSCRIPTIONS,
  }),
  rule<{ id: string; until: string }>({
    name: 'subscription-claim', timed: true,
    broken: `SELECT id, claimed_until::text AS until FROM subscription WHERE claimed_until > $1::timestamptz + ${CLAIMED_WITHIN}`,
    says: (s) => `subscription ${s.id} is claimed until ${s.until}: nobody else would tell its consumer before`,
    mend: 'gives it free',
    repair: { ...REMOVE_SUBSCRIPTIONS, statement: 'UPDATE subscription SET claimed_by = NULL, claimed_until = NULL WHERE id = ANY($1::text[])' },
  }),
];

/** Only of a service that runs. */
export const untoldRule = rule<{ id: string; lease: string }>({
  name: 'subscription-untold', timed: true,
  broken: `SELECT s.id, s.lease_id AS lease FROM subscription s
            WHERE NOT s.paused AND s.next_at < $1::timestamptz - ${TOLD_WITHIN} AND coalesce(s.claimed_until, s.next_at) < $1::timestamptz - ${TOLD_WITHIN}
              AND (s.ends_at IS NULL OR s.ends_at > $1) AND ${HAS_NEWS}`,
  says: (s) => `something has happened to lease ${s.lease}, and the consumer of subscription ${s.id} was not told`,
  mend: 'nobody tells it: see that wsrf.listen is set, and look at the service’s log',
});
