/** Statements on VMM nodes that the scheduler's path uses. */
import type { NodeAccess } from '../lease/node.ts';
import { statement } from './db.ts';

export interface NodeRow {
  id: number;
  name: string;
  zone: string;
  memory_mb: number;
  cores: number;
  memory_used: number;
  cores_used: number;
  networks: string[];
  active: boolean;
  access: NodeAccess;
  /** The batch job that lends it; null = the service's own. */
  slot_id: string | null;
}
const COLUMNS = 'id, name, zone, memory_mb, cores, memory_used, cores_used, networks, active, access, slot_id';

export interface ReachedNodeRow extends NodeRow {
  /** Processes that have a channel to its agent. */
  channels: number[];
}
export const allNodes = statement<ReachedNodeRow>('all-nodes', `
  SELECT ${COLUMNS}, ARRAY(SELECT c.process_id FROM node_channel c WHERE c.node_id = n.id) AS channels FROM vmm_node n WHERE ended_at IS NULL ORDER BY id`);

/** $1 ids. Locked in one order by every process, so that two batches cannot wait for each other. */
export const lockNodes = statement<NodeRow>('lock-nodes', `
  SELECT ${COLUMNS} FROM vmm_node WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE`);

/**
 * $1 ids, $2 memory, $3 cores, in parallel arrays: what leases take (positive) or give back (negative). $4: they take it, from nodes only
 * that are in use and have it. Of which nodes it was.
 */
export const changeNodeUse = statement<{ id: number }>('change-node-use', `
  UPDATE vmm_node n SET memory_used = n.memory_used + x.memory, cores_used = n.cores_used + x.cores
    FROM unnest($1::bigint[], $2::int[], $3::int[]) AS x(id, memory, cores)
   WHERE n.id = x.id AND (NOT $4::boolean OR (n.active AND n.memory_used + x.memory <= n.memory_mb AND n.cores_used + x.cores <= n.cores)) RETURNING n.id`);

/** $1 id, $2 now, $3 agent version, $4 driver, $5 boot id, $6 the process that has the channel (null: there is but one), $7 it keeps the memory of VMs */
export const recordNodeUp = statement<never>('record-node-up', `
  WITH c AS (
    INSERT INTO node_channel (node_id, process_id, since) SELECT $1, p.id, $2 FROM process p WHERE p.id = $6 AND p.ended_at IS NULL
    ON CONFLICT (node_id, process_id) DO NOTHING
  )
  UPDATE vmm_node SET reachable = true, last_seen = $2, last_error = NULL, agent_version = $3, driver = $4, boot_id = $5, serializes = $7 WHERE id = $1`);

/** $1 id, locked, $2 why, $3 the process whose channel is lost: the node is away when nobody else reaches it. */
export const recordNodeDown = statement<never>('record-node-down', `
  WITH c AS (DELETE FROM node_channel WHERE node_id = $1 AND process_id = $3)
  UPDATE vmm_node SET reachable = false, last_error = $2
   WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM node_channel o WHERE o.node_id = $1 AND o.process_id IS DISTINCT FROM $3)`);

/**
 * $1 name, $2 zone, $3 memory, $4 cores, $5 access, $6 now, $7 this machine, $8 `MACHINE:DIRECTORY/` of other services that live. A
 * node that is there keeps a size that its leases need; no row when the name is that of another kind of node, or of another's.
 */
export const ensureLocalNode = statement<{ memory_mb: number; cores: number }>('ensure-local-node', `
  INSERT INTO vmm_node AS n (name, zone, memory_mb, cores, access, created_at) VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT (name) DO UPDATE SET zone = excluded.zone, access = excluded.access,
     memory_mb = greatest(excluded.memory_mb, n.memory_used), cores = greatest(excluded.cores, n.cores_used)
   WHERE n.access->>'transport' = 'local'
     AND NOT EXISTS (SELECT 1 FROM unnest($8::text[]) AS o(place) WHERE starts_with(coalesce(n.access->>'machine', $7) || ':' || (n.access->>'stateDir'), o.place))
  RETURNING memory_mb, cores`);
