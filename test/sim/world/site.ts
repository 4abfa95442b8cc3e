/** The whole world of one seed: machines, network, database, the service's processes, and the time that they share. */
import { createHash } from 'node:crypto';
import { configSchema, type Config } from '../../../src/platform/config.ts';
import type { Context } from '../../../src/platform/context.ts';
import type { Caller } from '../../../src/manager/types.ts';
import { statement } from '../../../src/store/db.ts';
import { Machine, PAGE_MB } from '../node/machine.ts';
import { BatchSystem } from './batch.ts';
import { Database } from './database.ts';
import { Idle } from './idle.ts';
import { Loop } from './loop.ts';
import { More } from './more.ts';
import { Network } from './network.ts';
import type { Postgres } from './postgres.ts';
import { Process } from './process.ts';
import { Dice } from './random.ts';
import { startService, type Service, type Worker } from './service.ts';
import { EPOCH, VirtualTime } from './time.ts';
import { Trace } from './trace.ts';
import { CALM, type Weather } from './weather.ts';
import { SimulatedWeb } from './web.ts';

export interface SiteOptions {
  readonly seed: string;
  readonly postgres: Postgres;
  readonly nodes: number;
  /** Processes of the service on the one database. */
  readonly services: number;
  /** Time leaps over polls that would find nothing. */
  readonly leap: boolean;
  /** Faults are foretold (`Idle.brace`). */
  readonly foretold?: boolean;
  /** With policies, accounting and saved disks. */
  readonly more?: boolean;
  readonly config?: object;
  readonly simulated?: object;
  readonly show?: ((line: string) => void) | undefined;
}

export const NODE_MB = 1024;
export const NODE_CORES = 8;

const ACCOUNT = statement<{ id: number }>('sim-account', 'INSERT INTO account (name, owner_id, admin, created_at) VALUES ($1, $2, $3, $4) RETURNING id');
const NODE = statement<never>('sim-node', `INSERT INTO vmm_node (name, zone, memory_mb, cores, networks, access, created_at)
  VALUES ($1, 'default', $2, $3, '{*}', '{"transport": "ssh", "host": "sim", "port": 22, "user": "sim", "hostKey": "sim"}', $4)`);
const IMAGE = statement<never>('sim-image', 'INSERT INTO image (id, name, format, size_bytes, sha256, file, created_at) VALUES ($1, \'guest\', \'raw\', $2, $3, \'common/guest\', $4)');
const NETWORK = statement<{ id: number }>('sim-network', 'INSERT INTO network (name, kind, bridge, prefix, gateway, created_at) VALUES (\'public\', \'bridge\', \'br0\', 16, \'10.0.0.1\', $1) RETURNING id');
const ADDRESS = statement<never>('sim-address', `INSERT INTO network_address (network_id, ip, hostname, mac)
  SELECT $1, '10.0.1.0'::inet + n, 'vm' || n, 'a2:aa:bb:00:' || lpad(to_hex(n / 256), 2, '0') || ':' || lpad(to_hex(n % 256), 2, '0') FROM generate_series(1, $2) AS n`);
const ADDRESSES = 400;

export class Site {
  readonly dice: Dice;
  readonly time = new VirtualTime();
  readonly loop: Loop;
  readonly weather: Weather = { ...CALM };
  readonly trace: Trace;
  readonly network: Network;
  readonly database: Database;
  readonly machines: readonly Machine[];
  readonly config: Config;
  readonly users: readonly Caller[];
  readonly admin: Caller;
  readonly image = Buffer.from('a guest');
  readonly services: Service[] = [];
  /** Of each request for leases: how many were asked for. */
  readonly wishes = new Map<string, { readonly minCount: number; readonly maxCount: number }>();
  /** The machine that the service runs on. */
  readonly host = { clockOffset: 0 };
  readonly idle = new Idle(this);
  readonly web: SimulatedWeb;
  readonly more: More | undefined;
  /** In pilot mode. */
  readonly batch: BatchSystem | undefined;
  #lives = 0;

  constructor(readonly options: SiteOptions) {
    const { seed, postgres } = options;
    this.dice = new Dice(seed);
    this.loop = new Loop(this.time);
    this.trace = new Trace(this.time, options.show);
    this.network = new Network(this.time, this.dice.fork('network'), this.weather, this.trace);
    this.database = new Database(postgres, this.dice.fork('database'), this.weather, this.trace);
    this.config = configSchema.parse({ lease: { default_duration: 600, max_duration: 86_400 }, ...options.config });
    this.machines = Array.from({ length: options.nodes }, (_, i) => new Machine(`n${i + 1}`, NODE_MB + 1024, NODE_CORES, {
      network: this.network, random: this.dice.fork(`n${i + 1}`), trace: this.trace, immediate: this.loop.immediate, leap: options.leap ? this.idle.ofAgents() : undefined, simulated: { startMs: 150, stopMs: 50, ...options.simulated },
    }));
    this.database.onAnswer = (process, name) => this.idle.answered(process, name);
    this.network.maySilence = options.leap ? () => this.idle.linesMayBeSilent : () => false;
    this.web = new SimulatedWeb(this);
    this.batch = this.config.scheduler.mode === 'pilot' ? new BatchSystem(this) : undefined;
    this.more = options.more === true ? new More(this) : undefined;
    const { accounts } = this.#populate();
    const caller = (name: string, i: number): Caller => ({
      accountId: accounts[i] ?? 0, name, ownerId: String(i).padStart(12, '0'), requestId: `req-${name}`, door: name === 'root' ? 'admin' : 'ec2', admin: name === 'root',
    });
    this.users = ['alice', 'bob'].map(caller);
    this.admin = caller('root', 2);
  }

  #populate(): { accounts: number[] } {
    const { postgres } = this.options;
    const now = new Date(this.time.clockOf({ alive: true, pausedUntil: 0, clockOffset: 0 }).now());
    postgres.reset();
    postgres.now = () => EPOCH + this.time.now;
    const accounts = ['alice', 'bob', 'root'].flatMap((name, i) => postgres.query(ACCOUNT, [name, String(i).padStart(12, '0'), name === 'root', now]).map((r) => r.id));
    if (this.batch === undefined) for (const m of this.machines) postgres.query(NODE, [m.name, NODE_MB, NODE_CORES, now]);
    postgres.query(IMAGE, ['ami-00000000000000001', this.image.length, this.digestOf(this.image), now]);
    const [network] = postgres.query(NETWORK, [now]);
    postgres.query(ADDRESS, [network?.id, ADDRESSES]);
    this.more?.populate(accounts, now);
    return { accounts };
  }

  digestOf(bytes: Buffer): string {
    return createHash('sha256').update(bytes).digest('hex');
  }

  /** Those that live and answer. */
  ready(): Service[] {
    return this.services.filter((s) => s.process.alive && s.ready);
  }

  /** MiB that a machine has for VMs now. */
  roomOf(machine: Machine): number {
    return this.batch === undefined ? NODE_MB : machine.hugePages * PAGE_MB;
  }

  /** What LISTEN and NOTIFY do; nobody relies on it. */
  #wakeOthers(teller: Process): void {
    for (const s of this.ready()) {
      if (s.process === teller || this.dice.chance(this.weather.lost)) continue;
      this.time.after(this.network.latency(), () => { if (s.process.alive && s.process.pausedUntil <= this.time.now) s.woken(); });
    }
  }

  startService(): Service {
    this.#lives += 1;
    const process = new Process(`service${this.#lives}@host`, this.time, this.host);
    const ctx = { clock: process.clock, random: this.dice.fork(`service ${this.#lives}`), log: this.trace.logOf(process) };
    const taken = new Set(this.services.map((s) => s.place));
    const place = Array.from({ length: this.options.services }, (_, i) => `/data/${i}`).find((p) => !taken.has(p)) ?? '/data/0';
    const worker = (name: Worker | 'control'): Context => (this.options.leap ? { ...ctx, clock: process.leapingClock(this.idle.leap(process, name)) } : ctx);
    const service = startService({
      process, ctx, worker, place, life: this.#lives, tellOthers: () => this.#wakeOthers(process), db: this.database.connect(process), config: this.config, image: this.image, lrm: this.batch?.of(process), more: this.more,
      machine: (name) => this.machines.find((m) => m.name === name),
      reachable: (m) => m.up && !this.network.cutOff.has(m.name) && !this.network.cutOff.has('host'),
    });
    process.atEnd(() => this.services.splice(this.services.indexOf(service), 1));
    this.services.push(service);
    this.idle.disturb(this.batch === undefined ? ['services'] : undefined);
    this.trace.add('service starts', process.name);
    return service;
  }
}
