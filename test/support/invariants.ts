/** What must hold of a site that has settled, whatever happened on the way. */
import { expect } from 'vitest';
import { chargedMinutes } from '../../src/accounting/charge.ts';
import { statement, type Db } from '../../src/store/db.ts';
import type { TestSite } from './site.ts';

const nodes = statement<{ id: number; over: boolean; memory_used: number; cores_used: number; memory: number; cores: number }>('inv-nodes', `
  SELECT n.id, n.ended_at IS NOT NULL AS over, n.memory_used, n.cores_used, coalesce(sum(l.memory_mb), 0)::int AS memory, coalesce(sum(l.cores), 0)::int AS cores
    FROM vmm_node n LEFT JOIN lease l ON l.node_id = n.id AND l.holding GROUP BY n.id ORDER BY n.id`);
const wrong = (name: string, text: string) => statement<{ id: string }>(`inv-${name}`, text);
/** NICs of leases that are entries of a pool. */
const POOLED = "SELECT l.id, l.holding, n->>'network' AS network, n->>'ip' AS ip FROM lease l, jsonb_array_elements(l.nics) n WHERE n->>'kind' = 'bridge'";
const KEPT_ADDRESSES = wrong('kept-addresses', `
  SELECT a.lease_id || ' ' || host(a.ip) AS id FROM network_address a JOIN network w ON w.id = a.network_id
   WHERE a.lease_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM (${POOLED}) nic WHERE nic.id = a.lease_id AND nic.holding AND nic.network = w.name AND nic.ip = host(a.ip))`);
const LOST_ADDRESSES = wrong('lost-addresses', `
  SELECT nic.id || ' ' || nic.ip AS id FROM (${POOLED}) nic
   WHERE nic.holding AND NOT EXISTS (SELECT 1 FROM network_address a JOIN network w ON w.id = a.network_id WHERE a.lease_id = nic.id AND w.name = nic.network AND host(a.ip) = nic.ip)`);
const FINAL_HOLDING = wrong('holding', 'SELECT id FROM lease WHERE final AND holding');
const OPEN_INTENTS = wrong('intents', "SELECT l.id FROM lease l JOIN intent i ON i.lease_id = l.id WHERE l.final AND i.state = 'open'");
const OLD_OPEN_INTENTS = wrong('old-intents', "SELECT l.id FROM lease l JOIN intent i ON i.lease_id = l.id WHERE i.state = 'open' AND i.generation < l.generation");
const OPEN_INTERVALS = wrong('intervals', 'SELECT l.id FROM lease l JOIN usage_interval u ON u.lease_id = l.id WHERE NOT l.holding AND u.stop_at IS NULL');
const OPEN_RECORDS = wrong('records', 'SELECT l.id FROM lease l JOIN usage_record u ON u.lease_id = l.id WHERE l.final AND (u.closed_at IS NULL OR u.charged_minutes IS NULL)');
const LEASES_OF_ENDED_SLOTS = wrong('slot-leases', 'SELECT l.id FROM lease l JOIN slot_node n ON n.id = l.slot_node_id JOIN slot s ON s.id = n.slot_id WHERE s.final AND NOT l.final');
const LEASES_OF_ENDED_NODES = wrong('slot-node-leases', "SELECT l.id FROM lease l JOIN slot_node n ON n.id = l.slot_node_id WHERE n.state IN ('Returned', 'Failed', 'Lost') AND l.holding");
const MISPLACED_LEASES = wrong('slot-places', `
  SELECT l.id FROM lease l JOIN slot_node n ON n.id = l.slot_node_id WHERE l.node_id IS NOT NULL AND l.node_id IS DISTINCT FROM n.node_id
  UNION SELECT l.id FROM lease l JOIN slot_node n ON n.id = l.slot_node_id WHERE l.state = 'Pending' AND n.state <> 'Waiting'`);
const HALF_ENDED_SLOTS = wrong('slot-ends', "SELECT id FROM slot WHERE final <> (state = 'Ended') OR final <> (ended_at IS NOT NULL)");
const OPEN_NODES_OF_ENDED_SLOTS = wrong('slot-nodes', "SELECT s.id FROM slot s JOIN slot_node n ON n.slot_id = s.id WHERE s.final AND n.state NOT IN ('Returned', 'Failed', 'Lost')");
const BORROWED_NODES_KEPT = wrong('borrowed-nodes', `
  SELECT n.slot_id || '.' || n.ordinal AS id FROM slot_node n JOIN vmm_node v ON v.id = n.node_id
   WHERE (n.state IN ('Returned', 'Failed', 'Lost')) <> (v.ended_at IS NOT NULL) OR v.slot_id <> n.slot_id`);
const STRAY_BORROWED_NODES = wrong('stray-nodes', 'SELECT v.name AS id FROM vmm_node v WHERE v.slot_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM slot_node n WHERE n.node_id = v.id)');
const NEEDLESS_SLOTS = wrong('needless-slots', `
  SELECT s.id FROM slot s WHERE NOT s.final AND s.state <> 'Releasing'
     AND NOT EXISTS (SELECT 1 FROM slot_node n JOIN lease l ON l.slot_node_id = n.id WHERE n.slot_id = s.id AND l.holding)`);
const UNAPPLIED_MESSAGES = wrong('slot-messages', 'SELECT DISTINCT slot_id AS id FROM slot_message WHERE NOT applied');
const ACCOUNT_USE = wrong('account-use', `
  SELECT a.name AS id FROM account a LEFT JOIN account_use u ON u.account_id = a.id LEFT JOIN lease l ON l.account_id = a.id AND l.holding GROUP BY a.id, u.account_id
  HAVING u.account_id IS NULL OR (u.leases, u.cores, u.memory_mb, u.reserved_minutes)
         IS DISTINCT FROM (count(l.id)::int, coalesce(sum(l.cores), 0)::int, coalesce(sum(l.memory_mb), 0)::bigint, coalesce(sum(l.reserved_minutes), 0)::bigint)`);
const USAGE_DAYS = wrong('usage-days', `
  SELECT u.account_id || ' in all' AS id FROM account_use u LEFT JOIN usage_record r ON r.account_id = u.account_id AND r.closed_at IS NOT NULL
   GROUP BY u.account_id HAVING u.charged_minutes <> coalesce(sum(r.charged_minutes), 0)
  UNION SELECT account_id || ' ' || day AS id FROM usage_day d
    FULL JOIN (SELECT account_id, day, sum(sum(charged_minutes)) OVER (PARTITION BY account_id ORDER BY day) AS total
                 FROM (SELECT account_id, (closed_at AT TIME ZONE 'UTC')::date AS day, charged_minutes FROM usage_record WHERE closed_at IS NOT NULL) c GROUP BY account_id, day) r
    USING (account_id, day) WHERE d.total IS DISTINCT FROM r.total
  UNION SELECT 'the site' WHERE (SELECT coalesce(sum(minutes), 0) FROM usage_site_day) <> (SELECT coalesce(sum(charged_minutes), 0) FROM usage_record WHERE closed_at IS NOT NULL)`);
const OF_SLOTS = [
  LEASES_OF_ENDED_SLOTS, LEASES_OF_ENDED_NODES, MISPLACED_LEASES, HALF_ENDED_SLOTS, OPEN_NODES_OF_ENDED_SLOTS, BORROWED_NODES_KEPT, STRAY_BORROWED_NODES,
];
const usage = statement<{ lease_id: string; charged_minutes: number; intervals: Array<{ start: number; stop: number }> }>('inv-usage', `
  SELECT r.lease_id, r.charged_minutes, coalesce((SELECT json_agg(json_build_object('start', extract(epoch FROM start_at) * 1000, 'stop', extract(epoch FROM stop_at) * 1000))
    FROM usage_interval i WHERE i.lease_id = r.lease_id), '[]') AS intervals FROM usage_record r WHERE r.closed_at IS NOT NULL`);
const live = statement<{ id: string; node_id: number; state: string }>('inv-live', 'SELECT id, node_id, state FROM lease WHERE NOT final');

/** What the tables say agrees with itself. */
export async function expectTablesAgree(db: Db, what = '', usagePruned = false): Promise<void> {
  for (const n of await db.query(nodes)) {
    expect({ memory: n.memory_used, cores: n.cores_used }, `room used on node ${n.id} ${what}`).toEqual({ memory: n.memory, cores: n.cores });
  }
  for (const s of [KEPT_ADDRESSES, LOST_ADDRESSES, FINAL_HOLDING, OPEN_INTENTS, OLD_OPEN_INTENTS, OPEN_INTERVALS, OPEN_RECORDS, ...(usagePruned ? [] : [ACCOUNT_USE, USAGE_DAYS]), ...OF_SLOTS]) {
    expect(await db.query(s), `${s.name} ${what}`).toEqual([]);
  }
  // chargedMinutes throws when intervals overlap.
  for (const r of await db.query(usage)) expect(r.charged_minutes, `charge of ${r.lease_id} ${what}`).toBe(chargedMinutes(r.intervals, 0, 60));
}

/** `usagePruned`: charges outlive the records that they came from, so that their sums have nothing to be held against. */
export async function expectInvariants(site: TestSite, what = '', usagePruned = false): Promise<void> {
  await expectTablesAgree(site.db, what, usagePruned);
  const leases = await site.db.query(live);
  // A borrowed node that was given back took its VMs with it.
  for (const nodeId of new Set((await site.db.query(nodes)).filter((n) => !n.over).map((n) => n.id))) {
    const there = [...site.control.node(nodeId).vms.values()].filter((v) => v.state === 'running' || v.state === 'paused').map((v) => v.lease);
    const known = new Set(leases.filter((l) => l.node_id === nodeId).map((l) => l.id));
    expect(there.filter((id) => !known.has(id)), `VMs on node ${nodeId} that no live lease knows ${what}`).toEqual([]);
    const running = leases.filter((l) => l.node_id === nodeId && l.state === 'Running').map((l) => l.id);
    expect(running.filter((id) => !there.includes(id)), `running leases without a VM on node ${nodeId} ${what}`).toEqual([]);
  }
}

/** What must hold besides when the service has had the time to look after its slots. */
export async function expectSlotsSettled(site: TestSite, what = ''): Promise<void> {
  await expectInvariants(site, what);
  for (const s of [NEEDLESS_SLOTS, UNAPPLIED_MESSAGES]) expect(await site.db.query(s), `${s.name} ${what}`).toEqual([]);
}
