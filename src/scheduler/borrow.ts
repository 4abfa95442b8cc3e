/**
 * Pilot mode's half of the scheduler: which nodes to ask the batch system for, so that the leases of one request fit on
 * them, within the site's caps. Pure; what is asked for and borrowed at the moment is read by the caller under a lock.
 */

/** Leases that are alike. A group is one of these; an ensemble is several, in one job. */
export interface BorrowRequest {
  readonly memoryMb: number;
  readonly cores: number;
  readonly minCount: number;
  readonly maxCount: number;
}

export interface BorrowPolicy {
  readonly leasesPerNode: number;
  /** What a node has for VMs; 0 = as much as is asked for. */
  readonly nodeMemoryMb: number;
  readonly nodeCores: number;
  /** 0 = no cap */
  readonly nodes: number;
  readonly nodesPerUser: number;
  readonly queuedSlots: number;
  readonly queuedSlotsPerUser: number;
  /** 0 to 1 of `partitionNodes` */
  readonly share: number;
  /** Nodes of the queue or partition; null = unknown */
  readonly partitionNodes: number | null;
}

/** What live slots hold or ask for. */
export interface BorrowUse {
  readonly nodes: number;
  readonly queuedSlots: number;
}

/** One node to ask for: `leases` of its part share it. */
export interface BorrowedNode {
  readonly part: number;
  readonly leases: number;
  readonly memoryMb: number;
  readonly cores: number;
}

export interface BorrowPlan {
  /** Leases granted to each request, at least its `minCount`. */
  readonly counts: readonly number[];
  /** Parts of the job: nodes that are alike, in the order of `nodes`. */
  readonly parts: ReadonlyArray<{ readonly nodes: number; readonly memoryMb: number; readonly cores: number }>;
  readonly nodes: readonly BorrowedNode[];
}

export interface BorrowRefusal {
  readonly code: 'NoCapacity' | 'TooMany';
  readonly message: string;
  readonly reasons: readonly string[];
}

export const isBorrowRefusal = (p: BorrowPlan | BorrowRefusal): p is BorrowRefusal => 'code' in p;

export function planSlot(requests: readonly BorrowRequest[], policy: BorrowPolicy, all: BorrowUse, users: BorrowUse): BorrowPlan | BorrowRefusal {
  const perNode = requests.map((r) => leasesOnOne(r, policy));
  const tooBig = requests.flatMap((r, i) => (perNode[i] === 0 ? tooBigReasons(r, policy) : []));
  if (tooBig.length > 0) return { code: 'NoCapacity', message: 'No node of the batch system is large enough for this lease.', reasons: tooBig };
  const queue = queueReasons(policy, all, users);
  if (queue.length > 0) return { code: 'TooMany', message: 'The site lets no more requests wait for its batch system now; try again later.', reasons: queue };
  const needed = sum(requests.map((r, i) => Math.ceil(r.minCount / (perNode[i] ?? 1))));
  const caps = nodeCaps(policy, all, users);
  const broken = caps.filter((c) => needed > c.left).map((c) => `${c.name} = ${c.limit}: ${c.used} in use or asked for, ${needed} more needed`);
  if (broken.length > 0) return { code: 'TooMany', message: `The request needs ${needed} borrowed ${needed === 1 ? 'node' : 'nodes'}, more than the site lends.`, reasons: broken };
  return fill(requests, perNode, Math.min(...caps.map((c) => c.left)) - needed);
}

/** Everyone gets what he needs at least; what is left of the caps goes to those who asked for more, in their order. */
function fill(requests: readonly BorrowRequest[], perNode: readonly number[], spareNodes: number): BorrowPlan {
  let spare = spareNodes;
  const parts: Array<BorrowPlan['parts'][number]> = [];
  const nodes: BorrowedNode[] = [];
  const counts = requests.map((r, part) => {
    const each = perNode[part] ?? 1;
    const least = Math.ceil(r.minCount / each);
    const count = Math.min(r.maxCount, (least + Math.min(spare, Math.ceil(r.maxCount / each) - least)) * each);
    const here = Math.ceil(count / each);
    spare -= here - least;
    const most = Math.min(each, count);
    parts.push({ nodes: here, memoryMb: most * r.memoryMb, cores: most * r.cores });
    for (let left = count; left > 0; left -= each) nodes.push({ part, leases: Math.min(each, left), memoryMb: most * r.memoryMb, cores: most * r.cores });
    return count;
  });
  return { counts, parts, nodes };
}

/**
 * The parts as a batch system is asked for them: nodes of one size are one part; where a job cannot have nodes of several
 * sizes, all are as large as the largest.
 */
export function partsToAsk(plan: BorrowPlan, heterogeneous: boolean): BorrowPlan {
  const largest = { memoryMb: Math.max(...plan.parts.map((p) => p.memoryMb)), cores: Math.max(...plan.parts.map((p) => p.cores)) };
  const sizes = plan.parts.map((p) => (heterogeneous ? { memoryMb: p.memoryMb, cores: p.cores } : largest));
  const first = sizes.map((s) => sizes.findIndex((o) => o.memoryMb === s.memoryMb && o.cores === s.cores));
  const kept = [...new Set(first)];
  const place = first.map((part) => kept.indexOf(part));
  const nodes = plan.nodes.map((n) => ({ ...n, part: place[n.part] ?? 0, ...(heterogeneous ? {} : largest) }));
  return {
    counts: plan.counts, nodes,
    parts: kept.map((from, part) => ({ ...(sizes[from] ?? largest), nodes: nodes.filter((n) => n.part === part).length })),
  };
}

function leasesOnOne(r: BorrowRequest, policy: BorrowPolicy): number {
  const byMemory = policy.nodeMemoryMb === 0 ? Infinity : Math.floor(policy.nodeMemoryMb / r.memoryMb);
  const byCores = policy.nodeCores === 0 ? Infinity : Math.floor(policy.nodeCores / r.cores);
  return Math.min(policy.leasesPerNode, byMemory, byCores);
}

function tooBigReasons(r: BorrowRequest, policy: BorrowPolicy): string[] {
  const reasons: string[] = [];
  if (policy.nodeMemoryMb > 0 && r.memoryMb > policy.nodeMemoryMb) reasons.push(`pilot.node_memory_mb = ${policy.nodeMemoryMb}, asked ${r.memoryMb}`);
  if (policy.nodeCores > 0 && r.cores > policy.nodeCores) reasons.push(`pilot.node_cores = ${policy.nodeCores}, asked ${r.cores}`);
  return reasons;
}

function queueReasons(policy: BorrowPolicy, all: BorrowUse, users: BorrowUse): string[] {
  const reasons: string[] = [];
  if (policy.queuedSlots > 0 && all.queuedSlots >= policy.queuedSlots) reasons.push(`pilot_caps.queued_slots = ${policy.queuedSlots}: ${all.queuedSlots} wait`);
  if (policy.queuedSlotsPerUser > 0 && users.queuedSlots >= policy.queuedSlotsPerUser) {
    reasons.push(`pilot_caps.queued_slots_per_user = ${policy.queuedSlotsPerUser}: ${users.queuedSlots} of yours wait`);
  }
  return reasons;
}

interface NodeCap {
  readonly name: string;
  readonly limit: number;
  readonly used: number;
  readonly left: number;
}

function nodeCaps(policy: BorrowPolicy, all: BorrowUse, users: BorrowUse): NodeCap[] {
  const cap = (name: string, limit: number, used: number): NodeCap => ({ name, limit, used, left: Math.max(0, limit - used) });
  const caps = [cap('unbounded', Number.MAX_SAFE_INTEGER, 0)];
  if (policy.nodes > 0) caps.push(cap('pilot_caps.nodes', policy.nodes, all.nodes));
  if (policy.nodesPerUser > 0) caps.push(cap('pilot_caps.nodes_per_user', policy.nodesPerUser, users.nodes));
  if (policy.partitionNodes !== null) {
    const most = Math.floor(policy.partitionNodes * policy.share);
    // Without a share of its own a request may wait for nodes that others have now, but not for more than there are.
    caps.push(policy.share < 1 ? cap('pilot_caps.share', most, all.nodes) : cap('nodes of the queue', policy.partitionNodes, 0));
  }
  return caps;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
