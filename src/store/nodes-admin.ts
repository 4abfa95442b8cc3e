/** Statements on VMM nodes that administrators and descriptions use. */
import type { NetworkKind } from '../lease/types.ts';
import { statement } from './db.ts';
import type { NodeRow } from './nodes.ts';

export interface NodeAdminRow extends NodeRow {
  reachable: boolean;
  last_seen: number | null;
  last_error: string | null;
  agent_version: string | null;
  driver: string | null;
  leases: number;
}
/** $1 name (null = all) */
export const nodesWithLeases = statement<NodeAdminRow>('nodes-with-leases', `
  SELECT n.id, n.name, n.zone, n.memory_mb, n.cores, n.memory_used, n.cores_used, n.networks, n.active, n.access, n.slot_id, n.reachable,
         n.last_seen, n.last_error, n.agent_version, n.driver,
         (SELECT count(*) FROM lease l WHERE l.node_id = n.id AND l.holding) AS leases
    FROM vmm_node n WHERE n.ended_at IS NULL AND ($1::text IS NULL OR n.name = $1) ORDER BY n.name`);

/** $1 name, $2 zone, $3 memory, $4 cores, $5 networks, $6 access, $7 now; no row when the name is taken */
export const insertNode = statement<{ id: number }>('insert-node', `
  INSERT INTO vmm_node (name, zone, memory_mb, cores, networks, access, created_at)
  VALUES ($1, $2, $3, $4, $5::text[], $6, $7) ON CONFLICT (name) DO NOTHING RETURNING id`);

/** $1 name */
export const nodeAccess = statement<Pick<NodeRow, 'access'>>('node-access', 'SELECT access FROM vmm_node WHERE name = $1');

/** $1 name, $2 active */
export const setNodeActive = statement<{ id: number }>('set-node-active', 'UPDATE vmm_node SET active = $2 WHERE name = $1 AND slot_id IS NULL RETURNING id');

/** $1 name. Creates that take room on it wait, or are waited for. */
export const lockNode = statement<{ id: number }>('lock-node', 'SELECT id FROM vmm_node WHERE name = $1 AND slot_id IS NULL FOR UPDATE');

/** $1 node: what keeps it from being removed, a few of them */
export const leasesKeepingNode = statement<{ id: string }>('leases-keeping-node', `
  SELECT id FROM lease WHERE node_id = $1 AND holding
   UNION SELECT lease_id FROM intent WHERE node_id = $1 AND state = 'open' ORDER BY id LIMIT 10`);

/** $1 node: ended leases forget it; their usage intervals keep its name. Then the node itself goes. */
export const forgetNode = statement<never>('forget-node', `
  WITH l AS (UPDATE lease SET node_id = NULL WHERE node_id = $1) DELETE FROM intent WHERE node_id = $1`);
export const deleteNode = statement<never>('delete-node', 'DELETE FROM vmm_node WHERE id = $1');

/** Zones that have nodes, with whether one of them can take leases. */
export const zonesOfNodes = statement<{ zone: string; available: boolean }>('zones-of-nodes', `
  SELECT zone, bool_or(active AND reachable) AS available FROM vmm_node WHERE ended_at IS NULL GROUP BY zone ORDER BY zone`);

/** $1 names: those that are networks */
export const networkNamesAmong = statement<{ name: string }>('network-names-among', 'SELECT name FROM network WHERE name = ANY($1::text[])');

export interface ZoneNetworkRow {
  network: string;
  kind: NetworkKind;
  zone: string;
  available: boolean;
  cidr: string | null;
  free: number;
}
/** $1 the one zone of borrowed nodes, where every network is; null = the zones of the nodes that are on each network */
export const networksOfZones = statement<ZoneNetworkRow>('networks-of-zones', `
  SELECT n.name AS network, n.kind, z.zone, z.available,
         network(set_masklen(coalesce(n.gateway, (SELECT min(a.ip) FROM network_address a WHERE a.network_id = n.id)), n.prefix))::text AS cidr,
         (SELECT count(*) FROM network_address a WHERE a.network_id = n.id AND a.lease_id IS NULL) AS free
    FROM network n
    JOIN LATERAL (
      SELECT v.zone, bool_or(v.active AND v.reachable) AS available FROM vmm_node v
       WHERE $1::text IS NULL AND v.ended_at IS NULL AND v.networks && ARRAY['*', n.name] GROUP BY v.zone
       UNION ALL SELECT $1::text, true WHERE $1::text IS NOT NULL) z ON true
   ORDER BY n.name, z.zone`);
