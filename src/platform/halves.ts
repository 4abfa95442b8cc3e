/**
 * Runs items as one batch; when the batch fails, its halves alone, and so on: what one bad item spoils is that item, at the
 * price of a few more runs. Items keep their order.
 */
export async function inHalves<Item, Result>(
  items: readonly Item[],
  run: (items: readonly Item[]) => Promise<ReadonlyArray<Result | Error>>,
  /** Errors that no smaller batch would escape. */
  hopeless: (e: unknown) => boolean,
): Promise<ReadonlyArray<Result | Error>> {
  try {
    return await run(items);
  } catch (e) {
    const error = e instanceof Error ? e : new Error(String(e));
    if (items.length <= 1 || hopeless(e)) return items.map(() => error);
    const middle = Math.ceil(items.length / 2);
    const first = await inHalves(items.slice(0, middle), run, hopeless);
    return [...first, ...await inHalves(items.slice(middle), run, hopeless)];
  }
}
