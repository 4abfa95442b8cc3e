/** The sections of the configuration on pilot mode: leases on nodes that are borrowed from the site's batch system. */
import { z } from 'zod';
import { count, duration, durationOrZero, file, listen, positive } from './config-types.ts';

/** A word that a batch system takes as the name of a queue, account, property and the like. */
const word = z.string().regex(/^[A-Za-z0-9@%_.,:+&|=/-]*$/, 'must be letters, digits or one of @ % _ . , : + & | = / -');
const program = z.string().regex(/^[^\x00-\x1f]+$/, 'must be a program');
const words = z.array(z.string().regex(/^[^\x00-\x1f]*$/, 'must not hold control characters'));

const pilot = z.strictObject({
  /** The batch system's kind */
  lrm: z.enum(['slurm', 'pbs']).default('slurm'),
  /** The pilot on compute nodes, as a command */
  program: words.min(1).default(['/opt/nimbus/workspace-pilot']),
  /** `--configpath` of the pilot; empty = its own defaults */
  config_path: file.default(''),
  /** Where pilots report: HOST:PORT of the listener, and the URL that they are told (empty = the listener's own) */
  listen: listen.default('127.0.0.1:41999'),
  address: z.string().refine((v) => v === '' || (/^https?:\/\/[^\s/]+$/.test(v) && URL.canParse(v)), 'must be http://HOST:PORT or https://HOST:PORT, or empty').default(''),
  /** PEM files; both set = HTTPS. `tls_ca` is handed to pilots. */
  tls_certificate: file.default(''),
  tls_key: file.default(''),
  tls_ca: file.default(''),
  /** The account that pilots of the original share; empty = refused */
  legacy_account: word.default(''),
  legacy_secret: z.string().refine((v) => v === '' || v.length >= 15, 'must have at least 15 characters, or be empty').default(''),
  /** Time between polls of the batch system */
  poll: duration.default(10),
  /** Deadline of one of its commands */
  command_deadline: duration.default(30),
  /** A request that has waited so long is given up */
  pending_timeout: duration.default(86_400),
  /** From SIGTERM to SIGKILL; 0 = read from the batch system, else 30 s */
  grace: durationOrZero.default(0),
  /** A pilot whose channel is down and that was not heard for so long is gone */
  silence: duration.default(90),
  /** Time that a pilot may take before its node is ready and after its leases are over */
  padding: duration.default(60),
  /** Leases of one request that share a borrowed node */
  leases_per_node: positive.default(1),
  /** What a borrowed node has for VMs: MiB and cores; 0 = as much as is asked for */
  node_memory_mb: count.default(0),
  node_cores: count.default(0),
  /** Zone that users see */
  zone: z.string().default('batch'),
  /** Whom jobs are charged to: nobody in particular, the user's name, the name of the user's group, or one account for all */
  account_by: z.enum(['none', 'user', 'group', 'site']).default('none'),
  account: word.default(''),
  /** SSH to agents on borrowed nodes, with control.transport = "ssh": where a node is reached (manager/slots/ssh-address.ts) */
  ssh_address: z.string().regex(/^[A-Za-z0-9.:-]*\{(?:host|number)\}[A-Za-z0-9.:-]*$/, 'must be an address with {host} or {number} in it').default('{host}'),
  ssh_port: positive.max(65_535).default(22),
  /** Account of agents that are not a pilot's own (pilots of the original) */
  ssh_user: word.default('nimbus'),
  /** Empty = host keys come with pilots' messages */
  ssh_known_hosts: file.default(''),
}).prefault({});

/** Most at a time; 0 = no bound. `share` is of the nodes of the queue or partition, 0 to 1. */
const caps = z.strictObject({
  nodes: count.default(0),
  nodes_per_user: count.default(0),
  queued_slots: count.default(0),
  queued_slots_per_user: count.default(0),
  share: z.number().min(0).max(1).default(1),
}).prefault({});

/** How jobs of preemptible leases stand below the others; all empty = there are no such leases. */
const spot = z.strictObject({
  /** Slurm: in place of those of [slurm] */
  partition: word.default(''),
  qos: word.default(''),
  nice: z.int().min(0).max(2_147_483_645).default(0),
  /** PBS: in place of that of [pbs] */
  queue: word.default(''),
  priority: z.int().min(-1024).max(1023).default(0),
  /** Further options of sbatch or qsub, beside those of the other jobs */
  options: words.default([]),
  /** From SIGTERM to SIGKILL when they are displaced; 0 = as other jobs */
  grace: durationOrZero.default(0),
}).prefault({});

const slurm = z.strictObject({
  partition: word.default(''),
  qos: word.default(''),
  reservation: word.default(''),
  constraint: word.default(''),
  /** Whole nodes (`--exclusive --mem=0`); false = just what the VMs need */
  exclusive: z.boolean().default(true),
  /** Further options of sbatch, each an argument of its own */
  options: words.default([]),
  sbatch: program.default('sbatch'),
  squeue: program.default('squeue'),
  scancel: program.default('scancel'),
  scontrol: program.default('scontrol'),
  srun: program.default('srun'),
}).prefault({});

const pbs = z.strictObject({
  queue: word.default(''),
  /** Processors per node; 0 = the cores that the VMs need */
  ppn: count.default(0),
  /** Further node properties: `nodes=N:ppn=P:PROPERTIES` */
  properties: word.default(''),
  options: words.default([]),
  /** Starts the pilot on every node of a job of several */
  launcher: words.default(['pbsdsh', '-u']),
  /** The launcher hands its standard input to every pilot */
  launcher_stdin: z.boolean().default(false),
  /** Directory that all nodes share, for launchers that do not */
  shared_directory: file.default(''),
  qsub: program.default('qsub'),
  qdel: program.default('qdel'),
  qstat: program.default('qstat'),
}).prefault({});

/** Login node on which the batch system's commands run; empty host = this machine */
const loginNode = z.strictObject({
  host: z.string().default(''),
  port: positive.max(65_535).default(22),
  user: z.string().default(''),
  /** Empty = the service's operating key */
  key: file.default(''),
  /** Pinned key of the host, as in known_hosts */
  host_key: z.string().default(''),
}).prefault({});

export const pilotSections = { pilot, pilot_caps: caps, pilot_spot: spot, slurm, pbs, login_node: loginNode };

export type PilotConfig = z.infer<typeof pilot>;
export type SpotConfig = z.infer<typeof spot>;

/** Whether the site has said how jobs of preemptible leases stand below others. */
export const lendsSpot = (s: SpotConfig): boolean => s.partition !== '' || s.qos !== '' || s.nice !== 0 || s.queue !== '' || s.priority !== 0 || s.options.length > 0;
