/** What must hold of a site that has settled, whatever happened on the way. */
import { expect } from 'vitest';
import { chargedMinutes } from '../../src/accounting/charge.ts';
import { statement } from '../../src/store/db.ts';
import type { TestSite } from './site.ts';

const nodes = statement<{ id: number; over: boolean; memory_used: number; cores_used: number; memory: number; cores: number }>('inv-nodes', `
  SELECT n.id, n.ended_at IS NOT NULL AS over, n.memory_used, n.cores_used, coalesce(sum(l.memory_mb), 0)::int AS memory, coalesce(sum(l.cores), 0)::int AS cores
    FROM vmm_node n LEFT JOIN lease l ON l.node_id = n.id AND l.holding GROUP BY n.id ORDER BY n.id`);
const wrong = (name: string, text: string) => statement<{ id: string }>(`inv-${name}`, text);
const ADDRESSES = wrong('addresses', 'SELECT l.id FROM lease l JOIN network_address a ON a.lease_id = l.id WHERE NOT l.holding');
const FINAL_HOLDING = wrong('holding', 'SELECT id FROM lease WHERE final AND holding');
const OPEN_INTENTS = wrong('intents', "SELECT l.id FROM lease l JOIN intent i ON i.lease_id = l.id WHERE l.final AND i.state = 'open'");
const OLD_OPEN_INTENTS = wrong('old-intents', "SELECT l.id FROM lease l JOIN intent i ON i.lease_id = l.id WHERE i.state = 'open' AND i.generation < l.generation");
const OPEN_INTERVALS = wrong('intervals', 'SELECT l.id FROM lease l JOIN usage_interval u ON u.lease_id = l.id WHERE NOT l.holding AND u.stop_at IS NULL');
const OPEN_RECORDS = wrong('records', 'SELECT l.id FROM lease l JOIN usage_record u ON u.lease_id = l.id WHERE l.final AND (u.closed_at IS NULL OR u.charged_minutes IS NULL)');
const usage = statement<{ lease_id: string; charged_minutes: number; intervals: Array<{ start: number; stop: number }> }>('inv-usage', `
  SELECT r.lease_id, r.charged_minutes, coalesce((SELECT json_agg(json_build_object('start', extract(epoch FROM start_at) * 1000, 'stop', extract(epoch FROM stop_at) * 1000))
    FROM usage_interval i WHERE i.lease_id = r.lease_id), '[]') AS intervals FROM usage_record r WHERE r.closed_at IS NOT NULL`);
const live = statement<{ id: string; node_id: number; state: string }>('inv-live', 'SELECT id, node_id, state FROM lease WHERE NOT final');

export async function expectInvariants(site: TestSite, what = ''): Promise<void> {
  for (const n of await site.db.query(nodes)) {
    expect({ memory: n.memory_used, cores: n.cores_used }, `room used on node ${n.id} ${what}`).toEqual({ memory: n.memory, cores: n.cores });
  }
  for (const s of [ADDRESSES, FINAL_HOLDING, OPEN_INTENTS, OLD_OPEN_INTENTS, OPEN_INTERVALS, OPEN_RECORDS]) {
    expect(await site.db.query(s), `${s.name} ${what}`).toEqual([]);
  }
  // chargedMinutes throws when intervals overlap.
  for (const r of await site.db.query(usage)) expect(r.charged_minutes, `charge of ${r.lease_id} ${what}`).toBe(chargedMinutes(r.intervals, 0, 60));
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
