/** Line framing that service and agent share: one JSON value a line, at most MAX_LINE bytes with its line feed. */
import { MAX_LINE } from './protocol.ts';

const LINE_FEED = 0x0a;
const FIRST_HOLD = 4096;

/**
 * Takes chunks of a byte stream and calls `onLine` for each whole line. A longer line than MAX_LINE calls `onTooLong`
 * once, and what follows is dropped. The unfinished line is copied into one growing buffer: kept as chunks, a peer that
 * sends single bytes could make it cost a hundred times the line.
 */
export function lineReader(onLine: (line: string) => void, onTooLong: () => void): (chunk: Buffer) => void {
  let held = Buffer.alloc(0);
  let length = 0;
  let broken = false;

  const hold = (piece: Buffer): void => {
    if (length + piece.length > held.length) {
      const grown = Buffer.alloc(Math.min(MAX_LINE, Math.max(FIRST_HOLD, 2 * (length + piece.length))));
      held.copy(grown, 0, 0, length);
      held = grown;
    }
    piece.copy(held, length);
    length += piece.length;
  };

  const finish = (piece: Buffer): string => {
    if (length === 0) return piece.toString('utf8');
    hold(piece);
    const line = held.toString('utf8', 0, length);
    held = Buffer.alloc(0);
    length = 0;
    return line;
  };

  return (chunk) => {
    let from = 0;
    while (!broken && from < chunk.length) {
      const end = chunk.indexOf(LINE_FEED, from);
      const piece = chunk.subarray(from, end === -1 ? chunk.length : end);
      if (length + piece.length >= MAX_LINE) {
        broken = true;
        held = Buffer.alloc(0);
        onTooLong();
        return;
      }
      if (end === -1) return hold(piece);
      from = end + 1;
      onLine(finish(piece));
    }
  };
}

/** JSON.stringify escapes line feeds, so the line is one line. */
export function encodeLine(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`, 'utf8');
}
