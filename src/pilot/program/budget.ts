/**
 * What is left of the grace. It begins to run with the batch system's signal, or when the pilot's own time is over (the batch
 * system's limit is that time and the grace). Whatever waits for others asks here; giving memory back asks nobody.
 */
import type { Clock } from '../../control/agent/clock.ts';

const LONGEST_REQUEST_MS = 5_000;
const SHORTEST_WAIT_MS = 100;

export class Budget {
  readonly #clock: Clock;
  readonly #graceMs: number;
  #endsAt: number | null = null;

  constructor(clock: Clock, graceMs: number) {
    this.#clock = clock;
    this.#graceMs = graceMs;
  }

  /** The grace runs from now on; only the first call counts. */
  start(): void {
    this.#endsAt ??= this.#clock.monotonic() + this.#graceMs;
  }

  /** ms */
  left(): number {
    return this.#endsAt === null ? this.#graceMs : Math.max(0, this.#endsAt - this.#clock.monotonic());
  }

  /** ms that one request to the service may take: never more than a quarter of what is left. */
  request(): number {
    return Math.max(SHORTEST_WAIT_MS, Math.min(LONGEST_REQUEST_MS, this.left() / 4));
  }
}
