/** One seed, from an empty site to an empty site: users and faults in turn, then peace, then the end of every lease. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Faults } from './faults.ts';
import { Invariants, type Violation } from './invariants.ts';
import { Endless } from './loop.ts';
import type { Postgres } from './postgres.ts';
import { Dice } from './random.ts';
import { Site } from './site.ts';
import { ENSEMBLE_WAIT_S } from './grid.ts';
import { Users } from './users.ts';

export interface SeedOptions {
  readonly seed: number;
  readonly steps: number;
  /** A site under the load of so many hours, with a fault in each; null = `steps` in close succession. */
  readonly hours: number | null;
  readonly nodes: number;
  /** Nodes are borrowed from a batch system. */
  readonly pilot: boolean;
  readonly faults: boolean;
  /** Policies with limits, accounting, saved disks; users stop and start what they have. */
  readonly more: boolean;
  readonly leap: boolean;
  /** What there is in tables and memory is counted after each hour, which costs as much as an hour of the site's. */
  readonly hourly: boolean;
  readonly show?: ((line: string) => void) | undefined;
}

export interface Hour {
  /** Rows of each table. */
  readonly rows: Readonly<Record<string, number>>;
  /** Of all tables with their indexes, MiB. */
  readonly tablesMb: number;
  /** What this process has in use after a garbage collection, the world's and the database's memory with it, MiB. */
  readonly memoryMb: number;
}

export interface Outcome {
  /** Of everything that happened. */
  readonly digest: string;
  /** Of what happened to leases, and when: the same however polls are leapt over. */
  readonly story: string;
  /** With `hourly`: what there was at the end of each hour. */
  readonly hourly: readonly Hour[];
  readonly violations: readonly Violation[];
  readonly simulatedMs: number;
  readonly statements: number;
  readonly messages: number;
  readonly events: number;
  /** Leases that began to run. */
  readonly ran: number;
  /** With `more`: disks that became images, and usage events that accounting was told of. */
  readonly saved: number;
  readonly told: number;
  /** Leases that went for others. */
  readonly displaced: number;
  readonly loopSteps: number;
  readonly faults: number;
  readonly answered: number;
  readonly refused: number;
}

/** Between two things that users or fate do. */
const PAUSE_MS = 2_500;
/** What was put off for the longest time comes again in this time: retries, reconnection, deadlines; lists of a batch system that did not answer. */
const PEACE_MS = { owned: 120_000, borrowed: 200_000 };
/** A site that is still moving is looked at again for so long; then what is wrong stays wrong. */
const PATIENCE_MS = 160_000;
/** From the end of every lease to an empty site. */
const END_MS = { owned: 120_000, borrowed: 600_000 };

/** Those that grow with the leases. */
const TABLES = ['lease', 'lease_group', 'event', 'intent', 'usage_record', 'usage_interval', 'slot', 'slot_node', 'slot_message', 'vmm_node', 'process', 'usage_event', 'spot_request', 'image_order', 'tag'] as const;
const SIZE = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
const HOUR_MS = 3_600_000;
/** Room of removed rows is made free for others each day. Every plan is made anew after it. */
const TIDY_MS = 24 * HOUR_MS;
/** What is over is kept so long, seconds; users speak of the last half hour. */
const RETENTION = { leases: 7_200, slots: 7_200, usage: 14_400 };
/** Between two things that users do, under the load of a day. */
const LOAD_MS = 300_000;
const TROUBLE_MS = 60_000;
/** Before it, pilots are heard as often as ever. */
const BRACE_MS = 25_000;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const USERS = [[6, 'create'], [4, 'end'], [3, 'reboot'], [2, 'extend'], [1, 'describe'], [2, 'repeat']] as const;
const MORE_USERS = [...USERS, [3, 'stop'], [4, 'start'], [4, 'makeImage'], [4, 'resize'], [2, 'protect'], [1, 'save'], [2, 'pause'], [2, 'serialize'], [3, 'goOn'], [2, 'gather'], [2, 'launch'], [1, 'limit'], [1, 'cancel']] as const;
/** A request that comes back whenever its lease is over would fill days by itself. */
const MORE_USERS_OF_DAYS = [...MORE_USERS, [4, 'cancel']] as const;

export async function runSeed(postgres: Postgres, options: SeedOptions): Promise<Outcome> {
  const dice = new Dice(`seed ${options.seed}`);
  const site = new Site({
    seed: `site ${options.seed}`, postgres, nodes: options.nodes, services: dice.chance(0.3) ? 2 : 1, show: options.show, leap: options.leap, foretold: options.hours !== null, more: options.more,
    config: {
      control: { ...(options.hours === null ? {} : { silence_ms: 60_000 }), reconnect_max_ms: 5_000, start_deadline_ms: 30_000, operation_deadline_ms: 10_000 },
      scheduler: { strategy: dice.pick(['greedy', 'round-robin']), mode: options.pilot ? 'pilot' : 'greedy-static', ...(options.more ? { preemption_grace: 20 } : {}) },
      lease: options.more ? { ensemble_wait: ENSEMBLE_WAIT_S } : {},
      retention: options.hours === null ? {} : RETENTION,
      pilot: { poll: 10, silence: 20, padding: 30, pending_timeout: 300, leases_per_node: dice.pick([1, 2]) },
    },
    simulated: options.faults && dice.chance(0.5) ? { failureRate: 0.05, exits: [{ lease: 'i-0', afterMs: dice.int(100, 60_000) }, { lease: 'i-1', afterMs: 400 }] } : {},
  });
  const invariants = new Invariants(site);
  const users = new Users(site, dice.chance(options.more && !options.pilot ? 0.6 : 0.3));
  const faults = new Faults(site);
  const violations: Violation[] = [];
  const hours = new Hours(postgres, options.hourly);
  const broken = (found: readonly Violation[]): void => {
    for (const v of found) site.trace.add('VIOLATION', v.says, v.of);
    violations.push(...found);
  };
  const happen = (): void => (site.more !== undefined && dice.chance(0.1) ? site.more.happen() : faults.happen());
  site.loop.afterStep = () => { if (violations.length === 0) broken(invariants.look()); };
  const wrong = (e: unknown): void => broken([{ says: 'nothing fails without anybody hearing of it', of: e instanceof Error ? e.stack ?? e.message : String(e) }]);
  process.on('unhandledRejection', wrong);
  try {
    for (let i = 0; i < site.options.services; i += 1) site.startService();
    await site.loop.pass(1_000);
    const end = options.hours === null ? Infinity : site.time.now + options.hours * HOUR_MS;
    let troubled = false;
    for (let i = 0; (options.hours === null ? i < options.steps : site.time.now < end) && violations.length === 0; i += 1) {
      if (options.hours === null && options.faults && dice.chance(0.4)) happen();
      else if (troubled) await trouble(site, faults);
      else users[pick(dice, !options.more ? USERS : options.hours === null ? MORE_USERS : MORE_USERS_OF_DAYS)]();
      troubled = options.hours !== null && options.faults && dice.chance(LOAD_MS / HOUR_MS);
      await pass(site, options.hours !== null ? dice.wait(LOAD_MS) : dice.chance(0.2) ? 0 : dice.wait(PAUSE_MS), troubled);
      broken([...users.broken.splice(0), ...site.web.broken.splice(0)]);
      if (site.database.atRest) hours.pass(site.time.now);
    }
    faults.stop();
    site.more?.stop();
    const mode = options.pilot ? 'borrowed' : 'owned';
    await site.loop.pass(PEACE_MS[mode]);
    if (violations.length === 0) broken(await untilGone(site, PATIENCE_MS, () => invariants.settled()));
    if (violations.length === 0) await endAll(site, users);
    if (violations.length === 0) broken(await untilGone(site, END_MS[mode], () => invariants.empty()));
    broken(users.broken.splice(0));
  } catch (e) {
    // What a timer throws would end the process that set it.
    if (e instanceof Endless) broken([{ says: 'a seed comes to an end', of: e.message }]);
    else wrong(e);
  } finally {
    for (const s of [...site.services]) s.process.kill();
    for (const m of site.machines) m.powerOff();
    await site.loop.settle();
    process.off('unhandledRejection', wrong);
  }
  return {
    digest: site.trace.digest(), story: invariants.story(), hourly: hours.counted, violations, simulatedMs: site.time.now, statements: site.database.statements, messages: site.network.messages, events: invariants.events, ran: invariants.ran, saved: site.more?.saved ?? 0, told: site.more?.sink.told.size ?? 0, displaced: site.more?.displaced ?? 0,
    loopSteps: site.loop.steps, faults: faults.happened, answered: users.answered, refused: users.refused,
  };
}

async function pass(site: Site, ms: number, thenTrouble: boolean): Promise<void> {
  const last = thenTrouble ? Math.min(ms, BRACE_MS) : 0;
  await site.loop.pass(ms - last);
  site.idle.brace(thenTrouble);
  if (last > 0) await site.loop.pass(last);
}

/** Something goes wrong, and somebody mends it. */
async function trouble(site: Site, faults: Faults): Promise<void> {
  site.idle.brace(false);
  faults.strike();
  await site.loop.pass(site.dice.wait(TROUBLE_MS));
  faults.stop();
}

/** Looks after the database as a server does by itself, and counts what there is, where somebody wants to know. */
class Hours {
  readonly counted: Hour[] = [];
  #nextHour = HOUR_MS;
  #nextTidy = TIDY_MS;

  constructor(private readonly postgres: Postgres, private readonly counts: boolean) {}

  pass(now: number): void {
    if (now >= this.#nextTidy) {
      this.#nextTidy += TIDY_MS;
      this.postgres.tidy();
    }
    if (!this.counts || now < this.#nextHour) return;
    this.#nextHour += HOUR_MS;
    collectGarbage();
    const { heapUsed, external } = process.memoryUsage();
    const rows = Object.fromEntries(TABLES.map((table) => [table, Number(this.postgres.simple(`SELECT count(*) FROM ${table}`)[0]?.[0] ?? 0)]));
    const tables = Number(this.postgres.simple(SIZE)[0]?.[0] ?? 0);
    this.counted.push({ rows, tablesMb: Math.round(tables / 2 ** 18) / 4, memoryMb: Math.round((heapUsed + external) / 2 ** 20) });
  }
}

type Verb = (typeof MORE_USERS)[number][1];
function pick(dice: Dice, verbs: ReadonlyArray<readonly [weight: number, verb: Verb]>): Verb {
  let at = dice.next() * verbs.reduce((sum, [weight]) => sum + weight, 0);
  return verbs.find(([weight]) => (at -= weight) < 0)?.[1] ?? 'create';
}

/** What was created meanwhile is ended too. */
async function endAll(site: Site, users: Users): Promise<void> {
  for (let left = 3; left > 0; left -= 1) {
    if (site.more !== undefined) users.cancel();
    users.endAll();
    await site.loop.pass(5_000);
  }
}

/** What is still wrong when the time is over. */
async function untilGone(site: Site, ms: number, look: () => readonly Violation[]): Promise<readonly Violation[]> {
  const end = site.time.now + ms;
  for (;;) {
    const found = look();
    if (found.length === 0 || site.time.now >= end) return found;
    await site.loop.pass(10_000);
  }
}
