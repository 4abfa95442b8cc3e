/**
 * Line framing, used by both sides of the protocol (`protocol.ts`): bytes in, whole lines out, never more than `limit`
 * bytes held for a line that has not ended.
 */
import { MAX_LINE } from './protocol.ts';

const NEWLINE = 10;

export interface LineReader {
  /** Takes the next bytes of the stream; calls back before it returns. */
  push(chunk: Buffer): void;
  /** No further call-back, whatever is pushed. */
  stop(): void;
}

/** `onTooLong` is called once; the reader has stopped by then and its connection must be ended. */
export function lineReader(onLine: (text: string) => void, onTooLong: () => void, limit: number = MAX_LINE): LineReader {
  let pieces: Buffer[] = [];
  let held = 0;
  let stopped = false;

  const take = (piece: Buffer): boolean => {
    held += piece.length;
    if (held > limit) return false;
    if (piece.length > 0) pieces.push(piece);
    return true;
  };
  const stop = (): void => {
    stopped = true;
    pieces = [];
  };

  return {
    push(chunk) {
      let from = 0;
      while (!stopped) {
        const end = chunk.indexOf(NEWLINE, from);
        if (!take(chunk.subarray(from, end === -1 ? chunk.length : end))) {
          stop();
          onTooLong();
          return;
        }
        if (end === -1) return;
        from = end + 1;
        const line = (pieces.length === 1 ? pieces[0] ?? Buffer.alloc(0) : Buffer.concat(pieces)).toString('utf8');
        pieces = [];
        held = 0;
        if (line !== '') onLine(line);
      }
    },
    stop,
  };
}

/** JSON never contains a raw newline, so one object is one line. */
export function encodeLine(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`, 'utf8');
}
