/** Nodes and demands for the scheduler's tests. */
import type { Demand, PlanRequest, PoolNode } from '../../src/scheduler/types.ts';

export const node = (id: number, facts: Partial<PoolNode> = {}): PoolNode => ({
  id, name: `node-${String(id).padStart(5, '0')}`, zone: 'default', memoryMb: 1024, cores: 8, memoryUsed: 0, coresUsed: 0,
  networks: ['*'], active: true, reachable: true, ...facts,
});

export const demand = (facts: Partial<Demand> = {}): Demand => ({ memoryMb: 128, cores: 1, networks: ['public'], ...facts });

export const request = (count: number, facts: Partial<PlanRequest> = {}): PlanRequest => ({
  ...demand(), minCount: count, maxCount: count, ...facts,
});
