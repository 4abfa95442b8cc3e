/** Work of one lease runs in order, work of different leases at the same time, `parallel` at most. */
export class Lanes {
  readonly #parallel: number;
  /** Lane → what waits in it behind the one that runs or waits for its turn. */
  readonly #lanes = new Map<string, (() => Promise<void>)[]>();
  readonly #ready: string[] = [];
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(parallel: number) {
    this.#parallel = parallel;
  }

  /** `work` must not reject. */
  add(lane: string, work: () => Promise<void>): void {
    const waiting = this.#lanes.get(lane);
    if (waiting !== undefined) {
      waiting.push(work);
      return;
    }
    this.#lanes.set(lane, [work]);
    this.#ready.push(lane);
    this.#next();
  }

  get busy(): boolean {
    return this.#lanes.size > 0;
  }

  idle(): Promise<void> {
    return this.busy ? new Promise((resolve) => this.#idle.push(resolve)) : Promise.resolve();
  }

  #next(): void {
    while (this.#running < this.#parallel) {
      const lane = this.#ready.shift();
      if (lane === undefined) return;
      const work = this.#lanes.get(lane)?.shift();
      if (work === undefined) continue;
      this.#running += 1;
      void work().finally(() => this.#ended(lane));
    }
  }

  #ended(lane: string): void {
    this.#running -= 1;
    if (this.#lanes.get(lane)?.length === 0) this.#lanes.delete(lane);
    else this.#ready.push(lane);
    this.#next();
    if (!this.busy) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
