/** What only EC2 clients have: spot requests with their leases, security groups with their rules. */
import { DEFAULT_GROUP_NAME } from '../../network/mirror.ts';
import { statement } from '../../store/db.ts';
import { DEFAULT_GROUP_ID } from '../../store/security-groups.ts';
import { WAITS_FOR_LEASE } from '../../store/spot.ts';
import { LOCK_LEASES, rule } from '../rule.ts';

const LOCK_REQUESTS = statement<unknown>('fsck-lock-spot', 'SELECT id FROM spot_request WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE');
const LOCK_RULES = statement<unknown>('fsck-lock-security-rules', 'SELECT id FROM security_rule WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE');
/** A lease that is displaced is on its way out. */
const ON_ITS_WAY = "'Ending', 'ReadyingForTransport', 'ReadyForTransport', 'Corrupted'";
/** Requests take turns: many that wait are not tried every second. */
const TRIED_WITHIN = "interval '1 hour'";
const GROUPS = 'jsonb_array_elements(coalesce(l.security_groups, g.security_groups))';
const KNOWN = `EXISTS (SELECT 1 FROM security_group s WHERE s.id = e->>'id' AND s.account_id = l.account_id)`;

export const spotRules = [
  rule<{ id: string; launches: number; leases: number }>({
    name: 'spot-launches',
    broken: `SELECT s.id, s.launches, count(*)::int AS leases FROM spot_request s JOIN lease l ON l.spot_request_id = s.id GROUP BY s.id HAVING count(*) > s.launches`,
    says: (s) => `spot request ${s.id} counts ${s.launches} leases, and has ${s.leases}`,
    mend: 'counts those that it has',
    repair: { lock: LOCK_REQUESTS, statement: 'UPDATE spot_request s SET launches = (SELECT count(*) FROM lease l WHERE l.spot_request_id = s.id) WHERE id = ANY($1::text[])' },
  }),
  rule<{ id: string; leases: string }>({
    name: 'spot-doubled',
    broken: `SELECT spot_request_id AS id, string_agg(id, ', ' ORDER BY seq) AS leases FROM lease WHERE spot_request_id IS NOT NULL AND NOT final GROUP BY spot_request_id HAVING count(*) > 1`,
    says: (s) => `spot request ${s.id} has several leases at once: ${s.leases}`,
    mend: 'it is for one: end the others',
  }),
  rule<{ id: string; request: string }>({
    name: 'spot-lost',
    broken: `SELECT l.id, l.spot_request_id AS request FROM lease l WHERE l.spot_request_id IS NOT NULL AND NOT l.final AND NOT EXISTS (SELECT 1 FROM spot_request s WHERE s.id = l.spot_request_id)`,
    says: (l) => `lease ${l.id} is preemptible, but its spot request ${l.request} does not exist`,
    mend: 'nothing tells what was asked for: end the lease',
  }),
  rule<{ id: string; lease: string }>({
    name: 'spot-account',
    broken: `SELECT s.id, min(l.id) AS lease FROM spot_request s JOIN lease l ON l.spot_request_id = s.id WHERE l.account_id <> s.account_id GROUP BY s.id`,
    says: (s) => `spot request ${s.id} has lease ${s.lease} of another user`,
    mend: 'nothing tells whose it is: end that lease',
  }),
  rule<{ id: string }>({
    name: 'spot-price',
    broken: `SELECT l.id FROM lease l JOIN spot_request s ON s.id = l.spot_request_id WHERE l.spot_price IS DISTINCT FROM s.price`,
    says: (l) => `lease ${l.id} does not have the price of its spot request: it is displaced out of turn`,
    mend: 'gives it that price',
    repair: { lock: LOCK_LEASES, statement: 'UPDATE lease l SET spot_price = s.price FROM spot_request s WHERE s.id = l.spot_request_id AND l.id = ANY($1::text[])' },
  }),
  rule<{ id: string; state: string }>({
    name: 'spot-displaced',
    broken: `SELECT id, state FROM lease WHERE preempted_at IS NOT NULL AND NOT final AND NOT state IN (${ON_ITS_WAY})`,
    says: (l) => `lease ${l.id} is ${l.state}, but counts as displaced: preemptible leases wait for its room`,
    mend: 'lets it count as one that goes on',
    repair: { lock: LOCK_LEASES, statement: 'UPDATE lease SET preempted_at = NULL, preempt_ends_at = NULL WHERE id = ANY($1::text[])' },
  }),
  rule<{ id: string; lease: string }>({
    name: 'spot-slot',
    broken: `SELECT s.id, min(l.id) AS lease FROM slot s JOIN slot_node n ON n.slot_id = s.id JOIN lease l ON l.slot_node_id = n.id
              WHERE s.spot AND NOT s.final AND NOT l.final AND l.spot_request_id IS NULL GROUP BY s.id`,
    says: (s) => `the job of slot ${s.id} may be displaced, but its lease ${s.lease} is not preemptible`,
    mend: 'the batch system cannot be told otherwise: tell its user to run another',
  }),
];

/** Only of a service that runs. */
export const untriedRule = rule<{ id: string; since: string }>({
  name: 'spot-untried', timed: true,
  broken: `SELECT s.id, s.next_at::text AS since FROM spot_request s LEFT JOIN LATERAL (SELECT * FROM lease o WHERE o.spot_request_id = s.id ORDER BY o.seq DESC LIMIT 1) l ON true
            JOIN account a ON a.id = s.account_id WHERE ${WAITS_FOR_LEASE('$1::timestamptz')} AND s.next_at < $1::timestamptz - ${TRIED_WITHIN}`,
  says: (s) => `spot request ${s.id} should have been tried at ${s.since}, and was not`,
  mend: 'nobody tries it: in pilot mode see that pilot_spot is set; else look at the service’s log',
});

export const securityRules = [
  rule<{ id: string; group: string }>({
    name: 'security-group-lost',
    broken: `SELECT l.id, min(e->>'id') AS group FROM lease l JOIN lease_group g ON g.id = l.group_id JOIN account a ON a.id = l.account_id, ${GROUPS} AS e
              WHERE NOT l.final AND e->>'id' <> ${DEFAULT_GROUP_ID} AND NOT ${KNOWN} GROUP BY l.id`,
    says: (l) => `lease ${l.id} is in the security group ${l.group}, which its user does not have`,
    mend: 'takes it out of there; one that is in no other is in the default one',
    repair: {
      lock: LOCK_LEASES,
      statement: `UPDATE lease l SET security_groups = coalesce((SELECT jsonb_agg(e) FROM ${GROUPS} AS e WHERE e->>'id' = ${DEFAULT_GROUP_ID} OR ${KNOWN}),
                         jsonb_build_array(jsonb_build_object('id', ${DEFAULT_GROUP_ID}, 'name', '${DEFAULT_GROUP_NAME}')))
                    FROM lease_group g, account a WHERE g.id = l.group_id AND a.id = l.account_id AND l.id = ANY($1::text[])`,
    },
  }),
  rule<{ id: string; group: string; peer: string }>({
    name: 'security-peer-lost',
    broken: `SELECT r.id, r.group_id AS group, r.peer FROM security_rule r JOIN security_group o ON o.id = r.group_id JOIN account a ON a.id = o.account_id
              WHERE r.peer LIKE 'sg-%' AND r.peer <> ${DEFAULT_GROUP_ID} AND NOT EXISTS (SELECT 1 FROM security_group s WHERE s.id = r.peer AND s.account_id = o.account_id)`,
    says: (r) => `rule ${r.id} of security group ${r.group} lets in ${r.peer}, a group which its user does not have`,
    mend: 'removes the rule',
    repair: { lock: LOCK_RULES, statement: 'WITH t AS (DELETE FROM tag WHERE resource_id = ANY($1::text[])) DELETE FROM security_rule WHERE id = ANY($1::text[])' },
  }),
  rule<{ id: string; name: string; owner: string }>({
    name: 'security-default',
    broken: `SELECT g.id, g.name, a.name AS owner FROM security_group g JOIN account a ON a.id = g.account_id WHERE (g.name = '${DEFAULT_GROUP_NAME}') <> (g.id = ${DEFAULT_GROUP_ID})`,
    says: (g) => `security group ${g.id} (${g.name}) of ${g.owner} is taken for the default one, and is not, or the other way round`,
    mend: 'restore a backup, or let its user delete the group',
  }),
];
