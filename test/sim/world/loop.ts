/**
 * Runs the world: everything that can be done at the present moment, then time goes on. Promises, ticks and streams of Node come
 * to rest within one turn of its event loop, because nothing in the world waits for the real one; `setImmediate` of simulated
 * programs is a queue here.
 */
import type { VirtualTime } from './time.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Loop {
  readonly #immediates: Array<() => void> = [];
  /** Called after each step. */
  afterStep: () => void = () => undefined;
  steps = 0;

  constructor(readonly time: VirtualTime) {}

  /** `setImmediate` of a simulated program. */
  readonly immediate = (fn: () => void): void => void this.#immediates.push(fn);

  /** Until nothing moves any more without time. */
  async settle(): Promise<void> {
    for (;;) {
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
      await this.#step();
    }
    this.time.skipTo(end);
  }

  async #step(): Promise<void> {
    await this.settle();
    this.steps += 1;
    this.afterStep();
  }
}
