/** Types of values that several sections of the configuration share. */
import { z } from 'zod';
import { parseDuration } from '../lease/duration.ts';
import { isName } from '../lease/ids.ts';

/** Seconds, written as `"90m"`, `"1d12h"`, `"PT2H"` or a number of seconds. */
export const duration = z.union([z.string(), z.number()], 'must be a time like "90m", "2h" or "1d12h", or seconds').transform((v, ctx) => {
  const seconds = parseDuration(String(v));
  if (seconds === undefined) {
    ctx.addIssue({ code: 'custom', message: `"${v}" is no duration; write e.g. "90m", "2h" or "1d12h"` });
    return z.NEVER;
  }
  return seconds;
});
export const name = z.string().refine(isName, 'must be 1 to 64 letters, digits, ".", "_" or "-"');
export const listen = z.string().regex(/^(?:\*|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):\d{1,5}$/, 'must be HOST:PORT, or [ADDRESS]:PORT of IPv6; port 0 takes a free one');
/** What a relative path means would depend on where the service, or a command without it, is started. */
export const file = z.string().regex(/^(?:\/[^\x00-\x1f]*)?$/, 'must be an absolute path, or empty');
export const positive = z.int().positive();

/** A key as it is written in the file. */
export function keyOf(path: readonly PropertyKey[]): string {
  return path.map(String).map((step) => (/^[A-Za-z0-9_-]+$/.test(step) ? step : JSON.stringify(step))).join('.');
}
