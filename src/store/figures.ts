/** Statements on the state of the site as a whole, for those who watch it. Each has few rows, however large the site. */
import { statement } from './db.ts';

export interface LeaseFigureRow {
  state: string;
  leases: number;
}
/** Live ones; what has ended is history. */
export const leaseFigures = statement<LeaseFigureRow>('lease-figures', 'SELECT state, count(*) AS leases FROM lease WHERE NOT final GROUP BY state');

export interface IntentFigureRow {
  kind: string;
  waiting: number;
  /** Of the one that has waited longest, s */
  oldest_s: number;
}
/** $1 now */
export const intentFigures = statement<IntentFigureRow>('intent-figures', `
  SELECT kind, count(*) AS waiting, greatest(0, extract(epoch FROM $1 - min(created_at)))::float8 AS oldest_s FROM intent WHERE state = 'open' GROUP BY kind`);

export interface NodeFigureRow {
  zone: string;
  borrowed: boolean;
  up: number;
  down: number;
  drained: number;
  memory_mb: number;
  memory_used: number;
  cores: number;
  cores_used: number;
}
export const nodeFigures = statement<NodeFigureRow>('node-figures', `
  SELECT zone, slot_id IS NOT NULL AS borrowed, count(*) FILTER (WHERE reachable) AS up, count(*) FILTER (WHERE NOT reachable) AS down,
         count(*) FILTER (WHERE NOT active) AS drained, sum(memory_mb) AS memory_mb, sum(memory_used) AS memory_used, sum(cores) AS cores, sum(cores_used) AS cores_used
    FROM vmm_node WHERE ended_at IS NULL GROUP BY 1, 2`);

export interface PoolFigureRow {
  network: string;
  addresses: number;
  in_use: number;
}
export const poolFigures = statement<PoolFigureRow>('pool-figures', `
  SELECT n.name AS network, count(*) AS addresses, count(a.lease_id) AS in_use
    FROM network n JOIN network_address a ON a.network_id = n.id GROUP BY n.name`);

export interface SlotFigureRow {
  state: string;
  slots: number;
}
export const slotFigures = statement<SlotFigureRow>('slot-figures', 'SELECT state, count(*) AS slots FROM slot WHERE NOT final GROUP BY state');

export interface SinkFigureRow {
  sink: string;
  attempts: number;
}
export const sinkFigures = statement<SinkFigureRow>('sink-figures', 'SELECT name AS sink, attempts FROM usage_sink WHERE active');
