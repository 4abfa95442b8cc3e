/**
 * Runs the world: everything that can be done at the present moment, then time goes on. Promises, ticks and streams of Node come
 * to rest within one turn of its event loop, because nothing in the world waits for the real one; `setImmediate` of simulated
 * programs is a queue here.
 */
import type { VirtualTime } from './time.ts';

/** What moves so often at one moment moves for ever: a site of thousands of leases needs a fraction of it. */
const MOST_AT_A_MOMENT = 5_000;

/** The world would go on for ever without its time going on. */
export class Endless extends Error {}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Loop {
  readonly #immediates: Array<() => void> = [];
  /** Called after each step. */
  afterStep: () => void = () => undefined;
  steps = 0;
  #moment = -1;
  #atMoment = 0;

  constructor(readonly time: VirtualTime) {}

  /** `setImmediate` of a simulated program. */
  readonly immediate = (fn: () => void): void => void this.#immediates.push(fn);

  /** Until nothing moves any more without time. */
  async settle(): Promise<void> {
    for (;;) {
      this.#bound();
      await turn();
      const due = this.#immediates.splice(0);
      if (due.length === 0) return;
      for (const fn of due) fn();
    }
  }

  /** Passes so many ms, timer by timer. */
  async pass(ms: number): Promise<void> {
    const end = this.time.now + ms;
    await this.#step();
    for (let fn = this.time.next(end); fn !== undefined; fn = this.time.next(end)) {
      fn();
      for (let more = this.time.also(); more !== undefined; more = this.time.also()) more();
      await this.#step();
    }
    this.time.skipTo(end);
  }

  #bound(): void {
    const { now } = this.time;
    this.#atMoment = now === this.#moment ? this.#atMoment + 1 : 1;
    this.#moment = now;
    if (this.#atMoment <= MOST_AT_A_MOMENT) return;
    this.#atMoment = 0;
    throw new Endless(`at ${now.toFixed(0)} ms it moves for ever, and no time passes`);
  }

  async #step(): Promise<void> {
    await this.settle();
    this.steps += 1;
    this.afterStep();
  }
}
