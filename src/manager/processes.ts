/**
 * The services that share one database. Each has a row and says every second that it lives, by the database's clock. One
 * that is silent for too long is dead for the others: its sessions are ended, so that it holds no lock and what it had not
 * committed is rolled back, then what it had claimed is free. Should it live after all (it was stopped, or cut off), it
 * finds its row over and begins another life: what it then still says for the old one is refused by the claims.
 */
import type { Context } from '../platform/context.ts';
import { VERSION } from '../platform/version.ts';
import type { Db } from '../store/db.ts';
import {
  allProcesses, beatProcess, buryProcess, dropChannels, dropDuties, endProcess, endSessions, forgetProcesses, freeIntents, insertProcess,
  lockReached, markTakenOver, noteAddresses, otherProcesses, processesAt, takeDuty,
} from '../store/processes.ts';

/** A process that was not heard for so long is dead. */
export const DEAD_MS = 5_000;
/** Between two beats of one that may judge others, at most; it has to have beaten so for as long as they were silent. */
const STEADY_MS = 2_500;
const FORGET_EVERY_MS = 3_600_000;

/** This process among those that share the database. */
export interface Self {
  /** What its claims carry; null: it has not joined. */
  id(): number | null;
}

export interface OtherProcess {
  readonly id: number;
  /** Host and data directory. */
  readonly place: string;
  readonly host: string;
  readonly pid: number;
  readonly version: string;
}

export interface ProcessView {
  readonly id: number;
  readonly self: boolean;
  readonly state: 'up' | 'silent' | 'stopped' | 'lost';
  readonly host: string;
  readonly pid: number;
  readonly dataDir: string;
  readonly version: string;
  readonly ec2: string | null;
  readonly pilots: string | null;
  readonly startedAt: number;
  readonly endedAt: number | null;
  /** ms since its last sign of life, by the database's clock */
  readonly silentMs: number;
  /** Fingerprint of the key that starts agents; null: it has not said so */
  readonly operatingKey: string | null;
  /** Its wall clock less the database's, ms */
  readonly clockOffsetMs: number;
  /** Work for nodes that it has claimed, nodes that it has a channel to, what it alone does at a time. */
  readonly intents: number;
  readonly nodes: number;
  readonly duties: readonly string[];
}

export interface Processes extends Self {
  /** Takes the place of whoever was here before: the caller holds the data directory's lock. */
  join(): Promise<void>;
  /** Doors are open. */
  open(at: { readonly ec2: string; readonly pilots: string | null }): Promise<void>;
  /** A sign of life, and a look at the others. */
  beat(): Promise<void>;
  /** In order: what it had is free at once. */
  leave(): Promise<void>;
  others(): Promise<readonly OtherProcess[]>;
  /** There are others, as of the last beat. */
  readonly accompanied: boolean;
  /** URLs at which pilots find the others, as of the last beats. */
  pilotDoors(): readonly string[];
  /** True while this process alone has the duty. */
  take(duty: string): Promise<boolean>;
  list(): Promise<readonly ProcessView[]>;
}

export interface ProcessDeps {
  readonly ctx: Context;
  /** Connections of its own: a sign of life waits for no request. */
  readonly db: Db;
  readonly host: string;
  readonly pid: number;
  readonly dataDir: string;
  /** Name of this process's database sessions. */
  readonly session: string;
  /** Fingerprint of the operating key as it is now, which may be replaced while the service runs. */
  readonly operatingKey?: () => string | null;
  /** Work was freed, or another life began: look for what is due, and say again what is reached. */
  readonly onChange: (what: 'taken-over' | 'reborn') => void;
}

export function createProcesses(deps: ProcessDeps): Processes {
  const { ctx, db, host } = deps;
  const place = `${host}:${deps.dataDir}`;
  let id: number | null = null;
  let ec2: string | null = null;
  let pilots: string | null = null;
  let beatAt = -Infinity;
  /** The database may have been away for all: who was away itself judges nobody until the others had their time. */
  let steadySince = Infinity;
  let forgotAt = -Infinity;
  let doors: readonly string[] = [];
  let accompanied = false;

  async function begin(): Promise<void> {
    const [row] = await db.query(insertProcess, [place, host, deps.pid, VERSION, deps.session, ec2, pilots]);
    id = row?.id ?? null;
  }

  async function takeOver(dead: number): Promise<void> {
    // Its sessions hold locks that the rest would wait for.
    await db.query(endSessions, [dead]);
    await free(dead);
    deps.onChange('taken-over');
  }

  /** Waits for nobody: what another holds just then is left, and with it the process is left, for the next sign of life of any service. */
  async function free(dead: number): Promise<void> {
    await db.transaction(async (tx) => {
      await tx.query(freeIntents, [dead, new Date(ctx.clock.now())]);
      const nodes = (await tx.query(lockReached, [dead])).map((c) => c.node_id);
      if (nodes.length > 0) await tx.query(dropChannels, [dead, nodes]);
      await tx.query(dropDuties, [dead]);
      await tx.query(markTakenOver, [dead]);
    });
  }

  async function follow(silent: readonly number[], left: readonly number[], steady: boolean): Promise<void> {
    const over = [...left];
    for (const one of steady ? silent : []) {
      if ((await db.query(buryProcess, [one, DEAD_MS])).length === 0) continue;
      ctx.log.warn('another service is silent; its work is taken over', { process: one, silentMs: DEAD_MS });
      over.push(one);
    }
    for (const one of over) await takeOver(one);
  }

  return {
    id: () => id,
    async join() {
      const before = await db.query(processesAt, [place]);
      for (const p of before) {
        await db.query(endProcess, [p.id, true]);
        await takeOver(p.id);
      }
      await begin();
    },
    async open(at) {
      [ec2, pilots] = [at.ec2, at.pilots];
      await db.query(noteAddresses, [id, ec2, pilots]);
    },
    async beat() {
      const now = ctx.clock.monotonic();
      const [row] = await db.query(beatProcess, [id, new Date(ctx.clock.now()), DEAD_MS, deps.operatingKey?.() ?? null]);
      const before = beatAt;
      beatAt = ctx.clock.monotonic();
      if (beatAt - before > STEADY_MS) steadySince = beatAt;
      if (row === undefined) return;
      if (row.alive === 0) {
        const last = id;
        await begin();
        ctx.log.warn('this service was silent and others have taken its work over; it goes on as another', { last, process: id });
        deps.onChange('reborn');
      }
      await follow(row.silent, row.left, beatAt - steadySince >= DEAD_MS);
      accompanied = row.others.length > 0;
      doors = row.others.filter((url) => url !== '');
      if (now - forgotAt < FORGET_EVERY_MS) return;
      forgotAt = now;
      await db.query(forgetProcesses);
    },
    async leave() {
      if (id === null) return;
      const mine = id;
      id = null;
      await db.query(endProcess, [mine, false]);
      await free(mine);
    },
    others: () => db.query(otherProcesses, [id]),
    get accompanied() { return accompanied; },
    pilotDoors: () => doors,
    take: async (duty) => id !== null && (await db.query(takeDuty, [duty, id])).length > 0,
    list: async () => (await db.query(allProcesses)).map((p) => ({
      id: p.id, self: p.id === id, host: p.host, pid: p.pid, dataDir: p.place.slice(p.host.length + 1), version: p.version, ec2: p.ec2, pilots: p.pilots,
      state: p.ended_at === null ? (p.silent_ms > DEAD_MS ? 'silent' : 'up') : p.lost ? 'lost' : 'stopped',
      startedAt: p.started_at, endedAt: p.ended_at, silentMs: p.silent_ms, operatingKey: p.operating_key, clockOffsetMs: p.clock_offset_ms, intents: p.intents, nodes: p.nodes, duties: p.duties,
    })),
  };
}
