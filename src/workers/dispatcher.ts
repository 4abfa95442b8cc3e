/**
 * Sends intents to their nodes and their outcomes to the recorder. Intents come by hand-over, right after the commit that
 * wrote them, and by a poll that finds what a crash or an absent node left. A request whose answer was lost is sent again
 * with the same id until its time is over; `remove`, and what is kept as memory only, is never given up. Its time is that of the
 * node's silence: it counts from when the request was sent, and what there was no room to send has not begun to count.
 */
import type { AgentRequest, Done, Stamps, VmInfo } from '../control/protocol.ts';
import type { ControlClient, NodeAnswer } from '../control/types.ts';
import { Fault, isFault } from '../lease/faults.ts';
import { writable } from '../lease/text.ts';
import type { LeasePhase } from '../lease/phases.ts';
import type { Self } from '../manager/processes.ts';
import type { Recorder, Report } from '../manager/recorder.ts';
import { mayGoAbove } from '../manager/transitions.ts';
import type { Config } from '../platform/config.ts';
import { createBatcher } from '../platform/batcher.ts';
import type { Context, Timer } from '../platform/context.ts';
import { reasonText } from '../platform/errors.ts';
import { isUnavailable, type Db } from '../store/db.ts';
import { postponeIntents, takeIntents, type IntentRow } from '../store/intents.ts';
import { createBreaks } from './breaks.ts';
import { agentRequest, timeFor } from './requests.ts';
import type { Saver } from './saving.ts';

const POLL_MS = 1_000;
/** Of one statement; a poll that has got so many asks for more at once. */
const POLL_MOST = 256;
/** A poll leaves what it took to this process for so long. */
const TAKEN_MS = 30_000;
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 30_000;
/** A VM must be removed however long that takes; one that is serialized may be so already, and would be lost as one that runs. */
const NEVER_GIVEN_UP: ReadonlySet<IntentRow['kind']> = new Set(['remove', 'serialize', 'unserialize']);
/** Nor is a VM given up that has to end without its guest's say: it may be one whose start was not heard of. */
const isNeverGivenUp = (row: IntentRow): boolean => NEVER_GIVEN_UP.has(row.kind) || (row.kind === 'shutdown' && row.hard);
/** What an agent says of a VM that it has told to end, and that has not ended yet: a disk that takes long to be written. */
const ENDS_LATE: ReadonlySet<string> = new Set(['DriverFailed', 'DeadlineExceeded']);
/** Intents under way at once; the rest waits in the table. */
const MOST_UNDER_WAY = 10_000;

export interface DispatcherDeps {
  readonly ctx: Context;
  readonly db: Db;
  readonly config: Config;
  readonly control: ControlClient;
  readonly recorder: Recorder;
  readonly save: Saver;
  /** Another process has a channel to the node. */
  readonly elsewhere?: (nodeId: number) => boolean;
  /** There are other processes, whose channel to a node may be there before this one hears of it. */
  readonly others?: () => boolean;
  /** Tells the others that something is due. */
  readonly tellOthers?: () => void;
  readonly self?: Self;
  /** Absolute path of an image of the repository. */
  readonly imagePath: (file: string) => string;
  /** Told of each poll that succeeded. */
  readonly beat?: () => void;
}

export interface Dispatcher {
  handOver(intents: readonly IntentRow[]): void;
  /** Looks for what is due, of one node or of all. */
  poll(nodeId?: number): Promise<void>;
  start(): void;
  stop(): Promise<void>;
  /** What was handed over or taken and is not recorded yet; 0 = nothing is on its way. */
  readonly underWay: number;
}

export function createDispatcher(deps: DispatcherDeps): Dispatcher {
  const { ctx, db, control, recorder } = deps;
  const underWay = new Map<string, IntentRow>();
  const breaks = createBreaks();
  let timer: Timer | undefined;
  let stopped = false;
  let handed: IntentRow[] = [];
  let sending: Promise<void> | undefined;

  /** One message to a node for all that is handed over at the same moment. */
  async function sendHanded(): Promise<void> {
    await Promise.resolve();
    while (handed.length > 0) {
      const rows = handed;
      handed = [];
      try {
        // What a node that is being reached shall do is due when it is there: sent now, it would be lost and put off.
        const connecting = (row: IntentRow): boolean => control.state(row.node_id).connecting;
        send(rows.filter((row) => !othersReach(row.node_id) && !connecting(row)));
        await leave(rows.filter((row) => othersReach(row.node_id) || (connecting(row) && deps.others?.() === true)));
      } catch (e) {
        ctx.log.warn('intents could not be left to other services; the poll will find them', { error: (e as Error).message, intents: rows.length });
      }
    }
    sending = undefined;
  }

  /** Its channel ends in another process, as that of a pilot does. */
  const othersReach = (nodeId: number): boolean => !control.state(nodeId).up && deps.elsewhere?.(nodeId) === true;

  async function leave(rows: readonly IntentRow[]): Promise<void> {
    if (rows.length === 0) return;
    const now = new Date(ctx.clock.now());
    await db.query(postponeIntents, [rows.map((r) => r.id), rows.map(() => now), rows.map(() => null), rows.map((r) => r.process_id), rows.map(() => null)]);
    deps.tellOthers?.();
  }

  function send(rows: readonly IntentRow[]): void {
    const byNode = new Map<number, AgentRequest[]>();
    const now = ctx.clock.now();
    for (const row of rows) {
      // What is under way is claimed anew when another life of this process took it up.
      const before = underWay.get(row.id);
      if (before !== undefined) underWay.set(row.id, { ...row, sent_at: before.sent_at });
      if (stopped || underWay.has(row.id) || underWay.size >= MOST_UNDER_WAY) continue;
      const request = wornOut(row) ? undefined : requestOf(row);
      if (request === undefined) continue;
      underWay.set(row.id, { ...row, sent_at: row.sent_at ?? now });
      breaks.begin(row, now);
      const list = byNode.get(row.node_id);
      if (list === undefined) byNode.set(row.node_id, [request]);
      else list.push(request);
    }
    if (byNode.size === 0) return;
    void control.call([...byNode].map(([nodeId, requests]) => ({ nodeId, requests })), {
      onProgress: (nodeId, id, phase, at) => progress(nodeId, id, phase, at),
      onAnswer: (answer) => void settle(answer),
    });
  }

  /** What cannot be said to an agent fails by itself, and does not keep its neighbours from being sent. */
  function requestOf(row: IntentRow): AgentRequest | undefined {
    try {
      return agentRequest(row, deps.config.control, deps.imagePath, ctx.clock.now());
    } catch (e) {
      fail(row, ctx.clock.now(), 'Server.Internal', (e as Error).message, false).catch((failed: unknown) => notRecorded(row, failed));
      return undefined;
    }
  }

  /** What could not be written down at its last try either. */
  function wornOut(row: IntentRow): boolean {
    const why = breaks.wornOut(row);
    if (why !== undefined) fail(row, ctx.clock.now(), 'Server.NotSaved', why, false).then(() => breaks.forget(row.id), (e: unknown) => notRecorded(row, e));
    return why !== undefined;
  }

  /** The row is still open: the poll takes it up again. */
  function notRecorded(row: IntentRow, e: unknown): void {
    ctx.log.error('an agent’s answer was not recorded', { intent: row.id, lease: row.lease_id, requestId: row.request_id, error: (e as Error).message });
  }

  function base(row: IntentRow, at: number): Omit<Report, 'kind'> {
    return { lease: row.lease_id, generation: row.generation, node: row.node, at, requestId: row.request_id };
  }

  function progress(nodeId: number, id: string, phase: LeasePhase, at: number): void {
    const row = underWay.get(id);
    if (row?.kind !== 'start') return;
    const report = { ...base(row, at - control.state(nodeId).clockOffsetMs), kind: 'phase', phase } as Report;
    recorder.report(report).catch((e: unknown) => ctx.log.warn('a phase was not recorded', { lease: row.lease_id, phase, error: (e as Error).message }));
  }

  async function settle(answer: NodeAnswer): Promise<void> {
    const sent = underWay.get(answer.id);
    if (sent === undefined) return;
    const row = breaks.counted(sent);
    try {
      if ('lost' in answer) await (answer.lost === 'busy' ? notSent(row, answer.reason) : lost(row, answer.reason));
      else await answered(row, answer.done);
    } catch (e) {
      notRecorded(row, e);
    } finally {
      underWay.delete(answer.id);
    }
  }

  async function answered(row: IntentRow, done: Done): Promise<void> {
    const offset = control.state(row.node_id).clockOffsetMs;
    const at = (done.stamps.finished ?? ctx.clock.now() + offset) - offset;
    ctx.meter?.operation(row.kind, done.ok, ctx.clock.now() - row.created_at);
    if (done.ok && (row.kind === 'save' || row.kind === 'copy')) return fetchSaved(row, at);
    if (done.ok) {
      const vm: VmInfo | undefined = 'vm' in done.result ? done.result.vm : undefined;
      await recorder.report({
        ...base(row, at), kind: 'done', intentId: row.id, intent: row.kind, reach: vm?.reach ?? null, phases: corrected(done.stamps, offset),
      });
      return;
    }
    const { code, message } = done.error;
    if (code === 'Retiring' || (row.kind === 'remove' && code !== 'StaleGeneration')) return lost(row, message);
    if (row.kind === 'remove' && !mayGoAbove(row.generation)) return disbelieved(row, message);
    if (row.kind !== 'shutdown' || !ENDS_LATE.has(code)) return fail(row, at, `Server.${code}`, message, code === 'StaleGeneration');
    // It was told to end, and will: nobody can say that it runs on.
    ctx.log.warn('a VM has not ended in time; its node is asked again', { lease: row.lease_id, node: row.node, code, reason: message, requestId: row.request_id });
    await postpone(row, message);
  }

  /**
   * There is no higher generation: the agent lies. Room and addresses stay the lease's until the node, mended, confirms the removal:
   * the same request again, as one that is not answered, and no generation is used up by it.
   */
  async function disbelieved(row: IntentRow, message: string): Promise<void> {
    if (row.attempts === 0) ctx.log.warn('a node calls a removal stale that nothing can be above; it is asked again and again', { lease: row.lease_id, node: row.node, reason: message, requestId: row.request_id });
    await lost(row, `the agent calls stale what nothing can be above: ${message}`);
  }

  async function fetchSaved(row: IntentRow, at: number): Promise<void> {
    try {
      await deps.save(row, base(row, at));
    } catch (e) {
      const reason = isFault(e) ? e.text : reasonText(e);
      const again = breaks.add(row, e, ctx.clock.now());
      if (again !== undefined) {
        ctx.log.warn('the transfer of a disk broke off; it is begun again', { lease: row.lease_id, node: row.node, reason, requestId: row.request_id });
        // To fetch it at once would be no use while the database cannot write it down, and each time may leave a file.
        return isUnavailable(e) ? postpone(row, reason, breaks.pauseMs(row.id)) : lost(again, reason);
      }
      await fail(row, ctx.clock.now(), 'Server.NotSaved', breaks.wornOut(row) ?? reason, false);
    }
    breaks.forget(row.id);
  }

  async function fail(row: IntentRow, at: number, code: string, reason: string, superseded: boolean): Promise<void> {
    const { node } = row;
    if (!superseded) ctx.log.warn('an operation failed on a node', { lease: row.lease_id, node, operation: row.kind, code, reason, requestId: row.request_id });
    await recorder.report({ ...base(row, at), kind: 'failed', intentId: row.id, intent: row.kind, code, reason: `node ${node}: ${reason}`, superseded, claim: row.process_id });
  }

  /** Not answered. Sent again later, unless its time is over; a VM must be removed however long that takes. */
  async function lost(row: IntentRow, reason: string): Promise<void> {
    // Lost because the service stops: the row is open, and due when the node is heard of again.
    if (stopped) return;
    const others = othersReach(row.node_id);
    // What a poll took was not left to others by the table: two services that each take the other to reach the node would pass it on for ever.
    if (others && row.attempts === 0) return leave([row]);
    const now = ctx.clock.now();
    if (!others && !isNeverGivenUp(row) && now - (row.sent_at ?? now) >= timeFor(row, deps.config.control)) {
      await fail(row, now, 'Server.NodeUnreachable', reason, false);
      return;
    }
    await postpone(row, reason);
  }

  /** Its node is there, and has more to do than may wait for it: sent when there is room. A silence of the node from before is over. */
  async function notSent(row: IntentRow, reason: string): Promise<void> {
    if (stopped) return;
    breaks.notSent(row.id, ctx.clock.now());
    await postpone({ ...row, sent_at: null }, reason);
  }

  async function postpone(row: IntentRow, reason: string, wait = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** Math.min(row.attempts, 10))): Promise<void> {
    await postponements.add({ row, at: ctx.clock.now() + wait, reason: writable(reason) });
  }

  /** A node that is away loses thousands at one moment: a statement for each would have all others wait for the database. */
  const postponements = createBatcher<{ row: IntentRow; at: number; reason: string }, undefined>({
    most: POLL_MOST,
    mostWaiting: MOST_UNDER_WAY,
    full: () => new Fault('Busy', 'too many intents wait to be put off'),
    async run(all) {
      await db.query(postponeIntents, [
        all.map((p) => p.row.id), all.map((p) => new Date(p.at)), all.map((p) => p.reason), all.map((p) => p.row.process_id), all.map((p) => (p.row.sent_at === null ? null : new Date(p.row.sent_at))),
      ]);
      return all.map(() => undefined);
    },
  });

  /**
   * Page after page, as long as they are full: what thousands of leases wait for is not taken up by the second. It ends though
   * what it took is due again at once, as after a jump of the clock: together the pages are no more than may be under way.
   */
  async function poll(nodeId?: number): Promise<void> {
    const now = ctx.clock.now();
    for (let left = MOST_UNDER_WAY; ;) {
      const room = Math.min(POLL_MOST, left, MOST_UNDER_WAY - underWay.size);
      if (room <= 0 || stopped) return;
      const rows = await db.query(takeIntents, [new Date(now), new Date(now + TAKEN_MS), room, nodeId ?? null, deps.self?.id() ?? null]);
      send(rows);
      if (rows.length < room) return;
      left -= rows.length;
    }
  }

  function arm(): void {
    if (stopped) return;
    timer = ctx.clock.after(POLL_MS, () => {
      poll().then(deps.beat).catch((e: unknown) => ctx.log.warn('open intents could not be polled', { error: (e as Error).message })).finally(arm);
    }, true);
  }

  return {
    handOver(intents) {
      if (stopped) return;
      handed.push(...intents);
      sending ??= sendHanded();
    },
    poll,
    start: arm,
    async stop() {
      stopped = true;
      timer?.cancel();
      await sending;
    },
    get underWay() { return underWay.size + handed.length + (sending === undefined ? 0 : 1); },
  };
}

function corrected(stamps: Stamps, offset: number): Partial<Record<LeasePhase, number>> {
  return Object.fromEntries(Object.entries(stamps).map(([phase, at]) => [phase, at - offset]));
}
