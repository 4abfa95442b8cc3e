/** Follows the channels: nodes of the table are connected to, their state and their VMs reach the manager. */
import type { AgentRequest, VmEvent, VmInfo } from '../control/protocol.ts';
import type { ChannelState, ControlClient } from '../control/types.ts';
import { Fault } from '../lease/faults.ts';
import type { NodeCases } from '../manager/nodes.ts';
import type { Recorder } from '../manager/recorder.ts';
import type { Context, Timer } from '../platform/context.ts';
import { newOperationId } from '../platform/ids.ts';
import type { Db } from '../store/db.ts';
import { allNodes, type ReachedNodeRow } from '../store/nodes.ts';

/** How often the table is read for nodes that another process added or removed. */
const RELOAD_MS = 5_000;
const LIST_DEADLINE_MS = 10_000;
/** Exits of one node's VMs that are being written; what it says beyond them is learned from its list. */
const MOST_EXITS = 256;

export interface NodeMonitor {
  start(): Promise<void>;
  /** Reads the table now: a node was added, changed or removed. */
  reload(): Promise<void>;
  /** Says again of every node whether it is reached: nobody knows it of this process any more. */
  again(): void;
  /** Resolves when every node has answered, or has said why not, and what it said is written. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

export function createNodeMonitor(deps: {
  ctx: Context; db: Db; control: ControlClient; nodes: NodeCases; recorder: Recorder;
  nodeName: (nodeId: number) => string; refreshPool: (nodes: readonly ReachedNodeRow[]) => void; poll: (nodeId: number) => Promise<void>;
  /** Told of each look at the table that succeeded. */
  beat?: () => void;
}): NodeMonitor {
  const { ctx, db, control } = deps;
  let timer: Timer | undefined;
  let stopped = false;
  /** What is done about one node's states follows each other; of those that came meanwhile the newest counts. */
  const last = new Map<number, Promise<void>>();
  const newest = new Map<number, ChannelState>();
  const exits = new Map<number, number>();
  /** Nodes that have not been heard of yet. */
  const unheard = new Set<number>();
  /** Nodes of which something could not be written, or that did not say what they have: compared again at the next reload. */
  const missed = new Set<number>();
  let allHeard: () => void = () => undefined;

  async function reload(): Promise<void> {
    const nodes = await db.query(allNodes);
    // Pilots come by themselves, and not before the service's door for them is open.
    for (const { id, access } of nodes) if (!last.has(id) && access.transport !== 'pilot') unheard.add(id);
    control.setNodes(nodes.map((n) => ({ id: n.id, name: n.name, access: n.access })));
    deps.refreshPool(nodes);
    const known = new Set(nodes.map((n) => n.id));
    for (const id of last.keys()) if (!known.has(id)) forget(id);
    for (const id of missed) enqueue(control.state(id));
  }

  function forget(nodeId: number): void {
    last.delete(nodeId);
    newest.delete(nodeId);
    exits.delete(nodeId);
    missed.delete(nodeId);
    heard(nodeId);
  }

  function enqueue(state: ChannelState): void {
    const { nodeId } = state;
    missed.delete(nodeId);
    const waits = newest.has(nodeId);
    newest.set(nodeId, state);
    // A node whose channel comes and goes faster than that can be written must not make a queue.
    if (waits) return;
    const before = last.get(nodeId) ?? Promise.resolve();
    last.set(nodeId, before.then(() => {
      const now = newest.get(nodeId) ?? state;
      newest.delete(nodeId);
      return follow(now);
    }).catch((e: unknown) => {
      missed.add(nodeId);
      ctx.log.warn('the state of a node could not be followed; trying again', { node: deps.nodeName(nodeId), error: (e as Error).message });
    }).finally(() => heard(nodeId)));
  }

  function heard(nodeId: number): void {
    unheard.delete(nodeId);
    if (unheard.size === 0) allHeard();
  }

  async function follow(state: ChannelState): Promise<void> {
    if (stopped) return;
    if (!state.up || state.hello === null) {
      await deps.nodes.down(state.nodeId, state.reason ?? 'not connected');
      return;
    }
    const { orphans, waits } = await deps.nodes.up(state.nodeId, state.hello, () => list(state.nodeId));
    if (orphans.length > 0) await removeOrphans(state.nodeId, orphans);
    if (waits) await deps.poll(state.nodeId);
  }

  async function list(nodeId: number): Promise<readonly VmInfo[]> {
    const { result } = await control.ask(nodeId, { op: 'list', id: newOperationId(ctx.random), deadlineMs: LIST_DEADLINE_MS });
    // Taken for an empty list, another answer would end every lease on the node.
    if (!('vms' in result)) throw new Fault('NodeRefused', `node ${deps.nodeName(nodeId)} answered something else than its VMs`);
    return result.vms;
  }

  async function removeOrphans(nodeId: number, requests: readonly AgentRequest[]): Promise<void> {
    const leases = requests.flatMap((r) => ('lease' in r ? [r.lease] : []));
    ctx.log.warn('VMs that no live lease knows are removed', { node: deps.nodeName(nodeId), leases });
    const left: string[] = [];
    await control.call([{ nodeId, requests }], { onAnswer: (a) => { if ('lost' in a || !a.done.ok) left.push(a.id); } });
    if (left.length > 0) ctx.log.warn('VMs without a lease were not removed; the next contact tries again', { node: deps.nodeName(nodeId), operations: left });
  }

  function exited(nodeId: number, event: VmEvent): void {
    const underWay = exits.get(nodeId) ?? 0;
    if (underWay >= MOST_EXITS) {
      if (!missed.has(nodeId)) ctx.log.warn('a node reports more exits than can be written; it is asked for its VMs instead', { node: deps.nodeName(nodeId) });
      missed.add(nodeId);
      return;
    }
    exits.set(nodeId, underWay + 1);
    const at = event.at - control.state(nodeId).clockOffsetMs;
    deps.recorder.report({
      kind: 'vm-exited', lease: event.lease, generation: event.generation, node: deps.nodeName(nodeId), at, requestId: null, reason: event.reason,
    }).catch((e: unknown) => {
      missed.add(nodeId);
      ctx.log.error('the exit of a VM was not recorded; its node is asked again', { lease: event.lease, error: (e as Error).message });
    }).finally(() => exits.set(nodeId, Math.max(0, (exits.get(nodeId) ?? 0) - 1)));
  }

  function arm(): void {
    if (stopped) return;
    timer = ctx.clock.after(RELOAD_MS, () => {
      reload().then(deps.beat).catch((e: unknown) => ctx.log.warn('the nodes could not be read', { error: (e as Error).message })).finally(arm);
    }, true);
  }

  // From the first channel on: one that a look before the start has opened says only once that it is up.
  control.onState(enqueue);
  control.onVmEvent(exited);

  return {
    async start() {
      await reload();
      arm();
    },
    reload,
    again() {
      for (const id of last.keys()) enqueue(control.state(id));
    },
    settled: () => new Promise((resolve) => {
      allHeard = resolve;
      if (unheard.size === 0) resolve();
    }),
    async stop() {
      stopped = true;
      timer?.cancel();
      await Promise.all(last.values());
    },
  };
}
