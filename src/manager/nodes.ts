/**
 * What a node's agent says, held against what the table says. The agent's own list is the truth about VMs: a lease whose
 * VM is gone ends, a VM that no live lease knows is removed.
 */
import type { AgentHello, AgentRequest, VmInfo } from '../control/protocol.ts';
import { isFinal, STATES, type LeaseState } from '../lease/states.ts';
import { newOperationId } from '../platform/ids.ts';
import { wakeIntents } from '../store/intents.ts';
import { leaseGenerations, leasesHeldOn, type HeldLease } from '../store/leases.ts';
import { recordNodeState } from '../store/nodes.ts';
import type { ManagerDeps } from './deps.ts';
import type { Recorder } from './recorder.ts';

export interface NodeCases {
  /** The channel to the node is up: its state is written, its VMs are compared, what waits for it is due. */
  up(nodeId: number, hello: AgentHello, vms: readonly VmInfo[]): Promise<readonly AgentRequest[]>;
  down(nodeId: number, reason: string): Promise<void>;
}

/** States in which a VM must exist on the node; in others a `start` or `remove` is under way or waits. */
const EXPECTS_VM = (s: LeaseState): boolean => STATES[s].vm && !['Starting', 'Ending', 'Corrupted', 'ReadyingForTransport'].includes(s);

export function nodeCases(deps: ManagerDeps, recorder: Recorder): NodeCases {
  const { ctx, db, pool } = deps;
  return {
    async up(nodeId, hello, vms) {
      const now = new Date(ctx.clock.now());
      await db.query(recordNodeState, [nodeId, true, now, null, hello.version, hello.driver, hello.bootId]);
      pool.setReachable(nodeId, true);
      const orphans = await compare(nodeId, vms);
      await db.query(wakeIntents, [nodeId, now]);
      return orphans;
    },
    async down(nodeId, reason) {
      pool.setReachable(nodeId, false);
      await db.query(recordNodeState, [nodeId, false, new Date(ctx.clock.now()), reason, null, null, null]);
    },
  };

  /** Reports leases whose VM is gone; returns the requests that remove VMs without a lease. */
  async function compare(nodeId: number, vms: readonly VmInfo[]): Promise<AgentRequest[]> {
    const running = new Set(vms.filter((v) => v.state === 'running' || v.state === 'paused' || v.state === 'starting').map((v) => v.lease));
    const held = await db.query(leasesHeldOn, [nodeId]);
    const gone = held.filter((l) => EXPECTS_VM(l.state) && !running.has(l.id));
    await Promise.all(gone.map((l) => recorder.report({
      kind: 'vm-exited', lease: l.id, generation: l.generation, node: pool.name(nodeId), at: ctx.clock.now(), requestId: null,
      reason: vms.find((v) => v.lease === l.id)?.reason ?? 'the VM was gone when its node answered again',
    })));
    return orphanRemovals(vms.filter((v) => v.state !== 'removed'));
  }

  async function orphanRemovals(vms: readonly VmInfo[]): Promise<AgentRequest[]> {
    const known = new Map((await db.query(leaseGenerations, [vms.map((v) => v.lease)])).map((l) => [l.id, l]));
    return vms.filter((v) => isOrphan(known.get(v.lease))).map((v) => ({
      op: 'remove', id: newOperationId(ctx.random), lease: v.lease, deadlineMs: deps.config.control.operation_deadline_ms,
      generation: Math.max(v.generation, known.get(v.lease)?.generation ?? 0) + 1,
    }));
  }
}

const isOrphan = (lease: HeldLease | undefined): boolean => lease === undefined || isFinal(lease.state);
