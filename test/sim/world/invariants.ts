/** Looks after each step whether everything holds that must hold, in the tables, in the trail of the leases, and on the machines. */
import { createHash } from 'node:crypto';
import { chargedMinutes } from '../../../src/accounting/charge.ts';
import { statement, type Statement } from '../../../src/store/db.ts';
import { ROOM } from './database.ts';
import { OF_ENSEMBLES } from './grid.ts';
import type { Asked } from './postgres.ts';
import { EMPTY, factsOf, OF_LEASES, OF_NODES, OF_PROTECTED, OF_SLOTS, OF_SPOT, SETTLED, WHOLE_GROUPS, type LeaseFacts, type Rule } from './rules.ts';
import type { Site } from './site.ts';
import { EPOCH } from './time.ts';

export interface Violation {
  /** The sentence that does not hold. */
  readonly says: string;
  readonly of: string;
}

interface Broken { rule: number; id: string }
interface Check {
  readonly rules: readonly Rule[];
  readonly sql: Statement<Broken>;
}
const all = (name: string, rules: readonly Rule[]): Statement<Broken> =>
  statement(`sim-${name}`, rules.map((r, i) => `SELECT ${i} AS rule, x.id FROM (${r.broken}) x`).join(' UNION ALL '));
const EVERY = statement<LeaseFacts>('sim-each', factsOf('lease l', 'with intervals'));
/** Those of which something stands in the trail since an event. */
const CHANGED_LEASES = 'lease l WHERE l.id = ANY(ARRAY(SELECT lease_id FROM event WHERE id > $1))';
const CHANGED = statement<LeaseFacts>('sim-changed', factsOf(CHANGED_LEASES, 'without'));
const CHANGED_WITH_INTERVALS = statement<LeaseFacts>('sim-changed-with-intervals', factsOf(CHANGED_LEASES, 'with intervals'));
const NODES = { rules: OF_NODES, sql: all('nodes', OF_NODES) };
const OF_MORE = [...OF_SPOT, ...OF_ENSEMBLES];
const MORE = { rules: OF_MORE, sql: all('more', OF_MORE) };
const PROTECTED = { rules: OF_PROTECTED, sql: all('protected', OF_PROTECTED) };
const SLOTS = { rules: OF_SLOTS, sql: all('slots', OF_SLOTS) };
const AT_REST = { rules: SETTLED, sql: all('settled', SETTLED) };
const AT_THE_END = { rules: EMPTY, sql: all('empty', EMPTY) };

interface EventRow { id: number; lease_id: string; from_state: string | null; to_state: string; trigger: string; request_id: string }
const EVENTS = statement<EventRow>('sim-events', 'SELECT id, lease_id, from_state, to_state, trigger, request_id FROM event WHERE id > $1 ORDER BY id');
interface LeaseFact { id: string; state: string; final: boolean; node: string | null; slot: string | null; memory_mb: number }
const LEASES = statement<LeaseFact>('sim-leases', `
  SELECT l.id, l.state, l.final, n.name AS node, n.slot_id AS slot, l.memory_mb FROM lease l LEFT JOIN vmm_node n ON n.id = l.node_id WHERE l.id = ANY($1::text[])`);
const LIVE = statement<LeaseFact>('sim-live', `
  SELECT l.id, l.state, l.final, n.name AS node, n.slot_id AS slot, l.memory_mb FROM lease l LEFT JOIN vmm_node n ON n.id = l.node_id WHERE NOT final`);
const GROUPS = statement<{ id: string; leases: number; places: number; spot: boolean; one: string }>('sim-groups', `
  SELECT group_id AS id, count(*)::int AS leases, max(launch_index) + 1 AS places, bool_and(spot_request_id IS NOT NULL) AS spot, min(id) AS one FROM lease
   WHERE group_id IN (SELECT group_id FROM lease WHERE id = ANY($1::text[])) GROUP BY group_id`);
const OVERDUE = statement<{ id: string }>('sim-overdue', "SELECT id || ' ' || state AS id FROM lease WHERE NOT final AND ends_at < $1");
const USAGE = statement<{ lease_id: string; charged_minutes: number; intervals: Array<{ start: number; stop: number }> }>('sim-usage', `
  SELECT r.lease_id, r.charged_minutes, coalesce((SELECT json_agg(json_build_object('start', extract(epoch FROM start_at) * 1000, 'stop', extract(epoch FROM stop_at) * 1000))
    FROM usage_interval i WHERE i.lease_id = r.lease_id), '[]') AS intervals FROM usage_record r WHERE r.closed_at IS NOT NULL`);

/** A lease whose time is over is ended within a second or so, and gone when its node has said so. */
const OVERDUE_MS = 60_000;

/** Of nodes. Those of the service's own only come and go: what they have given changes by one statement. */
const NODES_OF = { owned: [ROOM], borrowed: [ROOM, 'vmm_node'] };
/** Those that rules are about. */
const ALL_OF = (nodes: readonly string[]): string[] => ['policy', 'lease', 'lease_group', 'event', 'intent', 'network_address', 'usage_record', 'usage_interval', 'slot', 'slot_node', ...nodes];
const EVERYWHERE = { owned: ALL_OF(NODES_OF.owned), borrowed: ALL_OF(NODES_OF.borrowed) };
const TRAIL = ['event'];
const INTERVALS = ['usage_interval'];
const PLACES = ['lease', 'vmm_node', 'slot', 'slot_node'];
const USE = ['lease', 'policy'];

/** So often all leases are looked at, and not those alone that have changed. */
const ALL_EVERY = 20;

/** What may follow on a state, whatever the product's own table says: a lease never comes back. */
const WAYS_OUT: Readonly<Record<string, readonly string[]>> = {
  Ending: ['Terminated'], Terminated: [], Corrupted: ['Ending', 'Terminated'],
  Running: ['Rebooting', 'Pausing', 'Serializing', 'ShuttingDown', 'ReadyingForTransport', 'Ending'], Rebooting: ['Running', 'ShuttingDown', 'Ending', 'Corrupted'],
  Pausing: ['Paused', 'Running', 'Ending', 'Corrupted'], Paused: ['Resuming', 'Serializing', 'ShuttingDown', 'ReadyingForTransport', 'Ending'],
  Resuming: ['Running', 'Paused', 'Ending', 'Corrupted'],
  Serializing: ['Serialized', 'Running', 'Ending', 'Corrupted'], Serialized: ['Starting', 'ReadyingForTransport', 'Ending'],
};

/** A spot request that waits has one lease at a time. */
const ONE = { minCount: 1, maxCount: 1 };

export class Invariants {
  readonly #states = new Map<string, string>();
  /** Lease → machine, of each VM that was there at the last look. */
  #there = new Map<string, string>();
  /** Lease → MiB of its VM. */
  readonly #memory = new Map<string, number>();
  #lastEvent = 0;
  readonly #seen = new Map<readonly string[], number>();
  #looks = 0;
  /** Of the whole database, at the last look. */
  #writes = -1;
  #vmChanges = -1;
  readonly #pilot: boolean;
  readonly #mode: 'owned' | 'borrowed';
  readonly #story = createHash('sha256');
  events = 0;
  /** How often a lease began to run: without any, little of what must hold was asked. */
  ran = 0;

  constructor(private readonly site: Site) {
    this.#pilot = site.batch !== undefined;
    this.#mode = this.#pilot ? 'borrowed' : 'owned';
  }

  /** Digest of the trails of all leases. */
  story(): string {
    return this.#story.copy().digest('hex').slice(0, 16);
  }

  /** After a step. */
  look(): Violation[] {
    const { database } = this.site;
    if (!database.atRest || database.writes === this.#writes) return this.#machines();
    this.#writes = database.writes;
    if (!this.#changed(EVERYWHERE[this.#mode])) return this.#machines();
    this.#looks += 1;
    // What has not changed cannot have begun to be wrong; should it have all the same, it is found a little later.
    const all = this.#looks % ALL_EVERY === 0;
    const told = this.#changed(TRAIL);
    const intervals = this.#changed(INTERVALS);
    const checks: Check[] = [];
    if (this.#changed(NODES_OF[this.#mode]) || all) checks.push(NODES);
    if (this.#pilot && this.#changed(PLACES)) checks.push(SLOTS);
    const more = this.site.more !== undefined && this.#changed(USE);
    if (more) checks.push(MORE);
    return [...this.#ask(told, all ? 'all' : intervals ? 'with intervals' : 'without', checks), ...more ? this.site.more?.look() ?? [] : [], ...this.#machines()];
  }

  /** As much as possible at once: a question of its own costs as much as half of what is asked. @param told something stands in the trail */
  #ask(told: boolean, which: 'all' | 'with intervals' | 'without', checks: readonly Check[]): Violation[] {
    const { postgres } = this.site.database;
    const since = [this.#lastEvent];
    const leases: Asked[] = which === 'all' ? [[EVERY, []]] : told ? [[which === 'without' ? CHANGED : CHANGED_WITH_INTERVALS, since]] : [];
    const answers = postgres.ask([...told ? [[EVENTS, since] as const] : [], ...leases, ...checks.map(({ sql }) => [sql, []] as const)]);
    const events = told ? answers.shift() as unknown as EventRow[] : [];
    const facts = leases.length > 0 ? answers.shift() as unknown as LeaseFacts[] : [];
    return [...this.#trail(events), ...brokenLeases(facts), ...which === 'all' ? brokenGroups(facts) : [], ...checks.flatMap(({ rules }, i) => (answers[i] as unknown as Broken[]).map((r) => brokenRule(rules, r)))];
  }

  /** Since it was asked for these tables last. */
  #changed(tables: readonly string[]): boolean {
    const writes = this.site.database.writesTo(tables);
    const before = this.#seen.get(tables);
    this.#seen.set(tables, writes);
    return before !== writes;
  }

  /** After a while without faults. */
  settled(): Violation[] {
    const { database, time, host } = this.site;
    const overdue = database.postgres.query(OVERDUE, [new Date(EPOCH + time.now + host.clockOffset - OVERDUE_MS)]);
    return [...overdue.map((l) => ({ says: 'no lease outlives its time', of: l.id })), ...this.#tables(NODES), ...this.#leases(), ...this.#tables(AT_REST), ...this.site.more === undefined ? [] : this.#tables(PROTECTED), ...this.#vmsAndLeases(), ...this.site.more?.settled() ?? []];
  }

  /** After every lease was ended. */
  empty(): Violation[] {
    const { batch, machines } = this.site;
    const kept = machines.filter(() => batch !== undefined).flatMap((m) => (m.hugePages === 0 ? [] : [{ says: 'every borrowed node is given back with all its memory', of: `${m.name} lacks ${m.hugePages} pages` }]));
    const jobs = (batch?.live() ?? []).map((j) => ({ says: 'no job is left that no slot needs', of: `${j.jobId} of ${j.request.slotId} is ${j.state}` }));
    const pilots = (batch?.pilots() ?? []).map((p) => ({ says: 'no pilot outlives its slot', of: p.process.name }));
    const left = machines.flatMap((m) => m.vms().map((vm) => ({ says: 'nothing runs when every lease is over', of: `${vm.lease} on ${m.name}` })));
    const wrong = this.site.database.postgres.query(USAGE).filter((u) => u.charged_minutes !== chargedMinutes(u.intervals, 0, this.site.config.accounting.charge_granularity));
    return [...this.#tables(AT_THE_END), ...this.site.more?.settled() ?? [], ...this.site.more?.empty() ?? [], ...left, ...kept, ...jobs, ...pilots, ...wrong.map((u) => ({ says: 'a usage record is equal to its intervals', of: `${u.lease_id}: ${u.charged_minutes}` }))];
  }

  #tables({ rules, sql }: Check): Violation[] {
    return this.site.database.postgres.query(sql).map((r) => brokenRule(rules, r));
  }

  #leases(): Violation[] {
    const leases = this.site.database.postgres.query(EVERY);
    return [...brokenLeases(leases), ...brokenGroups(leases)];
  }

  #trail(events: readonly EventRow[]): Violation[] {
    const found: Violation[] = [];
    /** Lease → the request that made it. */
    const created = new Map<string, string>();
    for (const e of events) {
      this.#lastEvent = e.id;
      this.events += 1;
      if (e.trigger === 'started') this.ran += 1;
      this.#story.update(`${this.site.time.now} ${e.lease_id} ${e.to_state} ${e.trigger}\n`);
      this.site.trace.add('event', e.lease_id, e.from_state ?? '-', e.to_state, e.trigger);
      const before = this.#states.get(e.lease_id) ?? null;
      if (before === null) created.set(e.lease_id, e.request_id);
      if (e.from_state !== before) found.push({ says: 'the trail of a lease has no gap', of: `${e.lease_id}: ${e.trigger} from ${e.from_state ?? '-'}, it was ${before ?? '-'}` });
      else if (e.from_state !== e.to_state && WAYS_OUT[before ?? '']?.includes(e.to_state) === false) {
        found.push({ says: 'a lease never comes back', of: `${e.lease_id}: ${before ?? ''} to ${e.to_state} by ${e.trigger}` });
      }
      this.#states.set(e.lease_id, e.to_state);
    }
    return created.size === 0 ? found : [...found, ...this.#groups(created)];
  }

  /** Whether anybody hears of it or not. */
  #groups(created: ReadonlyMap<string, string>): Violation[] {
    return this.site.database.postgres.query(GROUPS, [[...created.keys()]]).flatMap(({ id, leases, places, spot, one }) => {
      if (leases !== places) return [{ says: WHOLE_GROUPS, of: id }];
      const wish = this.site.wishes.get(created.get(one) ?? '') ?? (spot ? ONE : undefined);
      if (wish !== undefined && leases >= wish.minCount && leases <= wish.maxCount) return [];
      return [{ says: 'a group is created whole or not at all', of: `${id} has ${leases} leases, ${wish?.minCount ?? 0} to ${wish?.maxCount ?? 0} were asked for` }];
    });
  }

  /** Only when a VM has come or gone. */
  #machines(): Violation[] {
    const changes = this.site.machines.reduce((sum, m) => sum + m.vmChanges, 0);
    if (changes === this.#vmChanges) return [];
    this.#vmChanges = changes;
    const found: Violation[] = [];
    const there = new Map<string, string>();
    for (const m of this.site.machines) {
      for (const vm of m.vms()) {
        const other = there.get(vm.lease);
        if (other !== undefined) found.push({ says: 'a lease has one VM at most', of: `${vm.lease} on ${other} and ${m.name}` });
        there.set(vm.lease, m.name);
      }
    }
    const come = [...there].filter(([lease, name]) => this.#there.get(lease) !== name);
    this.#there = there;
    return come.length === 0 ? found : [...found, ...this.#arrivals(come, there)];
  }

  #arrivals(come: ReadonlyArray<readonly [string, string]>, there: ReadonlyMap<string, string>): Violation[] {
    const facts = new Map(this.site.database.postgres.query(LEASES, [come.map(([lease]) => lease)]).map((l) => [l.id, l]));
    for (const [lease, { memory_mb: mb }] of facts) this.#memory.set(lease, mb);
    const found: Violation[] = [];
    for (const [lease, name] of come) {
      const fact = facts.get(lease);
      if (fact === undefined) found.push({ says: 'nothing is started that no lease knows', of: `${lease} on ${name}` });
      else if (machineOf(fact) !== name) found.push({ says: 'a VM is on the node of its lease', of: `${lease} on ${name}, its node is ${fact.node ?? 'none'}` });
      else if (fact.slot !== null && slotOf(this.site, name, lease) !== fact.slot) found.push({ says: 'a VM is in its slot and nowhere else', of: `${lease} on ${name}, its slot is ${fact.slot}` });
      else if (fact.final && !this.#pilot) found.push({ says: 'nothing is started after its lease is over', of: `${lease} on ${name}` });
    }
    for (const m of this.site.machines) {
      const mb = [...there].filter(([, name]) => name === m.name).reduce((sum, [lease]) => sum + (this.#memory.get(lease) ?? 0), 0);
      if (mb > this.site.roomOf(m)) found.push({ says: 'VMs on a machine have no more memory than it gives', of: `${m.name}: ${mb} MiB of ${this.site.roomOf(m)}` });
    }
    return found;
  }

  /** Of each machine that can be asked: what runs there is what its leases say. */
  #vmsAndLeases(): Violation[] {
    const live = this.site.database.postgres.query(LIVE);
    const known = new Map(live.map((l) => [l.id, l]));
    const there = new Map(this.site.machines.flatMap((m) => m.vms().map((vm) => [vm.lease, m.name])));
    return [
      ...[...there].filter(([lease]) => !known.has(lease)).map(([lease, name]) => ({ says: 'nothing runs that no live lease knows', of: `${lease} on ${name}` })),
      ...live.filter((l) => (l.state === 'Propagated' || l.state === 'ReadyForTransport') && there.has(l.id)).map((l) => ({ says: 'a lease that is stopped has no VM', of: `${l.id} on ${l.node ?? '-'}` })),
      ...live.filter((l) => l.state === 'Running' && !there.has(l.id)).map((l) => ({ says: 'a lease that runs has a VM', of: `${l.id} on ${l.node ?? '-'}` })),
    ];
  }
}

/** The first rule of each that is broken. */
const brokenLeases = (leases: readonly LeaseFacts[]): Violation[] => leases.flatMap((l) => {
  const rule = OF_LEASES.find(({ broken }) => broken(l));
  return rule === undefined ? [] : [{ says: rule.says, of: l.id }];
});

/** It begins to be broken only where leases are created or removed. */
function brokenGroups(leases: readonly LeaseFacts[]): Violation[] {
  const groups = new Map<string, { count: number; places: number }>();
  for (const { group_id: id, launch_index: index } of leases) {
    const { count, places } = groups.get(id) ?? { count: 0, places: 0 };
    groups.set(id, { count: count + 1, places: Math.max(places, index + 1) });
  }
  return [...groups].filter(([, { count, places }]) => count !== places).map(([of]) => ({ says: WHOLE_GROUPS, of }));
}

const brokenRule = (rules: readonly Rule[], { rule, id }: Broken): Violation => ({ says: rules[rule]?.says ?? '', of: id });

/** By the directory of the pilot that runs it. */
const slotOf = (site: Site, machine: string, lease: string): string | undefined =>
  site.machines.find((m) => m.name === machine)?.vms().find((vm) => vm.lease === lease)?.journal.split('/').find((part) => part.startsWith('sl-'))?.split('.')[0];

/** A borrowed node is called `HOST.SLOT`. */
const machineOf = (l: LeaseFact): string | undefined => (l.slot === null ? l.node ?? undefined : l.node?.slice(0, -(l.slot.length + 1)));
