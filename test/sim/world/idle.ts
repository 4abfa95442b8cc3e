/**
 * When a poll would find nothing, so that time may leap over it. What it would look for is asked of the database once, and again when
 * something was written. Where a process remembers by itself what it has to look at again, nothing is leapt over while anything is
 * wrong, or was a moment ago.
 */
import { statement } from '../../../src/store/db.ts';
import { ROOM } from './database.ts';
import type { Process } from './process.ts';
import type { Worker } from './service.ts';
import type { Site } from './site.ts';
import type { Leap } from './time.ts';
import { isCalm } from './weather.ts';

/** What goes wrong, and so whose polls may find something: who speaks with agents, who speaks with the database, who watches other services. */
export type Trouble = 'network' | 'database' | 'services';
const EVERYTHING: readonly Trouble[] = ['network', 'database', 'services'];
// Made once: they are asked for at each poll.
const NETWORK: readonly Trouble[] = ['network'];
const NETWORK_AND_DATABASE: readonly Trouble[] = ['network', 'database'];
const DATABASE_AND_SERVICES: readonly Trouble[] = ['database', 'services'];

/** After a disturbance every poll is made for so long. */
const CALM_MS = 20_000;
/** A service that was not heard is dead for the others after five seconds, and its work is theirs within another ten. */
const LIVES_MS = 15_000;
/** A poll is made all the same after so long. Agents end a silent connection after 15 minutes, pilots after one. */
const MOST_MS = 900_000;
const AGENTS_MS = 780_000;
const AGENT_LOOKS_MS = 60_000;
const PILOTS_MS = 40_000;
/** The slot worker looks at its tables so often, or more often. */
const LOOK_MS = 5_000;

interface Due { sweep: number | null; intent: number | null; lives: number; restless: number; waiting_since: number | null }
const OF_ALL = `(SELECT min(ends_at) FROM lease WHERE NOT final AND state <> 'Ending') AS sweep, (SELECT min(next_at) FROM intent WHERE state = 'open') AS intent,
         (SELECT count(*) FROM process WHERE NOT taken_over)::int AS lives`;
const DUE = statement<Due>('sim-due', `SELECT ${OF_ALL}, 0 AS restless, NULL::timestamptz AS waiting_since`);
/** A slot is at rest while it waits in the queue, or while each of its nodes is there and holds a lease. */
const DUE_OF_PILOTS = statement<Due>('sim-due-of-pilots', `
  SELECT ${OF_ALL}, (SELECT min(created_at) FROM slot WHERE state = 'Queued') AS waiting_since,
         ((SELECT count(*) FROM slot_message WHERE NOT applied) + (SELECT count(*) FROM slot s WHERE NOT s.final AND (s.state NOT IN ('Queued', 'Ready')
           OR EXISTS (SELECT 1 FROM slot_node n LEFT JOIN vmm_node v ON v.id = n.node_id WHERE n.slot_id = s.id
               AND (NOT EXISTS (SELECT 1 FROM lease l WHERE l.slot_node_id = n.id AND l.holding) OR (s.state = 'Ready' AND (n.state <> 'Reserved' OR NOT v.reachable)))))))::int AS restless`);

const UNTOLD = statement<{ waits: boolean }>('sim-untold', 'SELECT EXISTS (SELECT FROM usage_event) AS waits');

export class Idle {
  #due: Due = { sweep: null, intent: null, lives: 0, restless: 0, waiting_since: null };
  #asked = -1;
  #untold = true;
  #askedForUsage = -1;
  /** Of each process: the state of the tables at its last look at the nodes. */
  readonly #nodesRead = new Map<Process, number>();
  readonly #disturbedAt: Record<Trouble, number> = { network: 0, database: 0, services: 0 };

  constructor(private readonly site: Site) {}

  /** Something goes wrong, or is mended. */
  disturb(what: readonly Trouble[] = EVERYTHING): void {
    for (const trouble of what) this.#disturbedAt[trouble] = this.site.time.now;
  }

  /** Agents end a connection that is silent: they look for it each minute. */
  ofAgents(): Leap {
    return { polls: (ms, background) => background && ms === AGENT_LOOKS_MS, most: MOST_MS, together: true, idle: () => this.#calm(CALM_MS, NETWORK) };
  }

  leap(process: Process, worker: Worker | 'control'): Leap {
    if (worker === 'control') {
      const ping = this.site.config.control.silence_ms / 5;
      return { polls: (ms, background) => background && ms === ping, together: true, idle: () => this.#calm(CALM_MS, NETWORK), most: this.site.batch === undefined ? AGENTS_MS : PILOTS_MS };
    }
    // The list of the batch system is asked for as often as ever.
    if (worker === 'slots') return { polls: (ms, background) => background && ms <= LOOK_MS, most: PILOTS_MS, idle: () => this.#nothingFor(process, worker) };
    return { polls: (_ms, background) => background, most: MOST_MS, idle: () => this.#nothingFor(process, worker) };
  }

  #calm(ms: number, of: readonly Trouble[] = EVERYTHING): boolean {
    const { weather, network, time, machines, database } = this.site;
    for (const trouble of of) if (time.now - this.#disturbedAt[trouble] <= ms) return false;
    return isCalm(weather) && time.now >= database.awayUntil && network.cutOff.size === 0 && machines.every(isUp);
  }

  #nothingFor(process: Process, worker: Worker): boolean {
    if (!this.site.database.atRest) return false;
    const now = process.clock.now();
    switch (worker) {
      case 'dispatcher': return isLater(this.#look().intent, now);
      case 'sweeper': return isLater(this.#look().sweep, now);
      // It asks one question, more seldom than time could leap.
      case 'pruner': return false;
      case 'monitor': return this.#calm(CALM_MS, this.site.options.services === 1 ? NETWORK_AND_DATABASE : EVERYTHING) && this.#nodesAreRead(process);
      case 'heartbeat': return this.#allLive();
      case 'sinks': return this.#nothingToTell();
      case 'slots': return this.#calm(CALM_MS) && this.#slotsRest(now);
    }
  }

  #look(): Due {
    const { database, batch } = this.site;
    const writes = database.writesTo(batch === undefined ? DUE_TABLES : DUE_TABLES_OF_PILOTS);
    if (this.#asked !== writes) [this.#due = this.#due] = database.postgres.query(batch === undefined ? DUE : DUE_OF_PILOTS);
    this.#asked = writes;
    return this.#due;
  }

  #nothingToTell(): boolean {
    const { database } = this.site;
    if (this.#askedForUsage !== database.writes) this.#untold = database.postgres.query(UNTOLD)[0]?.waits ?? true;
    this.#askedForUsage = database.writes;
    return !this.#untold;
  }

  #nodesAreRead(process: Process): boolean {
    const read = this.#nodesRead.get(process);
    const writes = this.site.database.writesTo(this.site.options.services === 1 ? NODES : NODES_AND_ROOM);
    this.#nodesRead.set(process, writes);
    return read === writes;
  }

  /** Nobody takes another for dead, and of nobody's work is something left to take over. */
  #allLive(): boolean {
    const { services, options } = this.site;
    return (options.services === 1 || this.#calm(LIVES_MS, DATABASE_AND_SERVICES)) && services.length === options.services && this.#look().lives === services.length;
  }

  #slotsRest(now: number): boolean {
    const { restless, waiting_since: since } = this.#look();
    return restless === 0 && (since === null || since + this.site.config.pilot.pending_timeout * 1000 > now);
  }
}

const NODES = ['vmm_node', 'node_channel'];
const NODES_AND_ROOM = [...NODES, ROOM];
const DUE_TABLES = ['lease', 'intent', 'process'];
const DUE_TABLES_OF_PILOTS = [...DUE_TABLES, 'slot', 'slot_node', 'slot_message', 'vmm_node'];
const isUp = (m: { readonly up: boolean }): boolean => m.up;
const isLater = (due: number | null, now: number): boolean => due === null || due > now;
