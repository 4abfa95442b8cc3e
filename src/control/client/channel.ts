/**
 * The channel to one node: opens a link, holds a session on it, and begins again after it ends.
 *
 *   connecting   a link is being opened, then the agent's hello is awaited; both have a deadline
 *   up           requests may be sent
 *   waiting      down with a reason; the next attempt follows after a pause that doubles up to a bound, or as soon as the
 *                transport says that the far side has begun a link
 *   closed       for good
 */
import type { AgentHello, AgentRequest, VmEvent } from '../protocol.ts';
import type { Context, Timer } from '../../platform/context.ts';
import { withDeadline } from '../../platform/deadline.ts';
import type { ChannelState } from '../types.ts';
import type { RequestHandlers } from './exchange.ts';
import { lose, startSession, type Session, type SessionOptions } from './session.ts';
import type { AgentLink, Transport } from './transport.ts';

const FIRST_PAUSE_MS = 250;
const CLOSE_MS = 3_000;

export interface ChannelOptions extends SessionOptions {
  /** Deadline of opening a link. */
  readonly connectMs: number;
  readonly reconnectMaxMs: number;
}

export interface ChannelEvents {
  readonly onState: (state: ChannelState) => void;
  readonly onVmEvent: (nodeId: number, event: VmEvent) => void;
}

export interface Channel {
  readonly state: ChannelState;
  send(requests: readonly AgentRequest[], handlers: RequestHandlers): void;
  /** Resolves when no first attempt is under way: the channel is up, or down with a reason. */
  settled(): Promise<void>;
  /** Ends the channel for good; resolves when its link is let go of, at the latest after a few seconds. */
  close(reason: string): Promise<void>;
}

export function openChannel(ctx: Context, nodeId: number, transport: Transport, options: ChannelOptions, events: ChannelEvents): Channel {
  const { clock, random, log } = ctx;
  let hello: AgentHello | null = null;
  let reason: string | null = 'not reached yet';
  let session: Session | undefined;
  let linkEnded: Promise<unknown> = Promise.resolve();
  let attempt: AbortController | undefined;
  let connecting: Promise<void>;
  let pause: Timer | undefined;
  let failures = 0;
  let closed = false;
  /** The transport has a link for the taking. */
  let ready = false;
  let connectingFirst = true;
  let tried: () => void = () => undefined;
  const firstAttempt = new Promise<void>((resolve) => { tried = resolve; });
  const settle = (): void => {
    connectingFirst = false;
    tried();
  };

  const state = (): ChannelState => ({ nodeId, up: hello !== null, connecting: connectingFirst, hello, reason, clockOffsetMs: session?.clockOffsetMs ?? 0 });

  async function connect(): Promise<void> {
    const mine = new AbortController();
    attempt = mine;
    ready = false;
    const late = transport.lateReason ?? `no connection within ${options.connectMs} ms`;
    const deadline = clock.after(options.connectMs, () => mine.abort(new Error(late)), true);
    try {
      const link = await transport.open(mine.signal);
      // A link that came too late is let go of, and the next attempt follows.
      if (mine.signal.aborted) link.close('broken');
      mine.signal.throwIfAborted();
      hold(link);
    } catch (e) {
      down(mine.signal.aborted ? messageOf(mine.signal.reason) : messageOf(e), 0);
    } finally {
      deadline.cancel();
    }
  }

  function hold(link: AgentLink): void {
    linkEnded = link.ended;
    let openedAt: number | undefined;
    session = startSession(ctx, link, options, {
      onOpen(greeting) {
        openedAt = clock.monotonic();
        hello = greeting;
        reason = null;
        log.info('agent is there', { node: greeting.node, version: greeting.version, driver: greeting.driver });
        settle();
        events.onState(state());
      },
      onVmEvent: (event) => events.onVmEvent(nodeId, event),
      onEnd: (why) => down(why, openedAt === undefined ? 0 : clock.monotonic() - openedAt),
    });
  }

  function down(why: string, livedMs: number): void {
    const changed = hello !== null || reason !== why;
    hello = null;
    session = undefined;
    reason = why;
    if (changed && !closed) log.warn('agent cannot be reached', { at: transport.describe, reason: why });
    if (changed) events.onState(state());
    settle();
    if (closed) return;
    failures = livedMs > options.silenceMs ? 0 : failures + 1;
    if (ready) again();
    else pause = clock.after(pauseMs(), again, true);
  }

  function again(): void {
    pause?.cancel();
    pause = undefined;
    connecting = connect();
  }

  /** Between half of the pause and the whole, so that nodes that fell together do not come back together. */
  function pauseMs(): number {
    const whole = Math.min(options.reconnectMaxMs, FIRST_PAUSE_MS * 2 ** Math.min(failures, 20));
    return whole / 2 + (whole / 2) * (random.bytes(4).readUInt32BE() / 0x1_0000_0000);
  }

  const unsubscribe = transport.onReady?.(() => {
    ready = true;
    if (pause !== undefined) again();
  });
  connecting = connect();
  return {
    get state() { return state(); },
    send(requests, handlers) {
      // One that was not greeted yet is as good as none: why there was none before is what people want to know.
      if (session === undefined || hello === null) lose(requests, handlers, reason ?? 'the channel is not open');
      else session.send(requests, handlers);
    },
    settled: () => firstAttempt,
    async close(why) {
      if (closed) return;
      closed = true;
      unsubscribe?.();
      pause?.cancel();
      reason = why;
      attempt?.abort(new Error(why));
      session?.close(why, 'orderly');
      settle();
      const released = connecting.then(() => linkEnded);
      await withDeadline(clock, CLOSE_MS, 'closing the channel', released).catch((e: unknown) => {
        log.warn('a link was left behind', { at: transport.describe, error: messageOf(e) });
      });
    },
  };
}

function messageOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
