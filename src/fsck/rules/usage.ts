/** Usage: one record for each lease, equal to its intervals, which do not overlap. */
import { LOCK_LEASES, nowOf, rule } from '../rule.ts';
import { list, millis } from '../sql.ts';

/** From its start to its end a VM is counted, whatever is done with it meanwhile. */
const COUNTED = list(['Running', 'Rebooting', 'Pausing', 'Paused', 'Resuming']);
const MINUTES = `(SELECT coalesce(ceil(sum(${millis('i.start_at', 'i.stop_at')}) / 60000), 0)::int FROM usage_interval i WHERE i.lease_id = u.lease_id)`;
const OPEN = 'EXISTS (SELECT 1 FROM usage_interval i WHERE i.lease_id = u.lease_id AND i.stop_at IS NULL)';
/** Minutes, rounded up to a multiple of a granularity in seconds. */
const rounded = (granularity: string): string => {
  const step = `greatest(1, ceil(${granularity} / 60.0))`;
  return `(ceil(${MINUTES} / ${step}) * ${step})::int`;
};
const OVERLAPS = `
  SELECT lease_id, start_at FROM (
    SELECT lease_id, start_at, max(coalesce(stop_at, 'infinity')) OVER (PARTITION BY lease_id ORDER BY start_at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
      FROM usage_interval WHERE $page(lease_id)) w WHERE start_at < before`;

export const usageRules = [
  rule<{ id: string; state: string; ran: boolean }>({
    name: 'usage-missing', pages: 'lease',
    broken: 'SELECT l.id, l.state, l.running_at IS NOT NULL AND NOT l.holding AS ran FROM lease l LEFT JOIN usage_record u ON u.lease_id = l.id WHERE u.lease_id IS NULL AND $page(l.id)',
    says: (l) => `lease ${l.id} (${l.state}) has no usage record`,
    mend: (l) => (l.ran ? 'its use is lost: restore a backup' : 'writes the record'),
    repair: {
      lock: LOCK_LEASES, can: (l) => !l.ran,
      statement: `INSERT INTO usage_record (lease_id, account_id, created_at, reserved_s, closed_at, charged_minutes)
        SELECT id, account_id, created_at, duration_s, CASE WHEN NOT holding THEN coalesce(ended_at, $2) END, CASE WHEN NOT holding THEN 0 END
          FROM lease WHERE id = ANY($1::text[]) ON CONFLICT DO NOTHING`,
      values: (site) => [nowOf(site)],
    },
  }),
  rule<{ id: string; state: string }>({
    name: 'usage-kept-open',
    broken: 'SELECT l.id, l.state FROM lease l JOIN usage_interval u ON u.lease_id = l.id WHERE NOT l.holding AND u.stop_at IS NULL',
    says: (l) => `lease ${l.id} is ${l.state} and holds nothing, but is still charged`,
    mend: 'stops the interval when the lease ended',
    repair: {
      lock: LOCK_LEASES,
      statement: `UPDATE usage_interval i SET stop_at = greatest(i.start_at, coalesce(u.closed_at, l.ended_at, $2))
        FROM lease l JOIN usage_record u ON u.lease_id = l.id WHERE l.id = i.lease_id AND i.stop_at IS NULL AND l.id = ANY($1::text[])`,
      values: (site) => [nowOf(site)],
    },
  }),
  rule<{ id: string; state: string }>({
    name: 'usage-not-counted',
    broken: `SELECT l.id, l.state FROM lease l JOIN usage_record r ON r.lease_id = l.id LEFT JOIN usage_interval u ON u.lease_id = l.id AND u.stop_at IS NULL
              WHERE l.holding AND l.node_id IS NOT NULL AND l.state IN (${COUNTED}) AND u.id IS NULL`,
    says: (l) => `lease ${l.id} is ${l.state}, but is not charged`,
    mend: 'counts from the moment it ran last',
    repair: {
      lock: LOCK_LEASES,
      statement: `INSERT INTO usage_interval (lease_id, node, start_at, memory_mb, cores)
        SELECT l.id, n.name, greatest(coalesce((SELECT max(at) FROM event e WHERE e.lease_id = l.id AND e.to_state = 'Running' AND e.trigger = 'started'), l.running_at, l.created_at),
               (SELECT max(stop_at) FROM usage_interval i WHERE i.lease_id = l.id)), l.memory_mb, l.cores
          FROM lease l JOIN vmm_node n ON n.id = l.node_id WHERE l.id = ANY($1::text[]) ON CONFLICT DO NOTHING`,
    },
  }),
  rule<{ id: string; state: string }>({
    name: 'usage-closed-early',
    broken: 'SELECT l.id, l.state FROM lease l JOIN usage_record u ON u.lease_id = l.id WHERE l.holding AND u.closed_at IS NOT NULL',
    says: (l) => `lease ${l.id} is ${l.state}, but its usage record is closed`,
    mend: 'opens the record',
    repair: { lock: LOCK_LEASES, statement: 'UPDATE usage_record SET closed_at = NULL, charged_minutes = NULL WHERE lease_id = ANY($1::text[])' },
  }),
  rule<{ id: string; state: string }>({
    name: 'usage-unclosed', pages: 'lease',
    broken: `SELECT l.id, l.state FROM lease l JOIN usage_record u ON u.lease_id = l.id
              WHERE NOT l.holding AND (u.closed_at IS NULL OR u.charged_minutes IS NULL) AND NOT ${OPEN} AND $page(l.id)`,
    says: (l) => `lease ${l.id} is ${l.state} and holds nothing, but its usage record is not closed`,
    mend: 'closes and charges the record',
    repair: {
      lock: LOCK_LEASES,
      statement: `UPDATE usage_record u SET charged_minutes = ${rounded('$3::int')},
               closed_at = coalesce(u.closed_at, (SELECT max(stop_at) FROM usage_interval i WHERE i.lease_id = u.lease_id), l.ended_at, $2)
          FROM lease l WHERE l.id = u.lease_id AND u.lease_id = ANY($1::text[])`,
      values: (site) => [nowOf(site), site.config.accounting.charge_granularity],
    },
  }),
  rule<{ id: string; charged: number; minutes: number }>({
    name: 'usage-charge', pages: 'record',
    // What is charged is rounded up to what the granularity was then: it may be more than the minutes, never less.
    broken: `SELECT u.lease_id AS id, u.charged_minutes AS charged, coalesce(i.minutes, 0) AS minutes
               FROM usage_record u LEFT JOIN (SELECT lease_id, ceil(sum(${millis('start_at', 'stop_at')}) / 60000)::int AS minutes, bool_or(stop_at IS NULL) AS open
                                                FROM usage_interval WHERE $page(lease_id) GROUP BY lease_id) i ON i.lease_id = u.lease_id
              WHERE $page(u.lease_id) AND u.closed_at IS NOT NULL AND i.open IS NOT TRUE AND (u.charged_minutes < coalesce(i.minutes, 0) OR (u.charged_minutes > 0 AND coalesce(i.minutes, 0) = 0))`,
    says: (u) => `lease ${u.id} is charged ${u.charged} minutes; its intervals are ${u.minutes}`,
    mend: 'charges its intervals',
    repair: {
      lock: LOCK_LEASES,
      statement: `UPDATE usage_record u SET charged_minutes = ${rounded('$2::int')} WHERE lease_id = ANY($1::text[])`,
      values: (site) => [site.config.accounting.charge_granularity],
    },
  }),
  rule<{ id: string; at: string }>({
    name: 'usage-overlap', pages: 'record',
    broken: `SELECT lease_id AS id, min(start_at)::text AS at FROM (${OVERLAPS}) o GROUP BY lease_id`,
    says: (u) => `lease ${u.id} is charged twice for the same time, from ${u.at}`,
    mend: 'look at nimbus usage --json and at the lease’s trail, and correct the intervals by hand',
  }),
  rule<{ id: string; reserved_s: number; duration_s: number }>({
    name: 'usage-reserved',
    broken: 'SELECT l.id, u.reserved_s, l.duration_s FROM lease l JOIN usage_record u ON u.lease_id = l.id WHERE l.holding AND u.reserved_s <> l.duration_s',
    says: (u) => `lease ${u.id} has ${u.reserved_s} s reserved, but lasts ${u.duration_s} s`,
    mend: 'reserves what it lasts',
    repair: { lock: LOCK_LEASES, statement: 'UPDATE usage_record u SET reserved_s = l.duration_s FROM lease l WHERE l.id = u.lease_id AND l.id = ANY($1::text[])' },
  }),
];
