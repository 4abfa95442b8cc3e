/**
 * Reads that wait share one answer. While a read is with the database, those of the same key that come meanwhile wait for
 * it to end, and then one read answers all of them: each sees what stood after it asked, never anything older.
 */
import { Fault } from '../lease/faults.ts';
import { createBatcher, type Batcher } from '../platform/batcher.ts';

/** More than the doors let in at once. */
const MOST_WAITING = 10_000;

export function sharedReads<Asked, Found>(read: (asked: readonly Asked[]) => Promise<Found>): (key: string, asked: Asked) => Promise<Found> {
  /** Of the keys that somebody waits for. */
  const keys = new Map<string, { readonly batcher: Batcher<Asked, Found>; waiting: number }>();

  const open = (): Batcher<Asked, Found> => createBatcher<Asked, Found>({
    most: MOST_WAITING,
    mostWaiting: MOST_WAITING,
    full: () => new Fault('Busy', 'Too many requests wait for the database; try again shortly.'),
    run: async (asked) => {
      const found = await read(asked);
      return asked.map(() => found);
    },
  });

  return async (key, asked) => {
    let of = keys.get(key);
    if (of === undefined) keys.set(key, of = { batcher: open(), waiting: 0 });
    of.waiting += 1;
    try {
      return await of.batcher.add(asked);
    } finally {
      of.waiting -= 1;
      if (of.waiting === 0) keys.delete(key);
    }
  };
}
