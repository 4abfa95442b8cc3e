/**
 * Requests that wait for one agent's answers. Each is settled exactly once: by its answer, by its deadline, or by the end
 * of the channel. An agent that speaks of ids it was not given, or that says more about one than there is to say, is
 * found out here.
 */
import { AGENT_PHASES, type AgentPhase, type AgentRequest, type Done } from '../protocol.ts';
import type { Clock, Timer } from '../../platform/context.ts';
import type { Lost } from '../types.ts';

export type Outcome =
  | { readonly done: Done }
  | { readonly lost: Lost; readonly reason: string };

export interface RequestHandlers {
  readonly onAck: (ids: readonly string[]) => void;
  readonly onProgress: (id: string, phase: AgentPhase, at: number) => void;
  readonly onOutcome: (id: string, outcome: Outcome) => void;
}

/** A repeated request passes its phases again. */
const MAX_PROGRESS = 4 * AGENT_PHASES.length;
const MAX_ACKS = 4;
/** Ids whose late answers are forgiven. */
const PAST_IDS = 8192;

export interface Entry {
  readonly request: AgentRequest;
  readonly handlers: RequestHandlers[];
  timer: Timer;
  /** The image went to the node on this request's behalf; once is enough. */
  imageSent: boolean;
  acks: number;
  progress: number;
}

export interface ExchangeOptions {
  readonly clock: Clock;
  readonly maxOutstanding: number;
  /** Added to a request's own deadline, which the agent keeps by itself. */
  readonly graceMs: number;
}

export function createExchange({ clock, maxOutstanding, graceMs }: ExchangeOptions) {
  const entries = new Map<string, Entry>();
  const past = new Set<string>();

  const settle = (id: string, outcome: Outcome): void => {
    const entry = entries.get(id);
    if (entry === undefined) return;
    entry.timer.cancel();
    entries.delete(id);
    past.add(id);
    const [oldest] = past;
    if (past.size > PAST_IDS && oldest !== undefined) past.delete(oldest);
    for (const h of entry.handlers) h.onOutcome(id, outcome);
  };
  const arm = (request: AgentRequest): Timer =>
    clock.after(request.deadlineMs + graceMs, () => settle(request.id, {
      lost: 'deadline', reason: `no answer to ${request.op} within ${request.deadlineMs + graceMs} ms`,
    }));

  return {
    get size() { return entries.size; },
    get room() { return maxOutstanding - entries.size; },
    entry: (id: string): Entry | undefined => entries.get(id),
    settle,
    /** True when the request must be sent; false when it is under way and its answer will serve both. */
    add(request: AgentRequest, handlers: RequestHandlers): boolean {
      const known = entries.get(request.id);
      known?.handlers.push(handlers);
      if (known !== undefined) return false;
      past.delete(request.id);
      entries.set(request.id, { request, handlers: [handlers], timer: arm(request), imageSent: false, acks: 0, progress: 0 });
      return true;
    },
    /** Stops the clock of a request that waits for its image. */
    hold(entry: Entry): void {
      entry.timer.cancel();
      entry.imageSent = true;
    },
    rearm(entry: Entry): void {
      entry.timer = arm(entry.request);
    },
    /** False when the agent must not say this. */
    ack(ids: readonly string[]): boolean {
      const byHandlers = new Map<RequestHandlers, string[]>();
      for (const id of ids) {
        const entry = entries.get(id);
        if (entry === undefined && !past.has(id)) return false;
        if (entry === undefined) continue;
        entry.acks += 1;
        if (entry.acks > MAX_ACKS) return false;
        for (const h of entry.handlers) byHandlers.set(h, [...(byHandlers.get(h) ?? []), id]);
      }
      for (const [h, acked] of byHandlers) h.onAck(acked);
      return true;
    },
    progress(id: string, phase: AgentPhase, at: number): boolean {
      const entry = entries.get(id);
      if (entry === undefined) return past.has(id);
      entry.progress += 1;
      if (entry.progress > MAX_PROGRESS) return false;
      for (const h of entry.handlers) h.onProgress(id, phase, at);
      return true;
    },
    known: (id: string): boolean => entries.has(id) || past.has(id),
    loseAll(reason: string): void {
      for (const id of [...entries.keys()]) settle(id, { lost: 'unreachable', reason });
    },
  };
}
