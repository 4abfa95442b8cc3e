/**
 * When a poll would find nothing, so that time may leap over it. What it would look for is asked of the database once, and again when
 * something was written. Where a process remembers by itself what it has to look at again, nothing is leapt over while anything is
 * wrong, or was a moment ago.
 */
import { statement, type Statement } from '../../../src/store/db.ts';
import { allNodes } from '../../../src/store/nodes.ts';
import { HEARTBEAT_S } from '../node/pilot.ts';
import { HEARD, NOTES, REACH, ROOM } from './database.ts';
import type { Process } from './process.ts';
import type { Worker } from './service.ts';
import type { Site } from './site.ts';
import type { Leap } from './time.ts';
import { isCalm } from './weather.ts';

/** What goes wrong, and so whose polls may find something: who speaks with agents, with the database, with other services or of them, with the batch system. */
export type Trouble = 'network' | 'database' | 'services' | 'batch';
export const EVERYTHING: readonly Trouble[] = ['network', 'database', 'services', 'batch'];
// Made once: they are asked for at each poll.
const NETWORK: readonly Trouble[] = ['network'];
const NETWORK_AND_SERVICES: readonly Trouble[] = ['network', 'services'];
const NETWORK_AND_DATABASE: readonly Trouble[] = ['network', 'database'];
const DATABASE_AND_SERVICES: readonly Trouble[] = ['database', 'services'];
const ALL_BUT_BATCH: readonly Trouble[] = ['network', 'database', 'services'];
const ALL_BUT_NETWORK: readonly Trouble[] = ['database', 'services', 'batch'];

/** After a disturbance every poll is made for so long. */
const CALM_MS = 20_000;
/** A service that was not heard is dead for the others after five seconds, and its work is theirs within another ten. */
const LIVES_MS = 15_000;
/** A poll is made all the same after so long. Agents end a silent connection after 15 minutes, and the lines of pilots are down after one. */
const MOST_MS = 900_000;
const AGENTS_MS = 780_000;
const AGENT_LOOKS_MS = 60_000;
const PILOTS_MS = 40_000;
/** How often the slot worker asks whether it is to ask for the list, where another does. */
const DUTY_MS = 2_000;

interface Due { sweep: number | null; intent: number | null; lives: number }
const DUE = statement<Due>('sim-due', `
  SELECT (SELECT min(ends_at) FROM lease WHERE NOT final AND state <> 'Ending') AS sweep, (SELECT min(next_at) FROM intent WHERE state = 'open') AS intent,
         (SELECT count(*) FROM process WHERE NOT taken_over)::int AS lives`);

interface Slots {
  /** Slots of which somebody may want something now. */
  readonly restless: readonly string[];
  /** Since when one has waited for its job to begin; when one whose pilots are gone would be cancelled, if it were still there. */
  readonly waiting_since: number | null;
  readonly leaving_until: number | null;
  /** A list did not have the job of one: the next one decides. */
  readonly missing: boolean;
}
const OVER = "n.state IN ('Returned', 'Failed', 'Lost')";
const HOLDS = 'EXISTS (SELECT 1 FROM lease l WHERE l.slot_node_id = n.id AND l.holding)';
/** Of a node that is over: it is the job's first, which the job keeps, or has left the job. */
const LEFT = `${OVER} AND (n.host = s.hosts[1] OR n.host <> ALL(s.hosts))`;
const IS_LEAVING = `s.state = 'Releasing' AND NOT EXISTS (SELECT 1 FROM slot_node n WHERE n.slot_id = s.id AND NOT ${OVER})`;
/** A slot is at rest while it waits in the queue, while each of its nodes that is not over is there and holds a lease, and when its pilots are gone. */
const SLOTS_NOW = statement<Slots>('sim-slots-now', `
  SELECT coalesce(bool_or(s.missing_polls > 0), false) AS missing, min(s.created_at) FILTER (WHERE s.state = 'Queued') AS waiting_since, min(s.next_at) FILTER (WHERE ${IS_LEAVING}) AS leaving_until,
         ARRAY(SELECT slot_id FROM slot_message WHERE NOT applied) || coalesce(array_agg(s.id) FILTER (WHERE NOT (${IS_LEAVING}) AND (s.state NOT IN ('Queued', 'Ready')
           OR NOT EXISTS (SELECT 1 FROM slot_node n WHERE n.slot_id = s.id AND ${HOLDS})
           OR EXISTS (SELECT 1 FROM slot_node n LEFT JOIN vmm_node v ON v.id = n.node_id WHERE n.slot_id = s.id
               AND (${LEFT} OR (${HOLDS} AND (s.state = 'Queued' OR (n.state = 'Reserved' AND v.reachable)))) IS NOT TRUE))), '{}') AS restless
    FROM slot s WHERE NOT s.final`);

/** A request waits for a lease, or its lease has failed and was not ended. */
const SPOT = statement<{ waits: boolean }>('sim-spot-waits', `
  SELECT EXISTS (SELECT FROM lease WHERE spot_request_id IS NOT NULL AND NOT final AND state = 'Corrupted' AND NOT holding)
      OR EXISTS (SELECT FROM spot_request s WHERE s.cancelled_at IS NULL AND s.failed_at IS NULL
                  AND (s.launches = 0 OR s.persistent AND NOT EXISTS (SELECT FROM lease l WHERE l.spot_request_id = s.id AND NOT l.final))) AS waits`);
const UNTOLD = statement<{ waits: boolean }>('sim-untold', 'SELECT EXISTS (SELECT FROM usage_event) AS waits');

/** The one row that answers a question, asked for again when something was written that may change it. */
class Answer<Row> {
  #row: Row | undefined;
  #writes = -1;

  /** @param tables that decide it, as statements name them; none: any */
  constructor(private readonly site: Site, private readonly question: Statement<Row>, private readonly tables?: readonly string[]) {}

  get now(): Row {
    const { database } = this.site;
    const writes = this.tables === undefined ? database.writes : database.writesTo(this.tables);
    if (this.#row === undefined || this.#writes !== writes) [this.#row] = database.postgres.query(this.question);
    this.#writes = writes;
    if (this.#row === undefined) throw new Error(`${this.question.name} has no answer`);
    return this.#row;
  }
}

export class Idle {
  readonly #due: Answer<Due>;
  readonly #slots: Answer<Slots>;
  readonly #spot: Answer<{ waits: boolean }>;
  readonly #untold: Answer<{ waits: boolean }>;
  /** Of each process: the state of the tables at its last round of spot requests. */
  readonly #spotSeen = new Map<Process, number>();
  /** Of each process: the state of the tables when it read the nodes last, for whatever reason. */
  readonly #nodesRead = new Map<Process, number>();
  /** Of each process: the state of the tables, and of the batch system, at its last look at the list. */
  readonly #listRead = new Map<Process, string>();
  #bracedAt = Infinity;
  readonly #disturbedAt: Record<Trouble, number> = { network: 0, database: 0, services: 0, batch: 0 };

  constructor(private readonly site: Site) {
    this.#due = new Answer(site, DUE, ['lease', 'intent', 'process']);
    this.#slots = new Answer(site, SLOTS_NOW, ['slot', NOTES, 'slot_node', 'slot_message', HEARD, 'vmm_node', REACH, 'lease']);
    this.#spot = new Answer(site, SPOT, ['spot_request', 'lease']);
    // Triggers write them.
    this.#untold = new Answer(site, UNTOLD);
  }

  /** Something goes wrong, or is mended. */
  disturb(what: readonly Trouble[] = EVERYTHING): void {
    for (const trouble of what) this.#disturbedAt[trouble] = this.site.time.now;
  }

  /**
   * Something will go wrong soon, or not any more. How long a line or a pilot was silent decides what becomes of it then, so from now on
   * everybody on borrowed nodes is heard as often as without leaps. Only where faults are foretold may time leap far over what they say.
   */
  brace(on: boolean): void {
    this.#bracedAt = on ? this.site.time.now : Infinity;
  }

  /** Signs of life of a slot's pilots, as long as nobody wants anything of them; and looks at the line, as agents have them. */
  ofPilots(slot: string): Leap {
    const { foretold } = this.site.options;
    // Whatever the batch system does, nobody asks how long a pilot was silent whose line is up.
    const of = foretold === true ? ALL_BUT_BATCH : EVERYTHING;
    const restful = (): boolean => this.site.database.atRest && this.#calm(CALM_MS, of) && !this.#braced(0) && !this.#slots.now.restless.includes(slot);
    const looks = this.ofAgents();
    return { polls: (ms, background) => (!background && ms === HEARTBEAT_S * 1000 ? restful : looks.polls(ms, background)), most: MOST_MS };
  }

  /** A pilot's line that nothing comes over for a minute is down; nothing has come because it was leapt over. */
  get linesMayBeSilent(): boolean {
    return this.site.options.foretold === true && this.#calm(CALM_MS, this.#lines) && !this.#braced(this.#ping + 1_000);
  }

  /** What lines may break of. Pilots open theirs anew when a service comes, and notice the silence of one that stands still. */
  get #lines(): readonly Trouble[] {
    return this.site.batch === undefined ? NETWORK : NETWORK_AND_SERVICES;
  }

  get #ping(): number {
    return this.site.config.control.silence_ms / 5;
  }

  #braced(forMs: number): boolean {
    return this.site.time.now - this.#bracedAt >= forMs;
  }

  /** Agents end a connection that is silent: they look for it each minute. */
  ofAgents(): Leap {
    const idle = (): boolean => this.#calm(CALM_MS, this.#lines);
    return { polls: (ms, background) => (background && ms === AGENT_LOOKS_MS ? idle : undefined), most: MOST_MS, together: true };
  }

  leap(process: Process, worker: Worker | 'control'): Leap {
    if (worker === 'control') {
      const { batch, options } = this.site;
      const ping = this.#ping;
      const idle = (): boolean => this.#calm(CALM_MS, this.#lines) && (batch === undefined || !this.#braced(0));
      return { polls: (ms, background) => (background && ms === ping ? idle : undefined), together: true, most: batch === undefined || options.foretold === true ? AGENTS_MS : PILOTS_MS };
    }
    const idle = (): boolean => this.#nothingFor(process, worker);
    if (worker !== 'slots') return { polls: (_ms, background) => (background ? idle : undefined), most: MOST_MS };
    const list = this.site.config.pilot.poll * 1000;
    const nobodyDies = (): boolean => idle() && this.#calm(CALM_MS, ALL_BUT_NETWORK);
    const nothingListed = (): boolean => nobodyDies() && this.#listIsRead(process);
    // A list that was not to be had comes later than others; who is not to ask for it looks more often whether it is.
    return { polls: (ms, background) => (!background ? undefined : ms >= list ? nothingListed : ms === DUTY_MS ? nobodyDies : idle), most: MOST_MS };
  }

  #calm(ms: number, of: readonly Trouble[] = EVERYTHING): boolean {
    for (const trouble of of) if (this.site.time.now - this.#disturbedAt[trouble] <= ms || this.#isWrong(trouble)) return false;
    return isCalm(this.site.weather);
  }

  #isWrong(trouble: Trouble): boolean {
    const { network, time, machines, database, batch, services } = this.site;
    switch (trouble) {
      case 'network': return network.cutOff.size > 0 || !machines.every(isUp);
      case 'database': return time.now < database.awayUntil;
      case 'services': return services.some(({ process }) => process.pausedUntil > time.now);
      case 'batch': return batch?.isHonest === false;
    }
  }

  #nothingFor(process: Process, worker: Worker): boolean {
    if (!this.site.database.atRest) return false;
    const now = process.clock.now();
    switch (worker) {
      case 'dispatcher': return isLater(this.#due.now.intent, now);
      case 'sweeper': return isLater(this.#due.now.sweep, now);
      // It asks one question, more seldom than time could leap.
      case 'pruner': return false;
      case 'monitor': return this.#calm(CALM_MS, this.site.options.services === 1 ? NETWORK_AND_DATABASE : ALL_BUT_BATCH) && this.#nodesAreRead(process);
      case 'heartbeat': return this.#allLive();
      case 'sinks': return !this.#untold.now.waits;
      case 'spot': return this.#nobodyWaits(process);
      // It looks for what stands in the tables, whatever is wrong.
      case 'slots': return this.#slotsRest(now);
    }
  }

  /** A round is made once after each write all the same: it remembers what room there was. */
  #nobodyWaits(process: Process): boolean {
    return isSame(this.#spotSeen, process, this.site.database.writesTo(ROOM_FOR_SPOT)) && !this.#spot.now.waits;
  }

  #nodesAreRead(process: Process): boolean {
    return this.#nodesRead.get(process) === this.#nodesNow;
  }

  get #nodesNow(): number {
    return this.site.database.writesTo(this.site.options.services === 1 ? NODES : NODES_OF_SEVERAL);
  }

  /** Told of each statement of a service. */
  answered(process: Process, name: string): void {
    if (name === allNodes.name) this.#nodesRead.set(process, this.#nodesNow);
  }

  /** It has been followed as it is, and what it was followed with stands. */
  #listIsRead(process: Process): boolean {
    const { leaving_until: leaving, missing } = this.#slots.now;
    return isSame(this.#listRead, process, `${this.site.batch?.changes ?? 0} ${this.site.database.writesTo(LISTED)}`) && leaving === null && !missing;
  }

  /** Nobody takes another for dead, and of nobody's work is something left to take over. */
  #allLive(): boolean {
    const { services, options } = this.site;
    return (options.services === 1 || this.#calm(LIVES_MS, DATABASE_AND_SERVICES)) && services.length === options.services && this.#due.now.lives === services.length;
  }

  #slotsRest(now: number): boolean {
    const { restless, waiting_since: since, leaving_until: leaving } = this.#slots.now;
    return restless.length === 0 && (since === null || since + this.site.config.pilot.pending_timeout * 1000 > now) && isLater(leaving, now);
  }
}

const NODES = ['vmm_node', 'node_channel'];
/** Of those that others reach or fill. A service that is alone knows what it has written there. */
const NODES_OF_SEVERAL = [...NODES, REACH, ROOM];
const ROOM_FOR_SPOT = ['spot_request', 'lease', 'vmm_node', REACH, ROOM];
const LISTED = ['slot', 'duty'];
/** As when this process looked last. */
function isSame<T>(seen: Map<Process, T>, process: Process, now: T): boolean {
  const before = seen.get(process);
  seen.set(process, now);
  return before === now;
}
const isUp = (m: { readonly up: boolean }): boolean => m.up;
const isLater = (due: number | null, now: number): boolean => due === null || due > now;
