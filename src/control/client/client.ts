/** The service's end of its channels to agents: one channel a node, kept open. */
import { isDeepStrictEqual } from 'node:util';
import type { AgentRequest, Done, VmEvent } from '../protocol.ts';
import type { Context } from '../../platform/context.ts';
import { newOperationId } from '../../platform/ids.ts';
import { Fault } from '../../lease/faults.ts';
import type { CallHandlers, ChannelState, ControlClient, ImageSource, NodeRef } from '../types.ts';
import { openChannel, type Channel, type ChannelOptions } from './channel.ts';
import type { Outcome, RequestHandlers } from './exchange.ts';
import { createSlots } from './slots.ts';
import type { Transport } from './transport.ts';

const RELEASE_MS = 10_000;
const MAX_WHY = 1000;

export interface ControlOptions {
  readonly imageSource: ImageSource;
  /** Makes the way to a node; `createTransports` is the real one. */
  readonly transport: (node: NodeRef) => Transport;
  readonly silenceMs: number;
  readonly reconnectMaxMs: number;
  readonly connectMs?: number;
  readonly helloMs?: number;
  /** Added to each request's deadline for the way there and back. */
  readonly graceMs?: number;
  readonly maxOutstanding?: number;
  /** Image transfers at a time, all nodes together; each holds about 2 MiB. */
  readonly maxUploads?: number;
  readonly uploadStallMs?: number;
}

interface Kept {
  readonly node: NodeRef;
  readonly channel: Channel;
}

export function createControlClient(ctx: Context, options: ControlOptions): ControlClient {
  const kept = new Map<number, Kept>();
  const stateListeners: ((state: ChannelState) => void)[] = [];
  const eventListeners: ((nodeId: number, event: VmEvent) => void)[] = [];
  const channelOptions: ChannelOptions = {
    imageSource: options.imageSource,
    silenceMs: options.silenceMs,
    reconnectMaxMs: options.reconnectMaxMs,
    connectMs: options.connectMs ?? 10_000,
    helloMs: options.helloMs ?? 10_000,
    graceMs: options.graceMs ?? 2_000,
    maxOutstanding: options.maxOutstanding ?? 4096,
    uploadSlots: createSlots(options.maxUploads ?? 8),
    uploadStallMs: options.uploadStallMs ?? 60_000,
  };
  let closed = false;

  /** A listener's mistake must not reach the channel that called it. */
  const guard = <A extends unknown[]>(fn: (...args: A) => void) => (...args: A): void => {
    try {
      fn(...args);
    } catch (e) {
      ctx.log.error('a listener of the control client failed', { error: e });
    }
  };

  const open = (node: NodeRef): Kept => ({
    node,
    channel: openChannel(
      { ...ctx, log: ctx.log.child({ nodeName: node.name }) }, node.id, options.transport(node), channelOptions,
      {
        onState: (state) => { if (!closed) for (const l of stateListeners) l(state); },
        onVmEvent: (nodeId, event) => { for (const l of eventListeners) l(nodeId, event); },
      },
    ),
  });

  const stateOf = (nodeId: number): ChannelState =>
    kept.get(nodeId)?.channel.state ?? { nodeId, up: false, connecting: false, hello: null, reason: 'no such node', clockOffsetMs: 0 };

  const send = (nodeId: number, requests: readonly AgentRequest[], handlers: RequestHandlers): void => {
    const channel = kept.get(nodeId)?.channel;
    if (channel !== undefined) return channel.send(requests, handlers);
    for (const r of requests) handlers.onOutcome(r.id, { lost: 'unreachable', reason: 'no such node' });
  };

  async function ask(nodeId: number, request: AgentRequest): Promise<Done & { ok: true }> {
    await kept.get(nodeId)?.channel.settled();
    const name = kept.get(nodeId)?.node.name ?? String(nodeId);
    const outcome = await new Promise<Outcome>((resolve) => {
      send(nodeId, [request], { onAck: () => undefined, onProgress: () => undefined, onOutcome: (_id, o) => resolve(o) });
    });
    if ('lost' in outcome) {
      const [code, what] = outcome.lost === 'busy' ? ['Busy', 'has too much to do'] as const : ['NodeUnreachable', 'does not answer'] as const;
      throw new Fault(code, `Node ${name} ${what}.`, [`${name}: ${outcome.reason}`]);
    }
    if (outcome.done.ok) return outcome.done;
    const { code, message } = outcome.done.error;
    throw new Fault('NodeRefused', `Node ${name} refused: ${message}`, [`${name}: ${code}: ${message}`]);
  }

  return {
    setNodes(nodes) {
      if (closed) return;
      const wanted = new Map(nodes.map((n) => [n.id, n]));
      for (const [id, { node, channel }] of kept) {
        const next = wanted.get(id);
        if (next !== undefined && isDeepStrictEqual(next.access, node.access)) continue;
        kept.delete(id);
        void channel.close(next === undefined ? 'the node was removed' : 'the node is reached another way now');
      }
      for (const node of nodes) if (!kept.has(node.id)) kept.set(node.id, open(node));
    },
    state: stateOf,
    call: (calls, handlers) => groupCall(calls, handlers, send, guard),
    ask,
    async release(nodeId, why) {
      // The words may be a batch system's; the agent takes printable ones only.
      const printable = why.replace(/[^\x20-\x7e]+/g, ' ').slice(0, MAX_WHY);
      await ask(nodeId, { op: 'release', id: newOperationId(ctx.random), deadlineMs: RELEASE_MS, why: printable });
    },
    onState: (listener) => void stateListeners.push(guard(listener)),
    onVmEvent: (listener) => void eventListeners.push(guard(listener)),
    async close() {
      closed = true;
      const channels = [...kept.values()];
      kept.clear();
      await Promise.all(channels.map(({ channel }) => channel.close('the service stops')));
    },
  };
}

type Guard = <A extends unknown[]>(fn: (...args: A) => void) => (...args: A) => void;

/** Every node's lines are written before anything is awaited. */
function groupCall(
  calls: Parameters<ControlClient['call']>[0],
  handlers: CallHandlers,
  send: (nodeId: number, requests: readonly AgentRequest[], handlers: RequestHandlers) => void,
  guard: Guard,
): Promise<void> {
  const onAck = guard(handlers.onAck ?? (() => undefined));
  const onProgress = guard(handlers.onProgress ?? (() => undefined));
  const onAnswer = guard(handlers.onAnswer);
  let open = calls.reduce((sum, c) => sum + c.requests.length, 0);
  return new Promise<void>((resolve) => {
    if (open === 0) return resolve();
    for (const { nodeId, requests } of calls) {
      send(nodeId, requests, {
        onAck: (ids) => onAck(nodeId, ids),
        onProgress: (id, phase, at) => onProgress(nodeId, id, phase, at),
        onOutcome(id, outcome) {
          onAnswer({ nodeId, id, ...outcome });
          open -= 1;
          if (open === 0) resolve();
        },
      });
    }
  });
}
