/** One request for a lease on its way: who waits for it, which phases it has passed, and how it is broken off. */
import type { AgentPhase, AgentRequest, Done } from '../protocol.ts';
import type { Clock, Timer } from './clock.ts';
import { AgentFault } from './fault.ts';

export type LeaseRequest = Extract<AgentRequest, { generation: number }>;

/** Where answers go: one connection. */
export interface Reply {
  ack(id: string): void;
  progress(id: string, phase: AgentPhase, at: number): void;
  done(done: Done): void;
}

/** Part of the deadline that is kept for what follows when a guest has not powered down: so much, or half of it. */
const AFTER_GRACE_MS = 5_000;
const graceWithin = (deadlineMs: number): number => Math.max(deadlineMs / 2, deadlineMs - AFTER_GRACE_MS);

export class Operation<R extends LeaseRequest = LeaseRequest> {
  readonly request: R;
  readonly stamps: Partial<Record<AgentPhase, number>> = {};
  readonly #clock: Clock;
  readonly #listeners = new Set<Reply>();
  readonly #timer: Timer;
  readonly #broken: Promise<never>;
  #break: (fault: AgentFault) => void = () => undefined;
  #fault: AgentFault | undefined;
  #answer: Done | undefined;
  #step: Promise<unknown> = Promise.resolve();
  readonly #begun: number;
  /** ms after its taking at which the guest's time to power down is over. */
  #graceEnd: number;
  readonly #hurry = new AbortController();
  readonly #over = new AbortController();

  constructor(request: R, clock: Clock) {
    this.request = request;
    this.#clock = clock;
    this.#begun = clock.monotonic();
    this.#graceEnd = request.op === 'remove' || request.op === 'save' || request.op === 'shutdown' ? Math.min(request.graceMs ?? 0, graceWithin(request.deadlineMs)) : 0;
    this.#broken = new Promise<never>((_, reject) => { this.#break = reject; });
    this.#broken.catch(() => undefined);
    this.#timer = clock.after(request.deadlineMs, () => {
      const fault = new AgentFault('DeadlineExceeded', `${request.op} of ${request.lease} did not finish within ${request.deadlineMs} ms`);
      this.breakOff(fault);
      this.answer({ id: request.id, ok: false, error: { code: fault.code, message: fault.message }, stamps: { ...this.stamps } });
    }, true);
    this.stamps.received = clock.now();
  }

  /** Of a removal or a save: what the guest has left to power down, waiting for the operation's turn included; 0 or less = nothing. */
  get graceMs(): number {
    return this.#graceEnd - this.#elapsedMs;
  }

  /** Fires when the grace was shortened and that is over. */
  get hurry(): AbortSignal {
    return this.#hurry.signal;
  }

  /** Fires when the operation is broken off. */
  get broken(): AbortSignal {
    return this.#over.signal;
  }

  /** The guest has `ms` from now, unless it had less. */
  hasten(ms: number): void {
    const end = this.#elapsedMs + ms;
    if (end >= this.#graceEnd) return;
    this.#graceEnd = end;
    this.#clock.after(ms, () => this.#hurry.abort(), true);
  }

  get #elapsedMs(): number {
    return this.#clock.monotonic() - this.#begun;
  }

  get fault(): AgentFault | undefined {
    return this.#fault;
  }

  get answered(): Done | undefined {
    return this.#answer;
  }

  /** Also for a repetition of the same request, over the same connection or another. */
  listen(reply: Reply): void {
    reply.ack(this.request.id);
    this.#listeners.add(reply);
  }

  reach(phase: AgentPhase): void {
    const at = this.#clock.now();
    this.stamps[phase] = at;
    for (const reply of this.#listeners) reply.progress(this.request.id, phase, at);
  }

  /** The steps that follow reject; the one under way is left to itself, see `settled`. */
  breakOff(fault: AgentFault): void {
    this.#fault ??= fault;
    this.#break(fault);
    this.#over.abort();
  }

  async step<T>(work: () => Promise<T>): Promise<T> {
    if (this.#fault !== undefined) throw this.#fault;
    const step = work();
    this.#step = step;
    return Promise.race([step, this.#broken]);
  }

  /** Resolves when the last step has ended, well or not. */
  settled(): Promise<void> {
    return this.#step.then(() => undefined, () => undefined);
  }

  /** The first answer counts. */
  answer(done: Done): void {
    if (this.#answer !== undefined) return;
    this.#answer = done;
    this.#timer.cancel();
    for (const reply of this.#listeners) reply.done(done);
    this.#listeners.clear();
  }

  /** A connection has gone. */
  leave(reply: Reply): void {
    this.#listeners.delete(reply);
  }
}
