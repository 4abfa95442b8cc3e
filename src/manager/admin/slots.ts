/** Slots (batch jobs) as administrators see them, and their end before their time. */
import { Fault, isFault } from '../../lease/faults.ts';
import { breakdown } from '../../lease/phases.ts';
import { SLOT_ID } from '../../pilot/protocol.ts';
import { isUnavailable } from '../../store/db.ts';
import { messagesOfSlot } from '../../store/slot-report.ts';
import { leaseIdsOfSlotNodes, nodesOfSlots, slotsForAdmin, type SlotNodeRow } from '../../store/slots.ts';
import type { AdminManager, KilledSlot, SlotChange, SlotChoice } from '../admin-types.ts';
import type { SlotDeps } from '../deps.ts';
import type { SlotNodeView, SlotView } from '../slots/types.ts';
import type { Caller } from '../types.ts';
import type { AdminDeps } from './deps.ts';
import { killSlot } from './kill-all.ts';
import { requireKnown } from './known-user.ts';

const MOST_SLOTS = 10_000;
const MOST_MESSAGES = 200;

type AdminSlotRow = Awaited<ReturnType<typeof slotRows>>[number];

export function slotAdministration(given: Pick<AdminDeps, 'ctx' | 'db' | 'config' | 'handOver' | 'borrowing'>): AdminManager['slots'] {
  const deps: SlotDeps = { ...given, handOver: given.handOver ?? (() => undefined) };

  async function list(q: SlotChoice & { live: boolean; ids?: readonly string[] | undefined }): Promise<SlotView[]> {
    checkPartition(deps, q.partition);
    await requireKnown(deps.db, q.user);
    const rows = q.ids?.length === 1 ? await slotRows(deps, q.ids[0] ?? null, q.live, q.user) : await slotRows(deps, null, q.live, q.user);
    const named = q.ids === undefined ? undefined : new Set(q.ids);
    const views = await slotViews(deps, rows.filter((r) => named?.has(r.id) ?? true));
    return q.node === undefined ? views : views.filter((v) => hasHost(v, rows.find((r) => r.id === v.id), q.node ?? ''));
  }

  return {
    list,

    async show(id) {
      const [row] = SLOT_ID.test(id) ? await slotRows(deps, id, false, undefined) : [];
      if (row === undefined) throw notFound(id);
      const [view] = await slotViews(deps, [row]);
      if (view === undefined) throw notFound(id);
      const messages = await deps.db.query(messagesOfSlot, [id, MOST_MESSAGES]);
      return {
        ...view,
        nodes: view.nodes.map((n) => ({ ...n, breakdown: breakdown(n.phases) })),
        messages: messages.map((m) => ({
          id: m.id, host: m.host, seq: m.seq, at: m.at, receivedAt: m.received_at, state: m.state, code: m.code, text: m.text, applied: m.applied,
        })),
      };
    },

    kill: (caller, id, why) => kill(deps, caller, id, why),

    async killAll(caller, choice, why) {
      const report: KilledSlot[] = [];
      for (const { id } of await list({ ...choice, live: true })) report.push(await tryKill(deps, caller, id, why));
      return report;
    },
  };
}

async function kill(deps: SlotDeps, caller: Caller, id: string, why: string): Promise<SlotChange> {
  if (!SLOT_ID.test(id)) throw notFound(id);
  const change = await killSlot(deps, caller, id, why);
  if (change === undefined) throw notFound(id);
  return change;
}

/** A database that does not answer would not answer for the others either. */
async function tryKill(deps: SlotDeps, caller: Caller, slot: string, why: string): Promise<KilledSlot> {
  try {
    return { slot, ok: true, change: await kill(deps, caller, slot, why) };
  } catch (e) {
    if (isUnavailable(e)) throw e;
    deps.ctx.log.error('a slot could not be ended', { slot, error: (e as Error).message });
    return { slot, ok: false, error: isFault(e) ? { code: e.code, message: e.message, reasons: e.reasons } : { code: 'Internal', message: (e as Error).message, reasons: [] } };
  }
}

/** The service submits to one partition or queue: that of its configuration. @throws Fault ParameterInvalid */
function checkPartition({ config }: SlotDeps, asked: string | undefined): void {
  if (asked === undefined) return;
  const [own, key] = config.pilot.lrm === 'slurm' ? [config.slurm.partition, 'slurm.partition'] : [config.pbs.queue, 'pbs.queue'];
  if (own === asked) return;
  throw new Fault('ParameterInvalid', `No slot is in ${asked.slice(0, 64)}`, [own === '' ? `the service submits to the batch system’s default, as ${key} is empty: leave the choice out` : `the service submits to ${own} (${key})`]);
}

const slotRows = (deps: Pick<SlotDeps, 'db'>, id: string | null, live: boolean, user: string | undefined) =>
  deps.db.query(slotsForAdmin, [id, live, user ?? null, MOST_SLOTS]);

const hasHost = (v: SlotView, row: AdminSlotRow | undefined, host: string): boolean =>
  v.nodes.some((n) => n.host === host) || row?.hosts.includes(host) === true;

async function slotViews({ db }: Pick<SlotDeps, 'db'>, rows: readonly AdminSlotRow[]): Promise<SlotView[]> {
  if (rows.length === 0) return [];
  const nodes = await db.query(nodesOfSlots, [rows.map((r) => r.id)]);
  const leases = await db.query(leaseIdsOfSlotNodes, [nodes.map((n) => n.id)]);
  const byNode = grouped(leases, (l) => l.slot_node_id);
  const bySlot = grouped(nodes, (n) => n.slot_id);
  return rows.map((r) => slotView(r, (bySlot.get(r.id) ?? []).map((n) => nodeView(n, (byNode.get(n.id) ?? []).map((l) => l.id)))));
}

function grouped<K, T>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return groups;
}

function slotView(r: AdminSlotRow, nodes: readonly SlotNodeView[]): SlotView {
  return {
    id: r.id, user: r.user, preemptible: r.spot, state: r.state, lrm: r.lrm, jobId: r.job_id, nativeState: r.native_state, position: r.queue_position,
    waitsFor: r.queue_reason, expectedStart: r.expected_start, nodes, durationS: r.duration_s, walltimeS: r.walltime_s, graceS: r.grace_s,
    createdAt: r.created_at, submittedAt: r.submitted_at, readyAt: r.ready_at, endedAt: r.ended_at, reasonCode: r.reason_code, reason: r.reason,
  };
}

function nodeView(n: SlotNodeRow, leases: readonly string[]): SlotNodeView {
  return {
    ordinal: n.ordinal, part: n.part, state: n.state, host: n.host, memoryMb: n.memory_mb, cores: n.cores, leases, lastHeard: n.last_heard,
    until: n.until_at, graceEnds: n.grace_ends_at, reason: n.reason, phases: n.phases,
  };
}

const notFound = (id: string): Fault => new Fault('ResourceNotFound', `There is no slot ${id.slice(0, 64)}; a slot’s id looks like sl-0123456789ab`);
