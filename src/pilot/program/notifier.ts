/**
 * Tells the service, in order, until it has acknowledged: messages stand in a spool on the node and in memory, the first
 * batch of them is under way, and after a failure it is sent again after a growing pause. Nothing here makes the pilot wait:
 * who wants to know whether a message has arrived asks `delivered`, with a deadline.
 */
import { appendFileSync } from 'node:fs';
import type { Clock, Timer } from '../../control/agent/clock.ts';
import type { Log } from '../../control/agent/log.ts';
import type { MessageState, PilotMessage } from '../protocol.ts';
import { DeliveryError } from './sender.ts';
import type { Sender } from './sender.ts';

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const MAX_PENDING = 1024;
/** Characters of a message's text. */
const MAX_TEXT = 2000;
/** A request that has taken so long is broken off when there is no time left to wait for it. */
const SLOW_MS = 250;

export interface NotifierParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly sender: Sender;
  /** 32 hex digits, new each time. */
  readonly newId: () => string;
  /** 0 ≤ r < 1 */
  readonly random: () => number;
  /** ms that one request may take now. */
  readonly deadlineMs: () => number;
  readonly heartbeatMs: number;
  /** The service wants the node back. `failed` = it does not take this pilot for what it is. */
  readonly onRelease: (why: string, failed: boolean) => void;
}

export type Outcome = 'delivered' | 'refused' | 'late';
type Draft = Omit<PilotMessage, 'id' | 'seq' | 'at'> & { readonly state: MessageState };

export class Notifier {
  readonly #parts: NotifierParts;
  readonly #pending: PilotMessage[] = [];
  readonly #waiting = new Map<string, (outcome: Outcome) => void>();
  readonly #outcomes = new Map<string, Outcome>();
  #spool: string | null = null;
  #spoolFailed = false;
  #seq = 0;
  #pauseMs = FIRST_PAUSE_MS;
  /** One of several was refused, and the others may be sound: they are sent alone until one has gone through. */
  #alone = false;
  #flight: AbortController | undefined;
  #flightBegan = 0;
  #timer: Timer | undefined;
  #heartbeat: Timer | undefined;
  #over = false;
  #complained = '';

  constructor(parts: NotifierParts) {
    this.#parts = parts;
  }

  /** Why the last attempt failed; empty when it did not. */
  get trouble(): string {
    return this.#complained;
  }

  /** From now on messages are written down in `file` before they leave, and silence is broken every `heartbeatMs`. */
  begin(file: string): void {
    this.#spool = file;
    this.#beat();
  }

  /** The spool's directory goes: what is said from now on is not written down. */
  endSpool(): void {
    this.#spool = null;
  }

  /** Puts a message on its way; its id. */
  post(draft: Draft): string {
    const { clock, newId } = this.#parts;
    this.#seq += 1;
    const text = draft.text === undefined ? {} : { text: draft.text.slice(0, MAX_TEXT) };
    const message: PilotMessage = { id: newId(), seq: this.#seq, at: clock.now(), ...draft, ...text };
    if (this.#over || this.#pending.length >= MAX_PENDING) {
      this.#outcomes.set(message.id, 'refused');
      return message.id;
    }
    this.#pending.push(message);
    this.#write(message);
    this.#soon();
    return message.id;
  }

  /** How it went with a message, at the latest after `ms`. */
  delivered(id: string, ms: number): Promise<Outcome> {
    const known = this.#outcomes.get(id);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => {
      const timer = this.#parts.clock.after(ms, () => settle('late'));
      const settle = (outcome: Outcome): void => {
        timer.cancel();
        this.#waiting.delete(id);
        resolve(outcome);
      };
      this.#waiting.set(id, settle);
    });
  }

  /** Sends what there is at once: the time that is left is short, and an answer that was waited for before it was may never come. */
  hurry(): void {
    this.#pauseMs = FIRST_PAUSE_MS;
    if (this.#flight === undefined) this.#soon();
    else if (this.#parts.clock.monotonic() - this.#flightBegan > SLOW_MS) this.#flight.abort();
  }

  close(): void {
    this.#over = true;
    this.#timer?.cancel();
    this.#heartbeat?.cancel();
    this.#flight?.abort();
    this.#parts.sender.close();
    for (const settle of [...this.#waiting.values()]) settle('late');
  }

  #soon(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#flight === undefined && !this.#over) void this.#send();
  }

  async #send(): Promise<void> {
    const { sender, deadlineMs } = this.#parts;
    while (this.#pending.length > 0 && !this.#over) {
      const batch = this.#pending.slice(0, this.#alone ? 1 : sender.batch);
      this.#flight = new AbortController();
      this.#flightBegan = this.#parts.clock.monotonic();
      try {
        const { acknowledged, release } = await sender.send(batch, deadlineMs(), this.#flight.signal);
        this.#answered(acknowledged, release);
      } catch (e) {
        this.#failed(batch, e);
        if (this.#timer !== undefined) return;
      } finally {
        this.#flight = undefined;
      }
    }
    this.#beat();
  }

  #answered(acknowledged: readonly string[], release: boolean): void {
    for (const id of acknowledged) this.#settle(id, 'delivered');
    if (acknowledged.length === 0) throw new DeliveryError('retry', 'the service acknowledged nothing');
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#alone = false;
    if (this.#complained !== '') this.#parts.log.info('the service is reached again');
    this.#complained = '';
    if (release) this.#parts.onRelease('the service wants the node back', false);
  }

  #failed(batch: readonly PilotMessage[], e: unknown): void {
    const { log, onRelease, clock, random } = this.#parts;
    const why = e instanceof Error ? e.message : String(e);
    if (this.#over) return;
    const aborted = this.#flight?.signal.aborted === true;
    if (!aborted && this.#complained !== why) log.warn('the service was not told', { state: batch[0]?.state, why });
    if (!aborted) this.#complained = why;
    if (e instanceof DeliveryError && e.trouble === 'final') {
      for (const { id } of [...this.#pending]) this.#settle(id, 'refused');
      return onRelease(why, !e.ended);
    }
    if (e instanceof DeliveryError && e.trouble === 'message') {
      if (batch.length > 1) this.#alone = true;
      else for (const { id } of batch) this.#settle(id, 'refused');
      return;
    }
    if (aborted) return;
    // Many pilots begin in the same moment: they must not come back in the same moment.
    const pauseMs = this.#pauseMs * (0.5 + random() / 2);
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * this.#pauseMs);
    this.#timer = clock.after(pauseMs, () => this.#soon());
  }

  #settle(id: string, outcome: Outcome): void {
    const at = this.#pending.findIndex((m) => m.id === id);
    const [message] = at === -1 ? [] : this.#pending.splice(at, 1);
    // Nobody asks after a sign of life, and a long pilot gives many.
    if (message !== undefined && message.state !== 'alive') this.#outcomes.set(id, outcome);
    this.#waiting.get(id)?.(outcome);
  }

  #beat(): void {
    this.#heartbeat?.cancel();
    if (this.#over || this.#spool === null) return;
    this.#heartbeat = this.#parts.clock.after(this.#parts.heartbeatMs, () => {
      if (this.#pending.length === 0) this.post({ state: 'alive', code: 0 });
    });
  }

  /** Kept for people who look for what was not said; a full disk keeps nothing. */
  #write(message: PilotMessage): void {
    if (this.#spool === null || message.state === 'alive') return;
    try {
      appendFileSync(this.#spool, `${JSON.stringify(message)}\n`, { mode: 0o600 });
    } catch (e) {
      if (!this.#spoolFailed) this.#parts.log.warn('the spool cannot be written', { why: (e as Error).message });
      this.#spoolFailed = true;
    }
  }
}
