/** Reads what agents say. An agent is not trusted: a line that is not exactly what the protocol allows ends its channel. */
import { z } from 'zod';
import { isName } from '../../lease/ids.ts';
import { ABILITIES, AGENT_PHASES, MAX_GENERATION, VM_STATES, type AgentHello, type AgentLine } from '../protocol.ts';

const id = z.string().min(1).max(128);
/** What becomes part of a statement, a command that users are shown or a log line holds nothing that steers any of them. */
const plain = (longest: number) => z.string().max(longest).regex(/^[\x20-\x7e]*$/);
const lease = z.string().refine(isName);
const host = z.string().max(255).regex(/^[A-Za-z0-9][A-Za-z0-9.:_-]*$/);
/** Sentences are cut, not refused: a driver may say a lot. */
const text = z.string().transform((s) => s.slice(0, 8192));
/** A moment that Date knows. */
const stamp = z.number().min(0).max(8.64e15);
const count = z.int().nonnegative();
const generation = count.max(MAX_GENERATION);
const driver = z.enum(['qemu', 'simulated']);

const hello = z.object({
  program: z.literal('workspace-control'),
  version: plain(64),
  protocols: z.array(count).max(16),
  node: plain(255),
  bootId: plain(64),
  pid: count,
  driver,
  can: z.array(plain(64)).max(64).transform((all) => ABILITIES.filter((a) => all.includes(a))).optional(),
  at: stamp,
});

const vm = z.object({
  lease,
  generation,
  state: z.enum(VM_STATES),
  memoryMb: count,
  cores: count,
  image: z.string().max(256),
  pid: count.nullable(),
  reach: z.object({ host, sshPort: z.int().min(1).max(65_535), forwarded: z.boolean() }).nullable(),
  startedAt: stamp.nullable(),
  reason: text.nullable(),
});

const status = z.object({
  driver,
  accelerator: plain(64).nullable(),
  qemuVersion: plain(256).nullable(),
  memoryMb: count,
  cores: count,
  diskFreeMb: count,
  cacheMb: count,
  vms: count,
  missing: z.array(text).max(100),
});

const error = z.object({
  code: z.enum([
    'StaleGeneration', 'ImageMissing', 'ImageCorrupt', 'NoSuchVm', 'WrongState', 'BadRequest', 'DeadlineExceeded',
    'CacheFull', 'DiskFull', 'NoPort', 'DriverFailed', 'NotPermitted', 'Retiring', 'Internal',
  ]),
  message: text,
});

const stamps = z.partialRecord(z.enum(AGENT_PHASES), stamp);
const result = z.union([
  z.object({ vm }),
  z.object({ vms: z.array(vm) }),
  z.object({ console: z.string(), truncated: z.boolean(), at: stamp }),
  z.object({ saved: z.string(), totalBytes: count }),
  z.object({ status }),
  z.object({ releasing: z.literal(true) }),
]);
const done = z.discriminatedUnion('ok', [
  z.object({ id, ok: z.literal(true), result, stamps }),
  z.object({ id, ok: z.literal(false), error, stamps }),
]);

const shapes = {
  hello: z.object({ hello }),
  ack: z.object({ ack: z.array(id).max(4096) }),
  progress: z.object({ progress: z.object({ id, phase: z.enum(AGENT_PHASES), at: stamp }) }),
  done: z.object({ done: z.union([z.array(done), done]) }),
  event: z.object({ event: z.object({ kind: z.literal('vm-exited'), lease, generation, at: stamp, reason: text }) }),
  put: z.object({
    put: z.object({ sha256: z.string().max(64), seq: count, ok: z.boolean(), error: error.optional(), complete: z.boolean().optional() }),
  }),
  pong: z.object({ pong: count, at: stamp }),
  bye: z.object({ bye: text }),
} as const satisfies Record<string, z.ZodType>;

const isKind = (key: string): key is keyof typeof shapes => Object.hasOwn(shapes, key);

/** The line, or a sentence on what is wrong with it. */
export function readAgentLine(line: string): AgentLine | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return `no JSON: ${excerpt(line)}`;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return `no JSON object: ${excerpt(line)}`;
  const kind = Object.keys(value).find(isKind);
  if (kind === undefined) return `no line of this protocol: ${excerpt(line)}`;
  const read = shapes[kind].safeParse(value);
  if (read.success) return read.data as AgentLine;
  const issue = read.error.issues[0];
  return `"${kind}" with a wrong ${issue?.path.join('.') ?? 'value'}: ${excerpt(line)}`;
}

/** What an agent of any protocol version says first. */
export function isHello(line: AgentLine): line is { readonly hello: AgentHello } {
  return 'hello' in line;
}

const EXCERPT = 120;

/** The beginning of foreign text, safe in a log line and a terminal. */
export function excerpt(foreign: string, most = EXCERPT): string {
  const clean = foreign.slice(0, most).replace(/[^\x20-\x7e]/g, '?');
  return foreign.length > most ? `"${clean}…"` : `"${clean}"`;
}
