/**
 * Reads that wait share one answer. While a read is with the database, those of the same key that come meanwhile wait for
 * it to end, and then one read answers all of them: each sees what stood after it asked, never anything older.
 */
export function sharedReads<Asked, Found>(read: (asked: readonly Asked[]) => Promise<Found>): (key: string, asked: Asked) => Promise<Found> {
  interface Turn {
    readonly done: Promise<Found>;
    next: { readonly asked: Asked[]; readonly done: Promise<Found> } | undefined;
  }
  /** One entry for each key that is with the database. */
  const turns = new Map<string, Turn>();

  function begin(key: string, asked: readonly Asked[]): Promise<Found> {
    const turn: Turn = { done: read(asked), next: undefined };
    turns.set(key, turn);
    const over = (): void => { if (turn.next === undefined) turns.delete(key); };
    turn.done.then(over, over);
    return turn.done;
  }

  return (key, asked) => {
    const turn = turns.get(key);
    if (turn === undefined) return begin(key, [asked]);
    if (turn.next === undefined) {
      const waiting = [asked];
      const next = (): Promise<Found> => begin(key, waiting);
      turn.next = { asked: waiting, done: turn.done.then(next, next) };
    } else {
      turn.next.asked.push(asked);
    }
    return turn.next.done;
  };
}
