/**
 * All or none: until a pilot of every node of a slot has been heard that leases wait for, the end of one node is the end of all.
 * Afterwards each node's leases live by themselves.
 */
import type { SlotNodeRow } from '../../store/slots.ts';
import type { OpenSlot, Reason, SlotBatch } from './batch.ts';

/** Its pilot was not heard, and leases wait for it. */
export const isAwaited = (batch: SlotBatch, node: SlotNodeRow): boolean => node.state === 'Waiting' && isNeeded(batch, node);

/** A slot is complete when a pilot of every node has been heard that is awaited. One that is heard later gives its node back. */
export function settle(batch: SlotBatch, open: OpenSlot): void {
  if (open.slot.state === 'Starting' && !open.nodes.some((n) => isAwaited(batch, n))) batch.step(open, 'complete');
}

/** A node whose leases had ended, or been told to end, before it went is missed by nobody: the others may go on. */
export function isNeeded(batch: SlotBatch, node: SlotNodeRow): boolean {
  return batch.leasesOn(node).some((l) => l.state !== 'Ending' && l.state !== 'Corrupted');
}

/** The node holds no leases any more. `over`: their VMs have gone with it; else they are asked to end. */
export function endNode(batch: SlotBatch, open: OpenSlot, node: SlotNodeRow, why: Reason, over: boolean): void {
  const needed = isNeeded(batch, node);
  batch.endLeases(node, why, over);
  if (needed) failTogether(batch, open, node, why);
  else settle(batch, open);
}

/** The job is cancelled at once: nobody waits for the pilots that have not been heard. */
export function failTogether(batch: SlotBatch, open: OpenSlot, node: SlotNodeRow, why: Reason): void {
  const { slot, nodes } = open;
  if (slot.ready_at !== null || nodes.length === 1) return;
  if (batch.step(open, 'release', { code: why.code, reason: `${node.host ?? 'a node'} of the job: ${why.reason}` })) slot.next_at = batch.now;
}
