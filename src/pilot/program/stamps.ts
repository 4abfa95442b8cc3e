/** The moments of this pilot's life that the service is told, on this node's clock. */
import type { Clock } from '../../control/agent/clock.ts';
import type { PilotStamp, PilotStamps } from '../protocol.ts';

export class Stamps {
  readonly #clock: Clock;
  readonly #at: Partial<Record<PilotStamp, number>> = {};

  constructor(clock: Clock, startedAt: number) {
    this.#clock = clock;
    this.#at['pilot-start'] = startedAt;
  }

  /** The first time counts. */
  mark(stamp: PilotStamp, at = this.#clock.now()): void {
    this.#at[stamp] ??= at;
  }

  all(): PilotStamps {
    return { ...this.#at };
  }
}
