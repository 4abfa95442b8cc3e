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

interface Due { sweep: number | null; intent: number | null; slots: number }
const DUE = statement<Due>('sim-due', `
  SELECT (SELECT min(ends_at) FROM lease WHERE NOT final AND state <> 'Ending') AS sweep, (SELECT min(next_at) FROM intent WHERE state = 'open') AS intent,
         (SELECT count(*)::int FROM slot WHERE NOT final) AS slots`);

export class Idle {
  #due: Due = { sweep: null, intent: null, slots: 0 };
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
    const { sweep, intent, slots } = this.#due;
    const now = process.clock.now();
    if (worker === 'slots') return slots === 0;
    const due = worker === 'sweeper' ? sweep : intent;
    return due === null || due > now;
  }
}
