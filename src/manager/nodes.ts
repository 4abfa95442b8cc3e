/**
 * What a node's agent says, held against what the table says. The agent's own list is the truth about VMs: a lease whose
 * VM is gone ends, a VM that no live lease knows is removed.
 */
import { MAX_GENERATION, type AgentHello, type AgentRequest, type VmInfo } from '../control/protocol.ts';
import { isFinal, STATES, type LeaseState } from '../lease/states.ts';
import { newOperationId } from '../platform/ids.ts';
import { wakeIntents } from '../store/intents.ts';
import { leaseGenerations, leasesHeldOn, type HeldLease } from '../store/leases.ts';
import { lockNodes, recordNodeDown, recordNodeUp } from '../store/nodes.ts';
import type { ManagerDeps } from './deps.ts';
import type { Recorder } from './recorder.ts';

export interface Contact {
  /** Requests that remove VMs without a lease. */
  readonly orphans: readonly AgentRequest[];
  /** Work for the node is open. */
  readonly waits: boolean;
}

export interface NodeCases {
  /**
   * The channel to the node is up: its state is written, its VMs are compared, what waits for it is due. `list` asks the
   * node for its VMs.
   */
  up(nodeId: number, hello: AgentHello, list: () => Promise<readonly VmInfo[]>): Promise<Contact>;
  down(nodeId: number, reason: string): Promise<void>;
}

/** States in which a VM must exist on the node; in others a `start` or `remove` is under way or waits. */
const EXPECTS_VM = (s: LeaseState): boolean => STATES[s].vm && !['Starting', 'Ending', 'Corrupted', 'ReadyingForTransport'].includes(s);

/** A VM that has stopped already was started, though the answer has not come yet; one that rests has stopped as it should. */
const MAY_HAVE_RUN = ({ state, ran }: HeldLease): boolean => ['Unpropagated', 'Propagating', 'Starting'].includes(state) || (state === 'Propagated' && !ran);

export function nodeCases(deps: ManagerDeps, recorder: Recorder): NodeCases {
  const { ctx, db, pool, self } = deps;
  return {
    async up(nodeId, hello, list) {
      // Read before the node is asked: a VM that starts between the two is not missed in an older list.
      const held = await db.query(leasesHeldOn, [nodeId]);
      const vms = await list();
      const now = new Date(ctx.clock.now());
      await db.query(recordNodeUp, [nodeId, now, hello.version, hello.driver, hello.bootId, self?.id() ?? null, hello.can?.includes('serialize') === true]);
      pool.setReachable(nodeId, true);
      const orphans = await compare(nodeId, held, vms);
      const open = await db.query(wakeIntents, [nodeId, now, self?.id() ?? null]);
      return { orphans, waits: open.length > 0 };
    },
    async down(nodeId, reason) {
      pool.setReachable(nodeId, false);
      await db.transaction(async (tx) => {
        // Of two processes that lose it at once, the second sees that the first has.
        await tx.query(lockNodes, [[nodeId]]);
        await tx.query(recordNodeDown, [nodeId, reason, self?.id() ?? null]);
      });
    },
  };

  /** Reports leases whose VM is gone; returns the requests that remove VMs without a lease. */
  async function compare(nodeId: number, held: readonly HeldLease[], vms: readonly VmInfo[]): Promise<AgentRequest[]> {
    const there = new Map(vms.map((v) => [v.lease, v]));
    await Promise.all(held.filter((l) => isGone(l, there.get(l.id))).map((l) => recorder.report({
      kind: 'vm-exited', lease: l.id, generation: l.generation, node: pool.name(nodeId), at: ctx.clock.now(), requestId: null,
      reason: there.get(l.id)?.reason ?? 'the VM was gone when its node answered again', gone: there.get(l.id)?.state !== 'stopped',
    })));
    const holding = new Set(held.map((l) => l.id));
    return orphanRemovals(vms.filter((v) => v.state !== 'removed' && !holding.has(v.lease)));
  }

  async function orphanRemovals(vms: readonly VmInfo[]): Promise<AgentRequest[]> {
    if (vms.length === 0) return [];
    const known = new Map((await db.query(leaseGenerations, [vms.map((v) => v.lease)])).map((l) => [l.id, l]));
    return vms.filter((v) => isOrphan(known.get(v.lease))).map((v) => ({
      op: 'remove', id: newOperationId(ctx.random), lease: v.lease, deadlineMs: deps.config.control.operation_deadline_ms,
      generation: Math.min(MAX_GENERATION, Math.max(v.generation, known.get(v.lease)?.generation ?? 0) + 1),
    }));
  }
}

/** The lease should have a VM on its node, and `vm`, which the node has, is none that lives. */
export function isGone(lease: HeldLease, vm: VmInfo | undefined): boolean {
  if (vm?.state === 'running' || vm?.state === 'paused' || vm?.state === 'starting') return false;
  // Its memory is kept, and what was asked for is sent until it is answered.
  if (vm?.state === 'serializing' || vm?.state === 'serialized' || vm?.state === 'restoring') return false;
  // Its end is what was asked for, and its disk is there: the answer did not come, and the request is sent again.
  if (lease.state === 'ShuttingDown' && (vm?.state === 'propagated' || vm?.state === 'stopped')) return false;
  return EXPECTS_VM(lease.state) || lease.state === 'Serialized' || (MAY_HAVE_RUN(lease) && vm?.state === 'stopped' && vm.generation === lease.generation);
}

const isOrphan = (lease: HeldLease | undefined): boolean => lease === undefined || isFinal(lease.state);
