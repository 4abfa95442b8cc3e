/**
 * What is to be given back: nodes whose leases are over, jobs that nobody needs, requests that have waited too long. The
 * decision is written first; the worker then tells pilots, cancels jobs, and asks again until they are gone.
 */
import { formatDuration } from '../../lease/duration.ts';
import { nodeIsOver } from '../../pilot/states.ts';
import { returningNodes, slotsDue, unheardNodes, type SlotNodeRow, type SlotsDueRow } from '../../store/slots.ts';
import type { SlotDeps } from '../deps.ts';
import { changeSlots, type OpenSlot, type SlotBatch } from './batch.ts';
import { nodeKey } from './inbox-known.ts';
import { endNode, isNeeded, settle } from './together.ts';
import type { Releases, ToCancel, ToRelease, ToShrink } from './types.ts';

/** Pilots that were told to go get so long before their job is cancelled. */
const GOODBYE_MS = 15_000;
/** A cancellation is repeated after so long. */
const CANCEL_AGAIN_MS = 10_000;

interface Found {
  readonly cancels: ToCancel[];
  readonly shrinks: ToShrink[];
}

const NOTHING: SlotsDueRow = { tend: [], requested: false, returning: false };

/** @param since when this process began to listen, ms: what it could not hear before is no silence */
function limits({ ctx, config }: SlotDeps, since: number): { now: number; heardBefore: Date; begunBefore: Date } {
  const now = ctx.clock.now();
  const before = (ms: number): Date => new Date(now - since > ms ? now - ms : 0);
  return { now, heardBefore: before(config.pilot.silence * 1000), begunBefore: before(latePilotMs(config.pilot)) };
}

export async function findDue(deps: SlotDeps, since: number): Promise<SlotsDueRow> {
  const { now, heardBefore, begunBefore } = limits(deps, since);
  const [due] = await deps.db.query(slotsDue, [new Date(now - deps.config.pilot.pending_timeout * 1000), new Date(now), heardBefore, begunBefore]);
  return due ?? NOTHING;
}

export async function findReleases(deps: SlotDeps, since: number, { tend: ids, returning }: SlotsDueRow): Promise<Releases> {
  const { db } = deps;
  const { heardBefore, begunBefore } = limits(deps, since);
  const found: Found = { cancels: [], shrinks: [] };
  if (ids.length > 0) {
    await changeSlots(deps, ids, async (batch, tx) => {
      const unheard = await tx.query(unheardNodes, [ids, heardBefore]);
      const lost = new Set(unheard.flatMap((n) => (n.lost ? [n.id] : [])));
      const unheeding = new Set(unheard.flatMap((n) => (n.unheeding ? [n.id] : [])));
      for (const open of batch.slots.values()) {
        missPilots(deps, batch, open, begunBefore.getTime());
        // Its pilot is heard, and is told to go with the answer to its next word.
        for (const n of open.nodes) if (unheeding.has(n.id)) batch.stepNode(n, 'release', { 'release-decided': batch.now });
        tend(deps, batch, open, lost, found);
      }
    });
  }
  const nodes = !returning && ids.length === 0 ? [] : (await db.query(returningNodes, [deps.self?.id() ?? null])).map((n): ToRelease => ({ slotId: n.slot_id, slotNodeId: n.id, nodeId: n.node_id, why: 'its leases are over' }));
  return { nodes, ...found };
}

function tend(deps: SlotDeps, batch: SlotBatch, open: OpenSlot, lost: ReadonlySet<number>, found: Found): void {
  const { slot, nodes } = open;
  if (slot.final) return;
  expire(deps, batch, open);
  for (const n of nodes) {
    if (lost.has(n.id)) loseNode(deps, batch, open, n);
    if ((n.state === 'Reserved' || n.state === 'Preempted') && !batch.holdsLeases(n)) batch.stepNode(n, 'release', { 'release-decided': batch.now });
  }
  if (slot.state !== 'Releasing' && !nodes.some((n) => batch.holdsLeases(n))) letGo(batch, open);
  settle(batch, open);
  if (slot.state === 'Releasing' && slot.next_at <= batch.now) cancel(batch, open, found);
  else if (slot.state === 'Ready') shrink(deps, batch, open, found);
}

/** From the start of a job to the last of its pilots' first words: what the job's time has for it, and a silence. */
const latePilotMs = (pilot: SlotDeps['config']['pilot']): number => (pilot.padding + pilot.silence) * 1000;

/**
 * All or none: a job that has run so long without all of its pilots will never be complete. Of one that is complete without some,
 * as nobody waits for them, their nodes go back.
 */
function missPilots({ ctx, config }: SlotDeps, batch: SlotBatch, open: OpenSlot, begunBefore: number): void {
  const { slot, nodes } = open;
  const waiting = nodes.filter((n) => n.state === 'Waiting');
  const missing = waiting.filter((n) => isNeeded(batch, n)).length;
  const begun = Math.min(...nodes.map((n) => n.phases['job-running'] ?? n.phases['reported'] ?? Infinity));
  if (waiting.length === 0 || begun >= begunBefore) return;
  const within = `within ${formatDuration(config.pilot.padding + config.pilot.silence)} of the job’s start`;
  if (slot.state === 'Starting' && missing > 0) {
    ctx.log.warn('pilots are missing', { slot: slot.id, job: slot.job_id, missing });
    batch.step(open, 'release', { code: 'Server.PilotLost', reason: `${missing} of ${nodes.length} pilots did not report ${within}` });
    slot.next_at = batch.now;
  } else if (slot.state === 'Ready') {
    ctx.log.warn('pilots that nobody waits for were never heard; their nodes are given back', { slot: slot.id, job: slot.job_id, pilots: waiting.length });
    for (const n of waiting) {
      n.reason = `no pilot was heard ${within}, and no lease waits for it`;
      batch.stepNode(n, 'gone');
    }
  }
}

/** Its pilot was killed, or its machine is away: the job, as long as it lasts, gives nothing back by itself. */
function loseNode({ ctx }: SlotDeps, batch: SlotBatch, open: OpenSlot, node: SlotNodeRow): void {
  const reason = `the pilot on ${node.host ?? 'a node'} is gone: no channel leads to it, and it was not heard any more`;
  ctx.log.warn('a pilot is gone', { slot: node.slot_id, host: node.host, pilot: node.pilot });
  node.reason = reason;
  batch.stepNode(node, 'gone');
  endNode(batch, open, node, { code: 'Server.PilotLost', reason }, true);
}

function expire({ config }: SlotDeps, batch: SlotBatch, open: OpenSlot): void {
  const waits = open.slot.state === 'Requested' || open.slot.state === 'Submitting' || open.slot.state === 'Queued';
  if (!waits || batch.now - open.slot.created_at < config.pilot.pending_timeout * 1000) return;
  const words = open.slot.queue_reason === null ? '' : `; the batch system says: ${open.slot.queue_reason}`;
  batch.step(open, 'release', { code: 'Server.PendingTimeout', reason: `no node was to be had within ${formatDuration(config.pilot.pending_timeout)}${words}` });
}

/** Pilots that are there give their nodes back themselves; a job that has none, or is not complete, is cancelled at once. */
function letGo(batch: SlotBatch, open: OpenSlot): void {
  const { slot, nodes } = open;
  if (!batch.step(open, 'release')) return;
  const heard = slot.state === 'Releasing' && nodes.every((n) => n.state !== 'Waiting');
  slot.next_at = heard ? batch.now + GOODBYE_MS : batch.now;
}

function cancel(batch: SlotBatch, { slot }: OpenSlot, found: Found): void {
  slot.next_at = batch.now + CANCEL_AGAIN_MS;
  batch.touch(slot);
  if (slot.job_id !== null) found.cancels.push({ slotId: slot.id, jobId: slot.job_id });
}

/**
 * Nodes of a partly ended group go back as soon as the batch system allows; the job's first node keeps its script. One part of the
 * job at a time: each is changed by a command of its own.
 */
function shrink({ borrowing }: SlotDeps, batch: SlotBatch, open: OpenSlot, found: Found): void {
  const { slot } = open;
  if (slot.job_id === null || slot.next_at > batch.now) return;
  const smaller = smallerPart(open);
  if (smaller === undefined) return;
  slot.next_at = batch.now + CANCEL_AGAIN_MS;
  batch.touch(slot);
  if (borrowing?.facts()?.shrinks === true) found.shrinks.push({ slotId: slot.id, jobId: slot.job_id, ...smaller });
}

function smallerPart({ slot, nodes }: OpenSlot): Pick<ToShrink, 'part' | 'keep'> | undefined {
  const parts = Math.max(...nodes.map((n) => n.part)) + 1;
  // Slurm shrinks every part of a heterogeneous job but the first (22.05: "Job resizing not supported").
  for (let part = parts > 1 ? 1 : 0; part < parts; part += 1) {
    const mine = nodes.filter((n) => n.part === part);
    // A pilot that was not heard may be about to make room: where there is but one part, its host is known to be of it.
    if (parts > 1 && mine.some((n) => n.state === 'Waiting')) continue;
    const ours = byHost(mine);
    const unheard = unheardOf({ slot, nodes }, part);
    const hosts = slot.hosts.filter((h) => parts === 1 || ours.has(nodeKey(h)));
    const goes = (h: string): boolean => nodeIsOver(ours.get(nodeKey(h))?.state ?? (unheard > 0 ? 'Lost' : 'Waiting'));
    const keep = hosts.filter((h) => (part === 0 && h === slot.hosts[0]) || !goes(h));
    if (keep.length < hosts.length || (parts > 1 && unheard > 0)) return { part, keep };
  }
  return undefined;
}

const byHost = (nodes: readonly SlotNodeRow[]): ReadonlyMap<string, SlotNodeRow> => new Map(nodes.flatMap((n) => (n.host === null ? [] : [[nodeKey(n.host), n]])));

/**
 * Hosts of a part whose pilots were given up without a word, so that nobody has said which they are: what the job has besides those
 * that were heard, and those of parts that keep theirs, or have not been made smaller yet.
 */
function unheardOf({ slot, nodes }: OpenSlot, part: number): number {
  const nameless = nodes.filter((n) => n.host === null);
  const mine = nameless.filter((n) => n.part === part);
  if (mine.length === 0 || mine.some((n) => n.state === 'Waiting')) return 0;
  const heard = byHost(nodes);
  const waits = new Set(nameless.flatMap((n) => (n.state === 'Waiting' ? [n.part] : [])));
  const others = nameless.filter((n) => n.part !== part && (n.part === 0 || n.part > part || waits.has(n.part))).length;
  const left = slot.hosts.filter((h) => !heard.has(nodeKey(h))).length - others;
  // More than can be: the list is not of this job as it is now.
  return left > mine.length ? 0 : Math.max(0, left);
}

export async function recordCancelled(deps: SlotDeps, slotId: string, gone: boolean): Promise<void> {
  if (!gone) return;
  await changeSlots(deps, [slotId], (batch) => {
    const open = batch.slots.get(slotId);
    // Some batch systems call a job over while its pilots are still in their grace: then the list tells when they are gone.
    if (open?.slot.state === 'Releasing' && open.nodes.every((n) => n.state === 'Waiting' || nodeIsOver(n.state))) batch.step(open, 'gone');
  });
}
