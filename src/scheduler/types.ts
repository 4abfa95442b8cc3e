/** The scheduler's words; see README.md. */
import type { FaultCode } from '../lease/faults.ts';

export interface PoolNode {
  readonly id: number;
  readonly name: string;
  readonly zone: string;
  readonly memoryMb: number;
  readonly cores: number;
  readonly memoryUsed: number;
  readonly coresUsed: number;
  /** Names of the networks that the node's VMs can join; `*` = all. */
  readonly networks: readonly string[];
  readonly active: boolean;
  readonly reachable: boolean;
}

/** What one VM takes from its node. */
export interface Room {
  readonly memoryMb: number;
  readonly cores: number;
}

export interface Demand extends Room {
  readonly networks: readonly string[];
  readonly zone?: string | undefined;
  /** Only these, whatever is asked; absent = all. */
  readonly zones?: readonly string[];
}

/** As many as fit between the two counts; all or none below the lower one (EC2 API reference, RunInstances). */
export interface PlanRequest extends Demand {
  readonly minCount: number;
  readonly maxCount: number;
}

export interface Placement {
  /** Node id of each lease, in launch index order. */
  readonly nodes: readonly number[];
}

export interface Refusal {
  readonly code: Extract<FaultCode, 'NoCapacity' | 'ZoneUnknown'>;
  readonly message: string;
  /** Why each node, or each group of nodes, cannot take one more. */
  readonly reasons: readonly string[];
  /** Waiting does not help: even an empty site has no room. */
  readonly never: boolean;
}

export const STRATEGIES = ['greedy', 'round-robin'] as const;
export type StrategyName = (typeof STRATEGIES)[number];

export const isRefusal = (answer: Placement | Refusal): answer is Refusal => 'code' in answer;

/** One condition that a node must meet to take one more VM. */
export interface Rule {
  readonly name: string;
  allows(node: PoolNode, demand: Demand): boolean;
  /** Only called when `allows` said no. */
  reason(node: PoolNode, demand: Demand): string;
  /** Would the rule allow it on the same node with nothing in use, active and reachable? */
  allowsEver(node: PoolNode, demand: Demand): boolean;
}
