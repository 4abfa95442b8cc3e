/** The configuration: one TOML file, checked whole; every key has a default. `etc/nimbus.toml` is the commented default. */
import { readFileSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import { z } from 'zod';
import { contradictions } from './config-check.ts';
import { unusableFiles } from './config-files.ts';
import { misnamed, readableSections, sentences } from './config-mistakes.ts';
import { count, duration, durationOrZero, file, keyOf, listen, name, positive } from './config-types.ts';
import { outsideSections } from './config-outside.ts';
import { pilotSections } from './config-pilot.ts';
import { reasonText } from './errors.ts';

/** What agents take of one VM and of one request (src/control/agent/requests.ts): more would fail on every node. */
const leaseType = z.strictObject({
  memory_mb: positive.max(2 ** 24),
  cores: positive.max(1024),
  disk_mb: count.max(2 ** 30).default(0),
  networks: z.array(name).default([]),
});

/** An operation that ends a VM has its guest's notice beside its own time. */
const LONGEST_DEADLINE_MS = 86_400_000;
const LONGEST_GRACE_S = 43_200;

const localNode = z.strictObject({
  name,
  zone: name.default('default'),
  /** MiB for VMs; 0 = half of the machine's memory, at least enough for four default VMs */
  memory_mb: count.default(0),
  cores: count.default(0),
  driver: z.enum(['auto', 'qemu', 'simulated']).default('auto'),
  /** Address of this machine at which users reach guests behind forwarded ports */
  guest_address: z.ipv4('must be an IPv4 address, as 192.0.2.7').default('127.0.0.1'),
});

/** As clients write it before their requests; an IPv6 address stands in brackets. */
const PUBLIC = /^(?:(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?)?$/;

/** As `pg` reads them: the host may be left out, for a socket that the query names. */
function isDatabaseUrl(text: string): boolean {
  return /^postgres(?:ql)?:\/\/\S+$/.test(text) && URL.canParse(text.replace('@/', '@localhost/'));
}

const DEFAULT_TYPES = {
  'm1.small': { memory_mb: 128, cores: 1 },
  'm1.large': { memory_mb: 512, cores: 2 },
  'm1.xlarge': { memory_mb: 1024, cores: 4 },
};

export const configSchema = z.strictObject({
  site: z.strictObject({
    name: name.default('nimbus'),
    region: name.default('nimbus'),
  }).prefault({}),
  ec2: z.strictObject({
    listen: listen.default('127.0.0.1:8444'),
    /** Address that DescribeRegions names; empty = the listener's own */
    public_address: z.string().regex(PUBLIC, 'must be HOST or HOST:PORT, without http://, or empty').default(''),
    server_header: z.string().regex(/^[\x20-\x7e]*$/, 'must be printable ASCII').default('AmazonEC2'),
    /** PEM files; both set = HTTPS */
    tls_certificate: file.default(''),
    tls_key: file.default(''),
    max_body_bytes: positive.default(1024 * 1024),
    /** Seconds that a request's timestamp may differ from the clock */
    clock_skew: duration.default(300),
    terminated_visible: duration.default(3600),
    refuse_replays: z.boolean().default(true),
    /** Query signatures of version 1, which say neither host nor where a parameter's name ends */
    signature_v1: z.boolean().default(false),
    /** Requests of one account; 0 = any number */
    requests_per_second: count.default(0),
    /** And so many at once after a rest */
    request_burst: positive.default(100),
    /** `record`: security groups and their rules are kept, and not enforced; `refuse`: there is the default one only */
    security_groups: z.enum(['record', 'refuse']).default('record'),
    /** SOAP requests that are signed with certificates of the grid's authorities (grid.trust_directory) are their users'; always so with wsrf.listen */
    grid_certificates: z.boolean().default(false),
  }).prefault({}),
  database: z.strictObject({
    /** `postgres://…` of the site's own server; empty = a private PostgreSQL in the data directory */
    url: z.string().refine((v) => v === '' || isDatabaseUrl(v), 'must be postgres://USER:PASSWORD@HOST/DATABASE, or empty').default(''),
    pool: positive.max(100).default(10),
    /** Directory with the PostgreSQL programs; empty = searched */
    bin: file.default(''),
  }).prefault({}),
  lease: z.strictObject({
    default_duration: duration.default(86_400),
    max_duration: duration.default(14 * 86_400),
    max_group: positive.max(10_000).default(100),
    max_per_user: positive.default(10_000),
    default_type: name.default('m1.small'),
    default_network: name.default('public'),
    /** How long the groups of an ensemble wait for the last one */
    ensemble_wait: duration.default(3600),
  }).prefault({}),
  types: z.record(z.string(), leaseType).default(
    Object.fromEntries(Object.entries(DEFAULT_TYPES).map(([k, v]) => [k, leaseType.parse(v)])),
  ),
  scheduler: z.strictObject({
    /** greedy-static: the service owns its nodes; pilot: it borrows them from the batch system. */
    mode: z.enum(['greedy-static', 'pilot']).default('greedy-static'),
    strategy: z.enum(['greedy', 'round-robin']).default('greedy'),
    /** What guests of preemptible leases get to power down when others need their room; 0 = nothing */
    preemption_grace: durationOrZero.refine((s) => s <= LONGEST_GRACE_S, 'must be at most "12h"').default(120),
  }).prefault({}),
  /** Nodes on this machine, made at first start. Others are added with `nimbus node add`. */
  local_nodes: z.array(localNode).default([localNode.parse({ name: 'local-1' })]),
  ...pilotSections,
  control: z.strictObject({
    /** How agents on borrowed nodes are reached: over SSH, or on a channel that the pilot opens */
    transport: z.enum(['pilot', 'ssh']).default('pilot'),
    /** Deadlines of one operation on a node, ms */
    start_deadline_ms: positive.max(LONGEST_DEADLINE_MS).default(120_000),
    operation_deadline_ms: positive.max(LONGEST_DEADLINE_MS - LONGEST_GRACE_S * 1000).default(30_000),
    /** Longest pause between attempts to reach a node, ms */
    reconnect_max_ms: positive.default(30_000),
    /** A node that is silent so long is unreachable, ms */
    silence_ms: positive.default(15_000),
  }).prefault({}),
  images: z.strictObject({
    /** Empty = `images` in the data directory */
    directory: file.default(''),
    node_cache_mb: positive.default(20_480),
    /** MiB that the images of one user may have together before nothing more is saved for him */
    user_mb: positive.default(1_048_576),
  }).prefault({}),
  network: z.strictObject({
    mac_prefix: z.string().regex(/^[0-9A-Fa-f][26AEae](:[0-9A-Fa-f]{2}){2}$/, 'must be three octets, the first locally administered (second digit 2, 6, A or E)').default('A2:AA:BB'),
    /** Ports of a node that lead to guests' SSH on user-mode networks */
    forward_ports: z.string().regex(/^\d{1,5}-\d{1,5}$/, 'must be FROM-TO').default('42000-47999'),
  }).prefault({}),
  accounting: z.strictObject({
    /** Charged time of a lease is rounded up to a multiple of this */
    charge_granularity: duration.default(60),
  }).prefault({}),
  /** How long is kept what is over; 0 = for ever */
  retention: z.strictObject({
    /** Ended leases, with their events, their work, tags and client tokens */
    leases: durationOrZero.default(90 * 86_400),
    /** Ended slots, with their nodes and what their pilots said */
    slots: durationOrZero.default(90 * 86_400),
    /** Closed usage records */
    usage: durationOrZero.default(0),
  }).prefault({}),
  ...outsideSections,
  /** Grid services */
  wsrf: z.strictObject({
    /** Grid clients, over TLS with the certificate of [grid]; empty = nowhere */
    listen: z.union([z.literal(''), listen], 'must be HOST:PORT, or empty').default(''),
    /** For clients that know TLS 1.0 to 1.2 at most; empty = nowhere */
    legacy_listen: z.union([z.literal(''), listen], 'must be HOST:PORT, or empty').default(''),
    /** HOST:PORT that references and descriptions name; empty = the one by which a client came */
    public_address: z.union([z.literal(''), listen], 'must be HOST:PORT, or empty').default(''),
    /** What grid clients are told that the site runs, and may ask for */
    cpu_architectures: z.array(z.enum(['sparc', 'powerpc', 'x86', 'x86_32', 'x86_64', 'parisc', 'mips', 'ia64', 'arm', 'other'])).min(1).default(['x86', 'x86_64']),
    vmm_type: z.enum(['Xen', 'VMware']).default('Xen'),
    vmm_versions: z.array(z.string().min(1).max(32)).default(['3']),
    max_body_bytes: positive.default(1024 * 1024),
    /** Addresses and networks to which notifications may go although they are this machine's, or of its link only */
    allowed_consumers: z.array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], 'must be an address, or a network as 10.0.0.0/8')).default([]),
    /** A consumer must take a notification within this, ms */
    consumer_deadline_ms: positive.default(10_000),
  }).prefault({}),
  /** Certificates of grid clients */
  grid: z.strictObject({
    /** Authorities, in the layout of Globus */
    trust_directory: file.default('/etc/grid-security/certificates'),
    /** Certificate names and their users, beside those of `nimbus user add --dn`; empty = none */
    mapfile: file.default(''),
    /** The host's certificate and key, PEM, for listeners of grid clients */
    tls_certificate: file.default(''),
    tls_key: file.default(''),
    /** How far clocks may differ */
    clock_skew: duration.default(300),
    crl: z.enum(['when-present', 'required']).default('when-present'),
    signing_policy: z.enum(['required', 'when-present']).default('required'),
    /** Certificates that are signed with SHA-1 are believed */
    sha1_chains: z.boolean().default(false),
    /** And messages */
    sha1_messages: z.boolean().default(true),
  }).prefault({}),
  simulated: z.strictObject({
    start_ms: count.default(150),
    stop_ms: count.default(50),
    /** Share of operations that fail, 0..1 */
    failure_rate: z.number().min(0).max(1).default(0),
  }).prefault({}),
  monitoring: z.strictObject({
    /** /healthz, /readyz and /metrics; empty = nowhere */
    listen: z.union([z.literal(''), listen], 'must be HOST:PORT, or empty').default('127.0.0.1:8445'),
  }).prefault({}),
  log: z.strictObject({
    level: z.enum(['error', 'warn', 'info', 'debug']).default('info'),
    /** Empty = stderr */
    file: file.default(''),
  }).prefault({}),
});

export type Config = z.infer<typeof configSchema>;

/** Every mistake of a configuration at once, each with its key and what is allowed. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  constructor(readonly file: string, readonly mistakes: readonly string[]) {
    super(`${file}: ${mistakes.length === 1 ? 'one mistake' : `${mistakes.length} mistakes`}\n${mistakes.map((m) => `  ${m}`).join('\n')}`);
  }
}

/** @throws ConfigError */
export function parseConfig(text: string, file: string, options: { files?: boolean } = {}): Config {
  let raw: unknown;
  try {
    raw = parse(text);
  } catch (e) {
    throw new ConfigError(file, [e instanceof TomlError ? `line ${e.line}: ${e.message.split('\n')[0] ?? ''}` : String(e)]);
  }
  const parsed = configSchema.safeParse(raw);
  const readable = parsed.success ? parsed.data : readableSections(configSchema, raw as Readonly<Record<string, unknown>>);
  const mistakes = [
    ...(parsed.success ? [] : sentences(configSchema, parsed.error)), ...misnamed(raw as Readonly<Record<string, unknown>>), ...contradictions(readable, new Set(parsed.error?.issues.map((i) => keyOf(i.path)))),
    ...(options.files === true ? unusableFiles(readable) : []),
  ];
  if (parsed.success && mistakes.length === 0) return parsed.data;
  throw new ConfigError(file, mistakes);
}

/**
 * @param options `files`: the files and directories that it names must be usable too
 * @throws ConfigError
 */
export function readConfig(file: string | undefined, options: { files?: boolean } = {}): Config {
  if (file === undefined) return configSchema.parse({});
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (e) {
    throw new ConfigError(file, [`cannot be read: ${reasonText(e)}`]);
  }
  return parseConfig(text, file, options);
}
