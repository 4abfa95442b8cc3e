/** The bounds of a policy as administrators write them: keys of a TOML file, or `key=value` on the command line. */
import { z } from 'zod';
import { formatDuration, parseDuration } from '../lease/duration.ts';
import { isPattern } from './patterns.ts';

const DAY_S = 86_400;
const LONGEST_PERIOD_DAYS = 366;
const MOST_PATTERNS = 100;
export const DEFAULT_PERIOD_DAYS = 30;

const count = z.int('must be a whole number').nonnegative('must be 0 or more').max(2 ** 31 - 1, 'is too large');

const duration = z.union([z.string(), z.number()], 'must be a duration').transform((v, ctx) => {
  const seconds = parseDuration(String(v));
  if (seconds !== undefined) return seconds;
  ctx.addIssue({ code: 'custom', message: `"${v}" is no duration; write e.g. "90m", "2h" or "1d12h"` });
  return z.NEVER;
});

const period = duration.refine((s) => s % DAY_S === 0 && s <= LONGEST_PERIOD_DAYS * DAY_S, `must be whole days, up to ${LONGEST_PERIOD_DAYS}d`);

const patterns = (what: string) => z.array(
  z.string().refine(isPattern, `must be ${what}: letters, digits, ".", "_" or "-", with * for any characters`), 'must be a list',
).max(MOST_PATTERNS, `has at most ${MOST_PATTERNS} patterns`);

export const boundsSchema = z.strictObject({
  /** Most at once. */
  leases: count.optional(),
  cores: count.optional(),
  memory_mb: count.optional(),
  /** VMs of one request. */
  group_size: count.optional(),
  /** Longest time of a lease, from its beginning to its end, s. */
  duration: duration.optional(),
  /** Charged in the period, and what live leases have reserved. */
  reserved_minutes: count.optional(),
  /** Charged in the period, and what live leases have used so far. */
  used_minutes: count.optional(),
  period: period.optional(),
  may_extend: z.boolean('must be true or false').optional(),
  /** `OWNER/NAME`, `NAME`, or an image id; `common` owns everyone's, `~` is the user. */
  images: patterns('OWNER/NAME or NAME').optional(),
  networks: patterns('a name').optional(),
  zones: patterns('a name').optional(),
  types: patterns('a name').optional(),
});
export type Bounds = z.infer<typeof boundsSchema>;
export type BoundName = Exclude<keyof Bounds, 'period'>;

export const KINDS = ['template', 'group', 'site'] as const;
export type PolicyKind = (typeof KINDS)[number];

/** What a policy is besides its bounds. */
export const headSchema = z.object({
  kind: z.enum(KINDS, `must be ${KINDS.slice(0, -1).join(', ')} or ${KINDS.at(-1)}`),
  description: z.string('must be a text').max(255, 'has at most 255 characters').regex(/^[^\0\r\n]*$/, 'must be one line'),
});

/** Whole days that minutes are counted over: today, UTC, and the days before it. */
export const periodDays = (bounds: Bounds): number => (bounds.period === undefined ? DEFAULT_PERIOD_DAYS : bounds.period / DAY_S);

const LISTS: ReadonlySet<string> = new Set(['images', 'networks', 'zones', 'types']);
const DURATIONS: ReadonlySet<string> = new Set(['duration', 'period']);

/** The value of `key=value` as the schema takes it; null = the bound goes. Whether it is allowed is the schema's to say. */
export function valueOf(key: string, text: string): unknown {
  if (text === '') return null;
  if (LISTS.has(key)) return text.split(',').map((t) => t.trim()).filter((t) => t !== '');
  if (text === 'true' || text === 'false') return text === 'true';
  return /^-?\d{1,15}$/.test(text) && !DURATIONS.has(key) ? Number(text) : text;
}

/** Lines of TOML that make the same bounds again, in the order of the schema. */
export function boundsToml(bounds: Bounds): string {
  const written: ReadonlyArray<[string, unknown]> = Object.keys(boundsSchema.shape).map((key) => [key, bounds[key as keyof Bounds]]);
  return written.filter(([, v]) => v !== undefined).map(([key, value]) => `${key} = ${DURATIONS.has(key) ? JSON.stringify(formatDuration(value as number)) : JSON.stringify(value)}\n`).join('');
}
