/** Line framing that service and agent share: one JSON value a line, at most MAX_LINE bytes with its line feed. */
import { MAX_LINE } from './protocol.ts';

const LINE_FEED = 0x0a;

/**
 * Takes chunks of a byte stream and calls `onLine` for each whole line. Holds at most MAX_LINE bytes: a longer line calls
 * `onTooLong` once, and what follows is dropped.
 */
export function lineReader(onLine: (line: string) => void, onTooLong: () => void): (chunk: Buffer) => void {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let broken = false;

  const take = (last: Buffer): string => {
    const line = held.length === 0 ? last : Buffer.concat([...held, last]);
    held = [];
    heldBytes = 0;
    return line.toString('utf8');
  };

  return (chunk) => {
    let from = 0;
    while (!broken && from < chunk.length) {
      const end = chunk.indexOf(LINE_FEED, from);
      const piece = chunk.subarray(from, end === -1 ? chunk.length : end);
      if (heldBytes + piece.length >= MAX_LINE) {
        broken = true;
        held = [];
        onTooLong();
        return;
      }
      if (end === -1) {
        held.push(piece);
        heldBytes += piece.length;
        return;
      }
      from = end + 1;
      onLine(take(piece));
    }
  };
}

/** JSON.stringify escapes line feeds, so the line is one line. */
export function encodeLine(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`, 'utf8');
}
