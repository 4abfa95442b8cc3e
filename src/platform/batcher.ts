/**
 * Gathers what arrives while the last batch runs and hands it on together: many requests, one transaction. A batch starts
 * as soon as the one before has ended; nothing waits for a timer.
 */
import { turn } from './turns.ts';

export interface Batcher<Item, Result> {
  /** Rejects with what `full` makes when too much is waiting. */
  add(item: Item): Promise<Result>;
  /** Resolves when nothing is waiting or running. */
  idle(): Promise<void>;
  readonly waiting: number;
}

export function createBatcher<Item, Result>(options: {
  readonly most: number;
  readonly mostWaiting: number;
  /** A first batch waits until the event loop has read what came in on all sockets: for what comes from many at once. */
  readonly wholeTurn?: boolean;
  readonly full: () => Error;
  /** One outcome per item, in order; a thrown error is every item's. */
  readonly run: (items: readonly Item[]) => Promise<ReadonlyArray<Result | Error>>;
}): Batcher<Item, Result> {
  interface Entry {
    readonly item: Item;
    readonly resolve: (r: Result) => void;
    readonly reject: (e: unknown) => void;
  }
  const queue: Entry[] = [];
  let running: Promise<void> | undefined;

  async function runOne(entries: readonly Entry[]): Promise<void> {
    try {
      const results = await options.run(entries.map((e) => e.item));
      entries.forEach((e, i) => {
        const r = results[i];
        if (r instanceof Error) e.reject(r);
        else e.resolve(r as Result);
      });
    } catch (error) {
      for (const e of entries) e.reject(error);
    }
  }

  async function drain(): Promise<void> {
    // What one caller adds in one go travels together.
    await (options.wholeTurn === true ? turn() : Promise.resolve());
    while (queue.length > 0) await runOne(queue.splice(0, options.most));
    running = undefined;
  }

  return {
    add(item) {
      if (queue.length >= options.mostWaiting) return Promise.reject(options.full());
      return new Promise<Result>((resolve, reject) => {
        queue.push({ item, resolve, reject });
        running ??= drain();
      });
    },
    async idle() {
      while (running !== undefined) await running;
    },
    get waiting() {
      return queue.length;
    },
  };
}
