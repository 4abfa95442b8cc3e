/** Long work in steps, between which the event loop serves others. */

/** What waits for the event loop is served first. */
export const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });

/** As `items.map(of)`, with a turn of the event loop after every so many. */
export async function mapInTurns<T, R>(items: readonly T[], every: number, of: (item: T) => R): Promise<R[]> {
  const made: R[] = [];
  for (const item of items) {
    if (made.length > 0 && made.length % every === 0) await turn();
    made.push(of(item));
  }
  return made;
}
