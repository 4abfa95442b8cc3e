/** Types of values that several sections of the configuration share. */
import { z } from 'zod';
import { parseDuration } from '../lease/duration.ts';
import { isName } from '../lease/ids.ts';

/** Half a century: seconds that the database counts a lease with, and a moment that far from now is one for all. */
const LONGEST_DAYS = 18_262;

/** Seconds, written as `"90m"`, `"1d12h"`, `"PT2H"` or a number of seconds; `zero`: 0 says something of its own, none or for ever. */
function time(zero: boolean) {
  const orZero = zero ? ', or 0' : '';
  return z.union([z.string(), z.number()], `must be a time like "90m", "2h" or "1d12h", or seconds${orZero}`).transform((v, ctx) => {
    if (zero && v === 0) return 0;
    const seconds = parseDuration(String(v));
    if (seconds !== undefined && seconds <= LONGEST_DAYS * 86_400) return seconds;
    ctx.addIssue({ code: 'custom', message: seconds === undefined ? `"${v}" is no duration; write e.g. "90m", "2h" or "1d12h"${orZero}` : `must be at most "${LONGEST_DAYS}d"` });
    return z.NEVER;
  });
}
export const duration = time(false);
export const durationOrZero = time(true);
export const name = z.string().refine(isName, 'must be 1 to 64 letters, digits, ".", "_" or "-"');
export const listen = z.string().regex(/^(?:\*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):\d{1,5}$/, 'must be HOST:PORT, or [ADDRESS]:PORT of IPv6; port 0 takes a free one');
/** What a relative path means would depend on where the service, or a command without it, is started. */
export const file = z.string().regex(/^(?:\/[^\x00-\x1f]*)?$/, 'must be an absolute path, or empty');
/** What the database counts with. */
const MOST = 2 ** 31 - 1;
export const positive = z.int().max(MOST).positive();
export const count = z.int().max(MOST).nonnegative();

/** A key as it is written in the file. */
export function keyOf(path: readonly PropertyKey[]): string {
  return path.map(String).map((step) => (/^[A-Za-z0-9_-]+$/.test(step) ? step : JSON.stringify(step))).join('.');
}
