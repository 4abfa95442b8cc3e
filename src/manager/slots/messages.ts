/**
 * Applies what pilots have said, after it was stored: in the order in which each of them said it. What is applied is
 * marked in the same transaction, so that a crash between the two repeats nothing and loses nothing.
 */
import { inHalves } from '../../platform/halves.ts';
import type { NodeAccess } from '../../lease/node.ts';
import type { LockedLease } from '../../store/leases.ts';
import type { PilotMessage } from '../../pilot/protocol.ts';
import { isUnavailable, type Queryable } from '../../store/db.ts';
import { markApplied, openMessages, type OpenMessageRow } from '../../store/slot-messages.ts';
import { resourcesTagged } from '../../store/tags.ts';
import { bindLeases, insertSlotVmmNode, type SlotNodeRow } from '../../store/slots.ts';
import type { SlotDeps } from '../deps.ts';
import { ON_PREEMPT_TAG } from '../tag-rules.ts';
import { changeSlots, type OpenSlot, type SlotBatch } from './batch.ts';
import { inOrder } from './in-order.ts';
import { sshAddress } from './ssh-address.ts';
import { endNode, failTogether, isNeeded, settle } from './together.ts';

const SLOTS_AT_ONCE = 100;

/** @param slotIds of these, which are known to have some, one batch of them; null: of all that have, until none is left */
export async function applyMessages(deps: SlotDeps, slotIds: readonly string[] | null): Promise<void> {
  if (slotIds !== null) return void await applySome(deps, slotIds);
  for (;;) {
    const rows = await deps.db.query(openMessages, [null]);
    if (rows.length === 0 || !(await applySome(deps, [...new Set(rows.map((r) => r.slot_id))]))) return;
  }
}

/** False when some could not be applied; they are found again later. */
async function applySome(deps: SlotDeps, slots: readonly string[]): Promise<boolean> {
  let good = true;
  for (let i = 0; i < slots.length; i += SLOTS_AT_ONCE) {
    const done = await inHalves(slots.slice(i, i + SLOTS_AT_ONCE), async (some) => {
      await changeSlots(deps, some, (batch, tx) => applyTo(deps, batch, tx, some));
      return some.map(() => true);
    }, isUnavailable);
    const failed = done.find((d) => d instanceof Error);
    if (!(failed instanceof Error)) continue;
    good = false;
    deps.ctx.log.error('what a pilot said could not be applied; trying again', { error: failed.message });
  }
  return good;
}

async function applyTo(deps: SlotDeps, batch: SlotBatch, tx: Queryable, slotIds: readonly string[]): Promise<void> {
  // Read again under the slots' locks: another process may have applied some of them.
  const rows = await tx.query(openMessages, [slotIds]);
  for (const row of inOrder(rows)) {
    const open = batch.slots.get(row.slot_id);
    if (open !== undefined) await applyOne(deps, batch, tx, open, row);
  }
  if (rows.length > 0) await tx.query(markApplied, [rows.map((r) => r.slot_id), rows.map((r) => r.id)]);
}

async function applyOne(deps: SlotDeps, batch: SlotBatch, tx: Queryable, open: OpenSlot, row: OpenMessageRow): Promise<void> {
  const m = row.body;
  const node = nodeOf(batch, open, row);
  const log = deps.ctx.log.child({ slot: row.slot_id, host: row.host, pilot: row.pilot });
  if (node === undefined) {
    log.warn('a pilot of no node of the slot was heard; ignored', { said: m.state });
    return;
  }
  // Whatever it says first: this node is that host, and no other pilot is taken for it.
  if (node.host === null) {
    node.host = row.host;
    node.pilot = row.pilot;
    batch.note(node);
  }
  if (m.code !== 0) log.warn('a pilot reports a failure', { said: m.state, code: m.code, text: m.text });
  if (m.state === 'reserved' && m.code === 0) return reserved(deps, batch, tx, open, node, row);
  if (m.state === 'early-unreserving') return preempted(batch, tx, open, node, m, row.at);
  applyEnd(batch, open, node, m);
}

/**
 * The node that this host is already, or the first of its part that has no host yet: of those one that leases wait for, if it
 * has made room for them.
 */
function nodeOf(batch: SlotBatch, { nodes }: OpenSlot, row: OpenMessageRow): SlotNodeRow | undefined {
  // One that was given up, and comes after all, is told to go like any other that nobody waits for.
  const free = nodes.filter((n) => n.host === null && n.part === row.part && (n.state === 'Waiting' || n.state === 'Lost'));
  const isReady = row.body.state === 'reserved' && row.body.code === 0;
  return nodes.find((n) => n.host === row.host) ?? free.find((n) => isNeeded(batch, n) === isReady) ?? free[0];
}

async function reserved(deps: SlotDeps, batch: SlotBatch, tx: Queryable, open: OpenSlot, node: SlotNodeRow, row: OpenMessageRow): Promise<void> {
  const m = row.body;
  if (open.slot.final || open.slot.state === 'Releasing') return;
  const offset = row.clock_offset_ms ?? 0;
  const access = accessOf(deps, open.slot.id, row);
  if (typeof access === 'string') {
    node.reason = `the agent on ${row.host} cannot be reached over SSH: ${access}`;
    batch.stepNode(node, 'failed', stampsOf(m, offset));
    endNode(batch, open, node, { code: 'Server.NodeUnreachable', reason: node.reason }, node.node_id === null);
    return;
  }
  if (!batch.stepNode(node, 'reserved', { ...stampsOf(m, offset), reported: row.received_at })) return;
  node.clock_offset_ms = offset;
  const longest = batch.now + open.slot.pilot_s * 1000;
  node.until_at = Math.min(longest, (m.reserved?.until ?? Infinity) - offset);
  const leases = batch.leasesOn(node);
  const use = { memory: sum(leases.map((l) => l.memory_mb)), cores: sum(leases.map((l) => l.cores)) };
  const [made] = await tx.query(insertSlotVmmNode, [
    `${row.host}.${open.slot.id}`, deps.config.pilot.zone, Math.max(m.reserved?.memoryMb ?? node.memory_mb, use.memory), Math.max(node.cores, use.cores),
    JSON.stringify(access), new Date(batch.now), open.slot.id, use.memory, use.cores,
  ]);
  node.node_id = made?.id ?? null;
  batch.madeNode();
  await bind(batch, tx, node, leases, `${row.host}.${open.slot.id}`);
  batch.step(open, 'reported');
  settle(batch, open);
}

/** The leases' time begins here. */
async function bind(batch: SlotBatch, tx: Queryable, node: SlotNodeRow, leases: readonly LockedLease[], name: string): Promise<void> {
  const waiting = leases.filter((l) => l.state === 'Pending');
  for (const lease of waiting) {
    lease.node_id = node.node_id;
    lease.node = name;
    lease.ends_at = batch.now + lease.duration_s * 1000;
    batch.leases.apply(lease, { trigger: 'placed', actor: 'slot', who: 'batch system', why: `node ${node.host ?? ''} is ready`, at: batch.now, requestId: null });
  }
  if (waiting.length === 0) return;
  await tx.query(bindLeases, [JSON.stringify(waiting.map((l) => ({ id: l.id, node_id: l.node_id, ends_at: new Date(l.ends_at ?? 0).toISOString() })))]);
}

/**
 * The way to the agent: the channel that the pilot opens, or SSH. A pilot of the original has no agent in it; its node is one on
 * which an agent was installed, reached as any SSH node. A sentence: there is no way, and why.
 */
function accessOf({ config, borrowing }: SlotDeps, slot: string, row: OpenMessageRow): NodeAccess | string {
  const { reserved } = row.body;
  if (reserved !== undefined && config.control.transport === 'pilot') return { transport: 'pilot', slot, host: row.host, pilot: row.pilot };
  const address = sshAddress(config.pilot.ssh_address, row.host);
  if (address === undefined) return `${row.host} has no number at its end, as pilot.ssh_address = "${config.pilot.ssh_address}" needs it`;
  const hostKeys = borrowing?.hostKeys(address) ?? reserved?.agent?.hostKeys ?? [];
  const [hostKey] = hostKeys;
  if (hostKey === undefined) return `no host key of ${address} is known; add it to pilot.ssh_known_hosts`;
  const at = { host: address, port: config.pilot.ssh_port };
  if (reserved?.agent === undefined) return { transport: 'ssh', ...at, user: config.pilot.ssh_user, hostKey };
  return { transport: 'slot-ssh', slot, ...at, user: reserved.agent.user, hostKeys, stateDir: reserved.agent.stateDir };
}

/** What is left of the grace is the leases': to be saved where their owners say so, and to end. */
async function preempted(batch: SlotBatch, tx: Queryable, open: OpenSlot, node: SlotNodeRow, m: PilotMessage, at: number): Promise<void> {
  node.grace_ends_at = at + (m.graceMs ?? open.slot.grace_s * 1000);
  if (m.text !== undefined && m.code !== 0) node.reason = m.text;
  batch.stepNode(node, 'preempted', stampsOf(m, node.clock_offset_ms));
  const seconds = Math.max(0, Math.round((node.grace_ends_at - batch.now) / 1000));
  const why = { code: 'Server.BatchSystemPreempted', reason: `the batch system takes the node back before the lease’s time is over; ${seconds} s of grace were left` };
  const ids = node.node_id === null ? [] : batch.leasesOn(node).map((l) => l.id);
  const tagged = ids.length === 0 ? [] : await tx.query(resourcesTagged, [ids, ON_PREEMPT_TAG, 'save']);
  const needed = isNeeded(batch, node);
  batch.preemptLeases(node, why, new Set(tagged.map((t) => t.resource_id)));
  if (needed) failTogether(batch, open, node, why);
  else settle(batch, open);
}

function applyEnd(batch: SlotBatch, open: OpenSlot, node: SlotNodeRow, m: PilotMessage): void {
  const stamps = stampsOf(m, node.clock_offset_ms);
  if (m.text !== undefined && m.code !== 0) node.reason = m.text;
  switch (m.state) {
    case 'reserved':
      batch.stepNode(node, 'failed', stamps);
      endNode(batch, open, node, { code: 'Server.PilotFailed', reason: `the pilot could not make room on its node: ${m.text ?? `code ${m.code}`}` }, node.node_id === null);
      return;
    case 'unreserving':
      batch.stepNode(node, 'unreserving', stamps);
      endNode(batch, open, node, { code: 'Server.SlotEnded', reason: m.text ?? 'the pilot gives the node back' }, false);
      return;
    case 'killed':
      batch.note(node, stamps);
      return;
    case 'restored':
      // Code ≠ 0: it has gone, but something is left on its node.
      batch.stepNode(node, m.code === 0 ? 'restored' : 'failed', stamps);
      endNode(batch, open, node, { code: 'Server.SlotEnded', reason: node.reason ?? 'its node was given back to the batch system' }, true);
      return;
    default:
      return;
  }
}

/** A pilot's moments, on our clock. */
function stampsOf(m: PilotMessage, offsetMs: number): Record<string, number> {
  return Object.fromEntries(Object.entries(m.stamps ?? {}).map(([k, v]) => [k, v - offsetMs]));
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
