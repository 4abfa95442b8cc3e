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

export const allNodes = statement<NodeRow>('all-nodes', `SELECT ${COLUMNS} FROM vmm_node WHERE ended_at IS NULL ORDER BY id`);

/** $1 ids. Locked in one order by every process, so that two batches cannot wait for each other. */
export const lockNodes = statement<NodeRow>('lock-nodes', `
  SELECT ${COLUMNS} FROM vmm_node WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE`);

/** $1 ids, $2 memory, $3 cores, in parallel arrays: what leases take (positive) or give back (negative). */
export const changeNodeUse = statement<never>('change-node-use', `
  UPDATE vmm_node n SET memory_used = n.memory_used + x.memory, cores_used = n.cores_used + x.cores
    FROM unnest($1::bigint[], $2::int[], $3::int[]) AS x(id, memory, cores) WHERE n.id = x.id`);

/** $1 id, $2 reachable, $3 now, $4 why not, $5 agent version, $6 driver, $7 boot id; nulls in the last three leave what stands */
export const recordNodeState = statement<never>('record-node-state', `
  UPDATE vmm_node SET reachable = $2, last_seen = CASE WHEN $2 THEN $3 ELSE last_seen END, last_error = $4,
         agent_version = coalesce($5, agent_version), driver = coalesce($6, driver), boot_id = coalesce($7, boot_id)
   WHERE id = $1`);

/** $1 name, $2 zone, $3 memory, $4 cores, $5 access, $6 now. A node that is there keeps a size that its leases need. */
export const ensureLocalNode = statement<{ memory_mb: number; cores: number }>('ensure-local-node', `
  INSERT INTO vmm_node AS n (name, zone, memory_mb, cores, access, created_at) VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT (name) DO UPDATE SET zone = excluded.zone, access = excluded.access,
     memory_mb = greatest(excluded.memory_mb, n.memory_used), cores = greatest(excluded.cores, n.cores_used)
   WHERE n.access->>'transport' = 'local'
  RETURNING memory_mb, cores`);
