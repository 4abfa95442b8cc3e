/** PostgreSQL's own log, kept small: what it writes to stderr goes to one file, which is moved aside in good time. */
import { closeSync, copyFileSync, fstatSync, openSync, readSync, statSync, truncateSync } from 'node:fs';
import type { Context } from '../../platform/context.ts';
import { errorText } from '../../platform/errors.ts';

const LARGEST = 4 * 1024 * 1024;
const CHECK_MS = 60_000;

/** Looks every minute until stopped. The file is open for appending in PostgreSQL, so it is copied and emptied, not renamed. */
export function boundServerLog(ctx: Context, file: string): () => void {
  let timer = ctx.clock.after(CHECK_MS, check, true);
  function check(): void {
    try {
      if (statSync(file).size > LARGEST) {
        copyFileSync(file, `${file}.1`);
        truncateSync(file);
      }
    } catch (e) {
      ctx.log.warn("PostgreSQL's log could not be moved aside", { file, error: errorText(e) });
    }
    timer = ctx.clock.after(CHECK_MS, check, true);
  }
  return () => timer.cancel();
}

/** Its last lines, for the message when PostgreSQL does not start. */
export function serverLogTail(file: string, bytes = 2000): string {
  const fd = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(bytes);
    const read = readSync(fd, buffer, 0, bytes, Math.max(0, fstatSync(fd).size - bytes));
    return buffer.toString('utf8', 0, read).trim();
  } finally {
    closeSync(fd);
  }
}

export function serverLogSize(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

const MOST_SAID = 8 * 1024;
/** Time and process, as PostgreSQL's default log_line_prefix writes them. */
const PREFIX = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+ \[\d+\] /;
/** What is no reason for its end: how far it came. */
const PASSING = /^(LOG|NOTICE|WARNING|STATEMENT|CONTEXT): /;
const LINES_SAID = 6;

/**
 * Why PostgreSQL ended, in its own words of this start: what it logged since the file had `from` bytes, without what is no reason. Where
 * there is nothing but that, its last lines.
 */
export function reasonInServerLog(file: string, from: number): string {
  const lines = serverLogTail(file, Math.min(MOST_SAID, Math.max(0, serverLogSize(file) - from))).split('\n').map((l) => l.replace(PREFIX, '').trim()).filter((l) => l !== '');
  const reasons = lines.filter((l) => !PASSING.test(l));
  return (reasons.length > 0 ? reasons : lines).slice(-LINES_SAID).map((l) => l.replace(/: +/, ': ')).join('; ');
}
