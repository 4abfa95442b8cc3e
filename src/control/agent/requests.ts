/** The agent's door: one line of the service, validated once. Types and limits beyond it hold for the rest of the program. */
import { isIPv4 } from 'node:net';
import { isName } from '../../lease/ids.ts';
import type { Nic } from '../../lease/types.ts';
import { MAX_GENERATION, MAX_GROUP, PUT_CHUNK } from '../protocol.ts';
import type { AgentRequest, ImageRef, LeaseOpRequest, Seed, ServiceHello, ServiceLine, VmSpec } from '../protocol.ts';
import { AgentFault } from './fault.ts';
import { bad, base64, fieldsOf, flag, integer, list, nullable, oneOf, optional, record, text } from './validate.ts';
import type { Check } from './validate.ts';

const DAY_MS = 86_400_000;
/** EC2 allows 16 KiB of user data; sites may allow their grid clients more. */
const MAX_USER_DATA = 128 * 1024;
export const MAX_CONSOLE = 256 * 1024;
const MAX_IMAGE_BYTES = 2 ** 46;

const operationId = text(128, /^[\x21-\x7e]+$/);
/** Becomes the name of a file and a directory. */
const name: Check<string> = (value, at) => (typeof value === 'string' && isName(value) ? value : bad(at, 'must be a name: letters, digits, ".", "_", "-"'));
const generation = integer(0, MAX_GENERATION);
const sha256 = text(64, /^[0-9a-f]{64}$/);
const ipv4: Check<string> = (value, at) => (typeof value === 'string' && isIPv4(value) ? value : bad(at, 'must be an IPv4 address'));
const absolutePath = text(4096, /^\//);

const nic = record<Nic>({
  network: name,
  kind: oneOf('user', 'bridge'),
  // IFNAMSIZ leaves 15 characters (linux/if.h)
  bridge: nullable(text(15, /^[A-Za-z0-9][A-Za-z0-9._-]*$/)),
  mac: text(17, /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/),
  ip: ipv4,
  prefix: integer(0, 32),
  gateway: nullable(ipv4),
  dns: list(ipv4, 8),
  hostname: text(253),
});

const image = record<ImageRef>({
  id: name,
  sha256,
  format: oneOf('raw', 'qcow2'),
  sizeBytes: integer(1, MAX_IMAGE_BYTES),
  path: optional(absolutePath),
});

const seed = record<Seed>({
  instanceId: text(128),
  hostname: text(253),
  publicKeys: list(text(16_384), 64),
  userData: optional(base64(MAX_USER_DATA)),
});

const vm = record<VmSpec>({
  memoryMb: integer(1, 2 ** 24),
  cores: integer(1, 1024),
  diskMb: integer(0, 2 ** 30),
  image,
  nics: list(nic, 16),
  seed,
});

const base = {
  id: operationId,
  requestId: optional(text(128)),
  deadlineMs: integer(1, DAY_MS),
};
/** As much as a console's line shows of it. */
const MAX_NOTICE = 500;
const ofLease = { ...base, lease: name, generation };

type Op = AgentRequest['op'];
type RequestOf<O extends Op> = Extract<AgentRequest, { op: O }>;
const leaseOp = record<LeaseOpRequest>({
  ...ofLease, op: oneOf('remove', 'reboot', 'pause', 'resume', 'unpropagate', 'save', 'copy', 'shutdown', 'serialize'), graceMs: optional(integer(0, DAY_MS)), notice: optional(text(MAX_NOTICE)),
});

const REQUESTS: { readonly [O in Op]: Check<AgentRequest> } = {
  start: record<RequestOf<'start'>>({ ...ofLease, op: oneOf('start'), vm }),
  propagate: record<RequestOf<'propagate'>>({ ...ofLease, op: oneOf('propagate'), vm }),
  remove: leaseOp,
  reboot: leaseOp,
  pause: leaseOp,
  resume: leaseOp,
  unpropagate: leaseOp,
  save: leaseOp,
  copy: leaseOp,
  shutdown: leaseOp,
  serialize: leaseOp,
  console: record<RequestOf<'console'>>({ ...base, op: oneOf('console'), lease: name, maxBytes: integer(0, MAX_CONSOLE) }),
  'read-saved': record<RequestOf<'read-saved'>>({
    ...base, op: oneOf('read-saved'), lease: name, offset: integer(0, MAX_IMAGE_BYTES), maxBytes: integer(1, PUT_CHUNK),
  }),
  info: record<RequestOf<'info'>>({ ...base, op: oneOf('info'), lease: name }),
  list: record<RequestOf<'list'>>({ ...base, op: oneOf('list') }),
  status: record<RequestOf<'status'>>({ ...base, op: oneOf('status') }),
  release: record<RequestOf<'release'>>({ ...base, op: oneOf('release'), why: text(1024) }),
};

/** A request that cannot be read, with the id to answer it by. */
export interface Unreadable {
  readonly id: string;
  readonly fault: AgentFault;
}

export type ServiceMessage =
  | { readonly kind: 'hello'; readonly hello: ServiceHello }
  | { readonly kind: 'do'; readonly requests: readonly AgentRequest[]; readonly unreadable: readonly Unreadable[]; readonly single: boolean }
  | { readonly kind: 'put'; readonly put: PutChunk }
  | { readonly kind: 'ping'; readonly ping: number }
  | { readonly kind: 'retire'; readonly version: string };

export type PutChunk = Extract<ServiceLine, { put: unknown }>['put'];

const hello = record<{ program: 'nimbus'; version: string; protocol: number }>({
  program: oneOf('nimbus'), version: text(64), protocol: integer(0, 1000),
});
const put = record<PutChunk>({
  sha256, seq: integer(0, 2 ** 31), data: base64(PUT_CHUNK), total: integer(1, MAX_IMAGE_BYTES),
  last: flag,
});
const version = text(64);

/** @throws AgentFault BadRequest when the line as a whole cannot be answered request by request */
export function readServiceLine(line: string): ServiceMessage {
  const fields = fieldsOf(parseJson(line), '');
  if (Object.hasOwn(fields, 'do')) return readDo(fields['do']);
  if (Object.hasOwn(fields, 'ping')) return { kind: 'ping', ping: integer(-(2 ** 53 - 1), 2 ** 53 - 1)(fields['ping'], 'ping') };
  if (Object.hasOwn(fields, 'put')) return { kind: 'put', put: put(fields['put'], 'put') };
  if (Object.hasOwn(fields, 'hello')) return { kind: 'hello', hello: hello(fields['hello'], 'hello') as ServiceHello };
  if (Object.hasOwn(fields, 'retire')) return { kind: 'retire', version: version(fields['retire'], 'retire') };
  return bad('line', 'is of no known kind');
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return bad('line', 'is no JSON');
  }
}

function readDo(value: unknown): ServiceMessage {
  const single = !Array.isArray(value);
  const items: readonly unknown[] = single ? [value] : value;
  if (items.length > MAX_GROUP) return bad('do', `must have at most ${MAX_GROUP} requests`);
  const requests: AgentRequest[] = [];
  const unreadable: Unreadable[] = [];
  items.forEach((item, i) => {
    const at = single ? 'do' : `do[${i}]`;
    const id = operationId(fieldsOf(item, at)['id'], `${at}.id`);
    try {
      requests.push(readRequest(item, at));
    } catch (e) {
      if (!(e instanceof AgentFault)) throw e;
      unreadable.push({ id, fault: e });
    }
  });
  return { kind: 'do', requests, unreadable, single };
}

export function readRequest(value: unknown, at: string): AgentRequest {
  const op = fieldsOf(value, at)['op'];
  if (typeof op !== 'string' || !Object.hasOwn(REQUESTS, op)) return bad(`${at}.op`, `must be one of ${Object.keys(REQUESTS).join(', ')}`);
  return REQUESTS[op as Op](value, at);
}
