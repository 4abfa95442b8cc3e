/**
 * When a poll would find nothing, so that time may leap over it. What it would look for is asked of the database once, and again when
 * something was written; while anything is wrong, or was a moment ago, nothing is leapt over.
 */
import { statement } from '../../../src/store/db.ts';
import type { Process } from './process.ts';
import type { Worker } from './service.ts';
import type { Site } from './site.ts';
import type { Leap } from './time.ts';
import { isCalm } from './weather.ts';

/** After a disturbance every poll is made for so long. */
const CALM_MS = 20_000;
/** Agents end a silent connection after 15 minutes, pilots after one. */
const AGENTS_MS = 300_000;
const PILOTS_MS = 40_000;
/** The slot worker looks at its tables so often, or more often. */
const LOOK_MS = 5_000;

interface Due { sweep: number | null; intent: number | null; restless: number; waiting_since: number | null }
/** A slot is at rest while it waits in the queue, or while each of its nodes is there and holds a lease. */
const DUE = statement<Due>('sim-due', `
  SELECT (SELECT min(ends_at) FROM lease WHERE NOT final AND state <> 'Ending') AS sweep, (SELECT min(next_at) FROM intent WHERE state = 'open') AS intent,
         (SELECT min(created_at) FROM slot WHERE state = 'Queued') AS waiting_since,
         ((SELECT count(*) FROM slot_message WHERE NOT applied) + (SELECT count(*) FROM slot s WHERE NOT s.final AND (s.state NOT IN ('Queued', 'Ready')
           OR EXISTS (SELECT 1 FROM slot_node n LEFT JOIN vmm_node v ON v.id = n.node_id WHERE n.slot_id = s.id
               AND (NOT EXISTS (SELECT 1 FROM lease l WHERE l.slot_node_id = n.id AND l.holding) OR (s.state = 'Ready' AND (n.state <> 'Reserved' OR NOT v.reachable)))))))::int AS restless`);

export class Idle {
  #due: Due = { sweep: null, intent: null, restless: 0, waiting_since: null };
  #asked = -1;
  /** Of each process: the state of the tables at its last look at the nodes. */
  readonly #nodesRead = new Map<Process, number>();
  #disturbedAt = 0;

  constructor(private readonly site: Site) {}

  /** Something goes wrong, or is mended. */
  disturb(): void {
    this.#disturbedAt = this.site.time.now;
  }

  leap(process: Process, worker: Worker | 'control'): Leap {
    if (worker === 'control') {
      const ping = this.site.config.control.silence_ms / 5;
      return { polls: (ms, background) => background && ms === ping, idle: () => this.#calm(), most: this.site.batch === undefined ? AGENTS_MS : PILOTS_MS };
    }
    // The list of the batch system is asked for as often as ever.
    if (worker === 'slots') return { polls: (ms, background) => background && ms <= LOOK_MS, most: PILOTS_MS, idle: () => this.#calm() && this.#nothingFor(process, worker) };
    return { polls: (_ms, background) => background, most: AGENTS_MS, idle: () => this.#calm() && this.#nothingFor(process, worker) };
  }

  #calm(): boolean {
    const { weather, network, time, machines, database } = this.site;
    return time.now - this.#disturbedAt > CALM_MS && isCalm(weather) && network.cutOff.size === 0 && time.now >= database.awayUntil && machines.every((m) => m.up);
  }

  #nothingFor(process: Process, worker: Worker): boolean {
    const { database } = this.site;
    if (!database.atRest) return false;
    if (worker === 'monitor') {
      const read = this.#nodesRead.get(process);
      this.#nodesRead.set(process, database.writes);
      return read === database.writes;
    }
    if (this.#asked !== database.writes) {
      this.#asked = database.writes;
      [this.#due = this.#due] = database.postgres.query(DUE);
    }
    const { sweep, intent, restless, waiting_since: since } = this.#due;
    const now = process.clock.now();
    // A service that is alone has nobody who would take it for dead.
    if (worker === 'heartbeat') return this.site.options.services === 1;
    if (worker === 'slots') return restless === 0 && (since === null || since + this.site.config.pilot.pending_timeout * 1000 > now);
    const due = worker === 'sweeper' ? sweep : intent;
    return due === null || due > now;
  }
}
