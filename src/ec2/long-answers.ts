/**
 * Answers that hold many items are written with turns of the event loop in between: a thousand instances take some 30 ms,
 * for which nobody else would be served.
 */
import { turn } from '../platform/turns.ts';

type Values = Readonly<Record<string, unknown>>;

/** How an action's values are written: whole, or in pieces that together are the same. */
export interface Writer {
  (values: Values): string;
  readonly pieces: (values: Values) => Iterable<string>;
}

/** Items from which on an answer is written in pieces. */
const MANY = 100;
/** Characters between two turns: about 1 ms of work. */
const PIECE = 64 * 1024;

/** Text, or its octets in UTF-8. @param frame what stands before and after */
export async function written(write: Writer, values: Values, [before, after]: readonly [string, string]): Promise<string | Buffer> {
  if (itemsOf(values) < MANY) return before + write(values) + after;
  const octets: Buffer[] = [];
  let text = before;
  for (const piece of write.pieces(values)) {
    text += piece;
    if (text.length < PIECE) continue;
    octets.push(Buffer.from(text));
    text = '';
    await turn();
  }
  octets.push(Buffer.from(text + after));
  return Buffer.concat(octets);
}

/** Of the answer's lists, and of the lists within their items. */
function itemsOf(values: Values): number {
  let count = 0;
  for (const list of Object.values(values)) {
    if (!Array.isArray(list)) continue;
    count += list.length;
    for (const item of list as unknown[]) {
      if (typeof item !== 'object' || item === null) break;
      for (const inner of Object.values(item)) if (Array.isArray(inner)) count += inner.length;
    }
  }
  return count;
}
