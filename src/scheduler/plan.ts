/** `plan`: nodes for a group, or the reasons why there are none. The pool is the same afterwards. */
import { Fault } from '../lease/faults.ts';
import type { Pool } from './pool.ts';
import { reasonsFor } from './reasons.ts';
import { RULES } from './rules/index.ts';
import { greedy } from './strategies/greedy.ts';
import { roundRobin } from './strategies/round-robin.ts';
import type { Demand, Placement, PlanRequest, PoolNode, Refusal, StrategyName } from './types.ts';

const PICK: Readonly<Record<StrategyName, (pool: Pool, demand: Demand) => PoolNode | undefined>> = {
  greedy, 'round-robin': roundRobin,
};

export function plan(pool: Pool, request: PlanRequest, strategy: StrategyName): Placement | Refusal {
  if (request.zone !== undefined && !pool.hasZone(request.zone)) return zoneUnknown(pool, request.zone);
  const nodes: number[] = [];
  try {
    while (nodes.length < request.maxCount) {
      const node = PICK[strategy](pool, request);
      if (node === undefined) break;
      pool.take(node.id, request);
      nodes.push(node.id);
    }
    return nodes.length >= request.minCount ? { nodes } : noCapacity(pool, request, nodes);
  } finally {
    for (const id of nodes) pool.release(id, request);
  }
}

export function refusalFault(refusal: Refusal): Fault {
  return new Fault(refusal.code, refusal.message, refusal.reasons);
}

function zoneUnknown(pool: Pool, zone: string): Refusal {
  const zones = pool.zones();
  return {
    code: 'ZoneUnknown',
    message: `Invalid availability zone: [${zone}]`,
    reasons: [zones.length === 0 ? 'the site has no VMM node' : `the site has ${zones.join(', ')}`],
    never: true,
  };
}

/** Called while the pool holds what was placed, so that every node has a reason against one more. */
function noCapacity(pool: Pool, request: PlanRequest, placed: readonly number[]): Refusal {
  const taken = new Map<number, number>();
  for (const id of placed) taken.set(id, (taken.get(id) ?? 0) + 1);
  const reasons = reasonsFor(pool, request, taken);
  const possible = roomWhenEmpty(pool, request);
  const refusal = (never: boolean, message: string): Refusal => ({ code: 'NoCapacity', message, reasons, never });
  const one = `a VM of ${request.memoryMb} MiB and ${request.cores} ${request.cores === 1 ? 'core' : 'cores'}`;
  if (possible === 0) return refusal(true, `This can never be placed: no node of the site can hold ${one} even when empty`);
  if (possible < request.minCount) return refusal(true, `This can never be placed: the site holds at most ${possible} of the ${request.minCount} VMs asked for, even when empty`);
  if (placed.length === 0) return refusal(false, `No node has room now for ${one}`);
  return refusal(false, `There is room now for ${placed.length} of the ${request.minCount} VMs asked for`);
}

/** How many VMs of this demand the site's nodes would hold with nothing else on them, up to `minCount`. */
function roomWhenEmpty(pool: Pool, request: PlanRequest): number {
  let count = 0;
  for (const node of pool.nodes()) {
    if (!RULES.every((rule) => rule.allowsEver(node, request))) continue;
    count += Math.min(Math.floor(node.memoryMb / request.memoryMb), Math.floor(node.cores / request.cores));
    if (count >= request.minCount) break;
  }
  return count;
}
