/** The site's accounting, which usage events are delivered to: it remembers what it was told, is slow, fails, and is away for a while. */
import { OutsideFailed, type Outside } from '../../../src/platform/outside/index.ts';
import type { Violation } from './invariants.ts';
import type { Process } from './process.ts';
import type { Dice } from './random.ts';
import type { VirtualTime } from './time.ts';
import type { Trace } from './trace.ts';

export interface Told {
  readonly id: string;
  readonly kind: string;
  readonly lease: string;
  /** Of events about an interval. */
  readonly interval?: number;
  readonly chargedMinutes?: number;
}

/** Longest time of an answer; the service waits for five seconds. */
const SLOW_MS = 7_000;

export class SimulatedSink {
  /** Event id → what it was about. */
  readonly told = new Map<string, Told>();
  readonly broken: Violation[] = [];
  /** Shares of deliveries. */
  trouble = { fails: 0, loses: 0, slow: 0 };
  awayUntil = 0;
  /** Deliveries of what it knew already. */
  again = 0;

  constructor(private readonly time: VirtualTime, private readonly dice: Dice, private readonly trace: Trace) {}

  /** As one service process sees it. */
  of(process: Process, deadlineMs: number): Outside {
    return {
      ask: (input) => new Promise((resolve, reject) => {
        const failed = (why: string): void => reject(new OutsideFailed(why));
        process.clock.after(deadlineMs, () => failed('no answer in time'));
        this.time.after(this.dice.chance(this.trouble.slow) ? this.dice.wait(SLOW_MS) : this.dice.int(1, 50), () => {
          if (this.time.now < this.awayUntil || this.dice.chance(this.trouble.fails)) return process.alive ? failed('it is away') : undefined;
          this.#take((input as { events: readonly Told[] }).events);
          // It has them, and nobody hears of it.
          if (process.alive && !this.dice.chance(this.trouble.loses)) resolve(null);
        });
      }),
      close: () => Promise.resolve(),
    };
  }

  #take(events: readonly Told[]): void {
    this.trace.add('sink is told', events.map((e) => `${e.id} ${e.kind} ${e.lease}`).join(', '));
    for (const e of events) {
      const before = this.told.get(e.id);
      if (before !== undefined && JSON.stringify(before) !== JSON.stringify(e)) this.broken.push({ says: 'the id of a usage event names one event for ever', of: `${e.id}: ${JSON.stringify(before)}, then ${JSON.stringify(e)}` });
      if (before !== undefined) this.again += 1;
      this.told.set(e.id, e);
    }
  }
}
