/** What agents say of their VMs, held against what the tables say: what the tables knew before the agents were asked. */
import type { VmInfo } from '../control/protocol.ts';
import { isFinal, LEASE_STATES, type LeaseState } from '../lease/states.ts';
import { isGone } from '../manager/nodes.ts';
import { HIGHEST_GENERATION } from '../manager/transitions.ts';
import { errorText } from '../platform/errors.ts';
import { statement, type Queryable } from '../store/db.ts';
import { LOCK_LEASES } from './rule.ts';
import { list } from './sql.ts';
import type { FsckSite, Problem } from './types.ts';

/** Nodes that are asked at a time. */
const ASKED_AT_ONCE = 32;

interface NodeRow { id: number; name: string }
interface LeaseRow { id: string; state: LeaseState; generation: number; node_id: number | null; holding: boolean; ran: boolean; working: boolean }
const NODES = statement<NodeRow>('fsck-nodes', 'SELECT id, name FROM vmm_node WHERE ended_at IS NULL ORDER BY id');
const LEASES = statement<LeaseRow>('fsck-live-leases', `
  SELECT l.id, l.state, l.generation, l.node_id, l.holding, l.running_at IS NOT NULL AS ran, EXISTS (SELECT 1 FROM intent i WHERE i.lease_id = l.id AND i.state = 'open') AS working
    FROM lease l WHERE NOT l.state IN (${list(LEASE_STATES.filter(isFinal))})`);
const RAISE = statement<never>('fsck-mend-vm-generation', `
  UPDATE lease l SET generation = x.generation FROM unnest($1::text[], $2::int[]) AS x(id, generation)
   WHERE l.id = x.id AND NOT l.final AND l.generation < x.generation
     AND NOT EXISTS (SELECT 1 FROM intent i WHERE i.lease_id = l.id AND i.state = 'open')`);

export interface KnownVms {
  readonly nodes: readonly NodeRow[];
  readonly leases: ReadonlyMap<string, LeaseRow>;
}

export async function knownVms(tx: Queryable): Promise<KnownVms> {
  return { nodes: await tx.query(NODES), leases: new Map((await tx.query(LEASES)).map((l) => [l.id, l])) };
}

/** A problem, with what its mending needs. */
export interface VmProblem extends Problem {
  readonly nodeId: number;
  readonly lease: string;
  readonly generation: number;
}

export interface AskedVms {
  readonly problems: readonly VmProblem[];
  readonly asked: number;
  readonly notes: readonly string[];
}

export async function lookAtVms({ agents }: FsckSite, known: KnownVms): Promise<AskedVms> {
  const problems: VmProblem[] = [];
  const notes: string[] = [];
  const waiting = [...known.nodes];
  const ask = async (): Promise<void> => {
    for (let node = waiting.shift(); node !== undefined; node = waiting.shift()) {
      try {
        problems.push(...compare(node, await agents.list(node.id), known.leases));
      } catch (e) {
        notes.push(`the VMs of node ${node.name} were not looked at: ${errorText(e)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, ask));
  return { problems: spared(problems), notes: notes.sort(), asked: known.nodes.length - notes.length };
}

/** A VM that runs elsewhere is not lost: its lease does not end for that, someone has to look. */
function spared(problems: readonly VmProblem[]): VmProblem[] {
  const elsewhere = new Set(problems.filter((p) => p.rule === 'vm-elsewhere').map((p) => p.lease));
  return problems.map((p) => (p.rule === 'vm-gone' && elsewhere.has(p.lease) ? { ...p, mend: 'end the lease, or remove the VM on the other node', repairs: false } : p));
}

function compare(node: NodeRow, vms: readonly VmInfo[], leases: ReadonlyMap<string, LeaseRow>): VmProblem[] {
  const there = new Map(vms.map((v) => [v.lease, v]));
  const problem = (rule: string, lease: string, what: string, mend: string, repairs: boolean, generation = 0): VmProblem =>
    ({ rule, of: `${node.name} ${lease}`, what, mend, repairs, nodeId: node.id, lease, generation });
  const found = vms.flatMap((vm): VmProblem[] => {
    const lease = leases.get(vm.lease);
    if (lease === undefined) return vm.state === 'removed' ? [] : [problem('vm-unknown', vm.lease, `node ${node.name} has the VM ${vm.lease} (${vm.state}), which no live lease knows`, 'removes the VM', true)];
    if (lease.node_id !== node.id) return vm.state === 'removed' ? [] : [problem('vm-elsewhere', vm.lease, `node ${node.name} has a VM of lease ${vm.lease}, which is on another node`, `on ${node.name}: workspace-control remove ${vm.lease}`, false)];
    if (vm.generation <= lease.generation) return [];
    const table = `the table has ${lease.generation}`;
    if (vm.generation > HIGHEST_GENERATION) {
      return [problem('vm-generation', vm.lease, `node ${node.name} claims generation ${vm.generation} of lease ${vm.lease}, which no service gives; ${table}`,
        `its agent is not to be trusted: drain the node, and end the lease; if it refuses that: nimbus lease destroy --forget ${vm.lease}`, false)];
    }
    // Work that is under way is refused, and repeated above what the node has seen.
    if (lease.working) return [];
    return [problem('vm-generation', vm.lease, `node ${node.name} has seen generation ${vm.generation} of lease ${vm.lease}; ${table}`, 'takes the higher generation', true, vm.generation)];
  });
  for (const lease of leases.values()) {
    if (lease.node_id !== node.id || !lease.holding || !isGone(lease, there.get(lease.id))) continue;
    found.push(problem('vm-gone', lease.id, `lease ${lease.id} is ${lease.state}, but node ${node.name} has no VM of it that lives`, 'ends the lease', true));
  }
  return found;
}

/** Each with what became of it: undefined, or why it was not mended. */
export async function mendVms({ db, agents }: FsckSite, problems: readonly VmProblem[]): Promise<Array<Error | undefined>> {
  const generations = problems.filter((p) => p.rule === 'vm-generation');
  const raised = generations.length === 0 ? undefined : await attempt(() => db.transaction(async (tx) => {
    await tx.query(LOCK_LEASES, [generations.map((p) => p.lease)]);
    await tx.query(RAISE, [generations.map((p) => p.lease), generations.map((p) => p.generation)]);
  }));
  const nodes = new Map<number, Error | undefined>();
  for (const { nodeId } of problems.filter((p) => p.rule !== 'vm-generation')) {
    if (!nodes.has(nodeId)) nodes.set(nodeId, await attempt(() => agents.compare(nodeId)));
  }
  return problems.map((p) => (p.rule === 'vm-generation' ? raised : nodes.get(p.nodeId)));
}

async function attempt(work: () => Promise<void>): Promise<Error | undefined> {
  try {
    await work();
    return undefined;
  } catch (e) {
    return e as Error;
  }
}
