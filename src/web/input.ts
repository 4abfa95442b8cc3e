/** What administrators may send, checked once, here. */
import { z } from 'zod';
import { parseDuration } from '../lease/duration.ts';
import { Fault } from '../lease/faults.ts';
import { isName, LEASE_ID } from '../lease/ids.ts';
import { HOST_NAME } from '../pilot/protocol.ts';

const name = z.string().refine(isName, 'must be 1 to 64 letters, digits, ".", "_" or "-"');
const line = (longest: number) => z.string().max(longest).regex(/^[^\0\r\n]*$/, 'must be one line');
const path = line(4096).startsWith('/', 'must be an absolute path');
const ipv4 = z.ipv4('must be an IPv4 address');
const wholeNumber = z.int().nonnegative().max(2 ** 31 - 1);

const dn = line(4096).startsWith('/', 'must be in slash form, as "/O=Grid/CN=Alice"');
export const newUser = z.strictObject({ name, admin: z.boolean().default(false), dns: z.array(dn).max(20).default([]) });
export const userDn = z.strictObject({ dn });
export const userCertificate = z.strictObject({ certificate: z.string().max(65_536) });

const access = z.discriminatedUnion('transport', [
  z.strictObject({
    transport: z.literal('local'), stateDir: path, driver: z.enum(['auto', 'qemu', 'simulated']).default('auto'),
  }),
  z.strictObject({
    transport: z.literal('ssh'), host: line(255).min(1), port: z.int().min(1).max(65_535), user: line(64).min(1), hostKey: line(16_384).min(1),
  }),
]);
export const newNode = z.strictObject({
  name,
  zone: name.default('default'),
  memoryMb: wholeNumber.min(1),
  cores: wholeNumber.min(1),
  /** `*` = all */
  networks: z.array(z.union([z.literal('*'), name])).max(100).default(['*']),
  access,
});
export const nodeChange = z.strictObject({ active: z.boolean() });

export const newImage = z.strictObject({ name, owner: name.nullable().default(null), file: path, description: line(255).default('') });
export const imageChoice = z.union([
  z.strictObject({ id: line(32).min(1) }),
  z.strictObject({ name, owner: name.optional() }),
], 'must be id, or name and (for a user\'s own) owner');

export const newNetwork = z.strictObject({
  name,
  kind: z.enum(['user', 'bridge']),
  /** IFNAMSIZ is 16 with its NUL (netdevice(7)) */
  bridge: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/, 'must be the name of a network interface').optional(),
  netmask: line(15).min(1),
  gateway: ipv4.optional(),
  dns: z.array(ipv4).max(8).optional(),
});
export const newAddresses = z.array(z.strictObject({
  ip: ipv4,
  hostname: line(253).min(1).optional(),
  mac: line(17).min(1).optional(),
})).min(1).max(65_536);

const flag = z.enum(['true', 'false']).transform((v) => v === 'true');
export const leaseQuery = z.strictObject({
  user: name.optional(),
  live: flag.default(true),
  limit: z.coerce.number<string>().int().min(1).max(1000).default(1000),
  after: z.string().regex(LEASE_ID, 'must be a lease id').optional(),
});
/** Transaction and id of an event; PostgreSQL has 64 bits for the one and 63 for the other. */
const cursor = z.string().refine((text) => {
  const [, txid, id] = /^(\d{1,20})\.(\d{1,19})$/.exec(text) ?? [];
  return txid !== undefined && id !== undefined && BigInt(txid) < 2n ** 64n && BigInt(id) < 2n ** 63n;
}, 'must be the cursor of an event');
export const eventQuery = z.strictObject({
  lease: z.string().regex(LEASE_ID, 'must be a lease id').optional(),
  user: name.optional(),
  node: name.optional(),
  after: cursor.optional(),
  last: z.coerce.number<string>().int().min(0).max(1000).default(50),
});
export const newEnd = z.union([
  z.strictObject({ duration: z.string() }).transform(({ duration }, ctx) => {
    const durationS = parseDuration(duration);
    if (durationS !== undefined) return { durationS };
    ctx.addIssue({ code: 'custom', message: `"${duration}" is no duration; write e.g. "90m", "2h" or "1d12h"` });
    return z.NEVER;
  }),
  z.strictObject({ endsAt: z.int().positive() }),
]);
export const why = z.strictObject({ why: line(500).default('') });
const slotChoice = {
  node: z.string().regex(HOST_NAME, 'must be the name of a host').optional(),
  user: name.optional(),
  partition: line(64).min(1).optional(),
};
export const slotQuery = z.strictObject({ ...slotChoice, live: flag.default(true) });
export const killAll = z.strictObject({ ...slotChoice, why: line(500).default('') });
/** Beyond it there are no moments (ECMA-262, Time Values). */
const LAST_MOMENT = 8.64e15;
export const usageQuery = z.strictObject({ user: name.optional(), since: z.coerce.number<string>().int().nonnegative().max(LAST_MOMENT).optional() });

const duration = z.string().transform((text, ctx) => {
  const seconds = parseDuration(text);
  if (seconds !== undefined) return seconds;
  ctx.addIssue({ code: 'custom', message: `"${text}" is no duration; write e.g. "90m", "2h" or "1d12h"` });
  return z.NEVER;
});
/** What may stand in it is src/authorization/settings.ts, held against what the policy has already. */
export const policyChange = z.strictObject({
  kind: z.unknown().optional(),
  description: z.unknown().optional(),
  bounds: z.record(z.string().max(64), z.unknown()).default({}),
  replace: z.boolean().default(false),
});
export const policyUser = z.strictObject({ user: name });
export const explained = z.strictObject({
  user: name,
  minCount: z.int().min(1).max(100_000).default(1),
  maxCount: z.int().min(1).max(100_000).optional(),
  image: line(255).min(1),
  type: name.optional(),
  networks: z.array(name).max(8).optional(),
  zone: name.optional(),
  duration: duration.optional(),
  tags: z.record(line(128), line(256)).optional(),
});
export const fsckQuery = z.strictObject({ deep: flag.default(false) });
export const backupQuery = z.strictObject({ images: flag.default(false) });
export const fsckRepair = z.strictObject({ deep: z.boolean().default(false) });

/** @throws Fault ParameterInvalid with a reason for each mistake */
export function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new Fault('ParameterInvalid', 'The request has mistakes.', parsed.error.issues.flatMap(reasons));
}

/** Of a choice of forms, the mistakes in the form that was meant: the one with the fewest. */
function reasons(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const nearest = [...issue.errors].sort((a, b) => a.length - b.length)[0] ?? [];
    return nearest.map((i) => sentence([...issue.path, ...i.path], i));
  }
  return [sentence(issue.path, issue)];
}

function sentence(path: PropertyKey[], issue: z.core.$ZodIssue): string {
  const message = issue.code === 'unrecognized_keys' ? `unknown key ${issue.keys.join(', ')}` : issue.message;
  return path.length === 0 ? message : `${path.join('.')}: ${message}`;
}

/** @throws Fault LeaseIdMalformed */
export function leaseId(text: unknown): string {
  if (typeof text === 'string' && LEASE_ID.test(text)) return text;
  throw new Fault('LeaseIdMalformed', `"${String(text).slice(0, 64)}" is no lease id; one looks like i-0123456789abcdef0.`);
}
