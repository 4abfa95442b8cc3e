/**
 * Virtual time. It goes on when nothing is left to do at the present moment, and then to the next timer at once. Timers of
 * the same moment fire in the order in which they were set.
 */
import type { Clock, Timer } from '../../../src/platform/context.ts';

/** 2026-01-01T00:00:00Z */
export const EPOCH = 1_767_225_600_000;

interface Alarm {
  at: number;
  order: number;
  fn: (() => void) | undefined;
  /** Of a poll: it is leapt over, to the next time that it would come, as long as it would find nothing. */
  readonly every?: number;
  readonly idle?: () => boolean;
  /** When it is made all the same. */
  readonly atLast?: number;
  readonly together?: true;
}

/** Which timers of a clock are polls. */
export interface Leap {
  /** Of a timer that is one: whether it would find nothing now. The same function for those that look for the same. */
  readonly polls: (ms: number, background: boolean) => (() => boolean) | undefined;
  /** Those of one moment are one step: none of them does anything that another could find. */
  readonly together?: true;
  /** ms after which a poll is made all the same: what waits for it to come has a patience of its own. */
  readonly most: number;
}

/** Whose clock it is: dead, its timers never fire; paused, they fire late. */
export interface Owner {
  readonly alive: boolean;
  readonly pausedUntil: number;
  /** ms that its wall clock is ahead. */
  readonly clockOffset: number;
}

export class VirtualTime {
  /** ms since the beginning. */
  #now = 0;
  #order = 0;
  /** Polls that were not made. */
  leapt = 0;
  readonly #heap: Alarm[] = [];
  /** Of the last timer. */
  #together = false;
  /** What the last poll asked that was leapt over, and when: others at that moment that ask the same are told the same. */
  #asked: (() => boolean) | undefined;
  #askedAt = -1;

  get now(): number {
    return this.#now;
  }

  /** Calls `fn` after `ms`, whoever is dead by then. */
  after(ms: number, fn: () => void): Timer {
    const alarm: Alarm = { at: this.#now + Math.max(0, ms), order: (this.#order += 1), fn };
    this.#push(alarm);
    return { cancel: () => { alarm.fn = undefined; } };
  }

  clockOf(owner: Owner, leap?: Leap): Clock {
    // A process' monotonic time begins with it.
    const born = this.#now;
    return {
      now: () => Math.floor(EPOCH + this.#now + owner.clockOffset),
      monotonic: () => this.#now - born,
      after: (ms, fn, background = false) => {
        const idle = leap?.polls(ms, background);
        const alarm: Alarm = {
          at: this.#now + Math.max(0, ms), order: (this.#order += 1), fn: undefined,
          ...(leap === undefined || idle === undefined ? {} : { every: ms, idle, atLast: this.#now + leap.most, ...(leap.together === true ? { together: leap.together } : {}) }),
        };
        alarm.fn = () => {
          if (!owner.alive) return;
          if (owner.pausedUntil <= this.#now) return fn();
          alarm.at = owner.pausedUntil;
          alarm.order = this.#order += 1;
          this.#push(alarm);
        };
        this.#push(alarm);
        return { cancel: () => { alarm.fn = undefined; } };
      },
    };
  }

  /** Goes to the next timer that is due until `end`, leaping over polls that would find nothing; undefined when there is none. */
  next(end: number): (() => void) | undefined {
    return this.#take(end, false);
  }

  /** The next of those that are done together with the last one. */
  also(): (() => void) | undefined {
    return this.#together ? this.#take(this.#now, true) : undefined;
  }

  #take(end: number, together: boolean): (() => void) | undefined {
    for (let top = this.#heap[0]; top !== undefined && (top.fn === undefined || (top.at <= end && (!together || top.together === true))); top = this.#heap[0]) {
      this.#pop();
      if (top.fn === undefined) continue;
      this.#now = Math.max(this.#now, top.at);
      if (!this.#isIdle(top) || top.at >= (top.atLast ?? Infinity)) {
        this.#together = top.together === true;
        this.#asked = undefined;
        return top.fn;
      }
      this.leapt += 1;
      top.at += top.every ?? 0;
      top.order = this.#order += 1;
      this.#push(top);
    }
    return undefined;
  }

  #isIdle({ idle }: Alarm): boolean {
    if (idle === undefined) return false;
    if (idle === this.#asked && this.#askedAt === this.#now) return true;
    if (!idle()) return false;
    this.#asked = idle;
    this.#askedAt = this.#now;
    return true;
  }

  /** Nothing fires on the way. */
  skipTo(at: number): void {
    this.#now = Math.max(this.#now, at);
  }

  #push(alarm: Alarm): void {
    const heap = this.#heap;
    let i = heap.push(alarm) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(alarm, heap[parent] as Alarm)) break;
      heap[i] = heap[parent] as Alarm;
      i = parent;
    }
    heap[i] = alarm;
  }

  #pop(): Alarm | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Alarm, heap[child] as Alarm)) child += 1;
      if (!before(heap[child] as Alarm, last)) break;
      heap[i] = heap[child] as Alarm;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

const before = (a: Alarm, b: Alarm): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
