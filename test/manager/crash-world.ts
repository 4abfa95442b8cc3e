/**
 * A site in greedy-static mode whose service is killed and starts again on the same database, over nodes that go on. What
 * leaves the process is counted: every statement and commit, every message to an agent and from one. Each is a moment at
 * which it can die: just before, and just after, when nobody hears any more what came of it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { isFault } from '../../src/lease/faults.ts';
import { createImageRepository } from '../../src/images/repository.ts';
import { createManager, type FullManager } from '../../src/manager/index.ts';
import { createNodePool } from '../../src/manager/pool.ts';
import { createProcesses, type Processes } from '../../src/manager/processes.ts';
import type { AgentRequest } from '../../src/control/protocol.ts';
import type { ControlClient, NodeAnswer } from '../../src/control/types.ts';
import { statement, type Db, type Queryable, type Statement } from '../../src/store/db.ts';
import { createDispatcher, type Dispatcher } from '../../src/workers/dispatcher.ts';
import { createNodeMonitor, type NodeMonitor } from '../../src/workers/node-monitor.ts';
import { createSaver } from '../../src/workers/saving.ts';
import { addNetwork } from '../support/rows.ts';
import { openTestSite, type TestSite } from '../support/site.ts';

export interface Life {
  readonly manager: FullManager;
  readonly dispatcher: Dispatcher;
  readonly monitor: NodeMonitor;
  readonly processes: Processes;
  alive: boolean;
}

/** What an agent says on its way to the answer of a start, if the service hears it in time to write each down by itself. */
const PHASES = ['propagate-begun', 'propagated', 'start-begun'] as const;

/** When it happens: `before` it leaves the process, or `after` it was done and before that is heard. */
export type Moment = `${'before' | 'after'} ${string}`;

const makeDue = statement<never>('crash-due', "UPDATE intent SET next_at = now() - interval '1 s' WHERE state = 'open'");
const open = statement<{ n: number }>('crash-open', "SELECT count(*)::int AS n FROM intent WHERE state = 'open'");

const GONE = 'the process is gone';
/** Of a client that is not answered. */
const TRIES = 12;
/** Every lease takes one and gives it back: as many as a life has at a time, and a few more. */
const ADDRESSES = 8;
const NODES = [{ name: 'n1', memoryMb: 2048, cores: 16 }, { name: 'n2', memoryMb: 2048, cores: 16 }];

export class CrashWorld {
  /** Asked at every moment, by its name; true kills the service there. */
  dies: (moment: Moment) => boolean = () => false;
  /** Where saved disks go: its files outlive each life. */
  readonly images = mkdtempSync(join(tmpdir(), 'crash-images-'));
  /** Of the life: each ends when all rests. */
  step = 0;
  #life: Life | undefined;

  private constructor(readonly site: TestSite) {}

  static async open(options: Pick<NonNullable<Parameters<typeof openTestSite>[0]>, 'config' | 'nodes'> = {}): Promise<CrashWorld> {
    const site = await openTestSite({ nodes: NODES, ...options, config: { lease: { default_network: 'pool' }, ...options.config } });
    await addNetwork(site.db, 'pool', ADDRESSES);
    await site.monitor.stop();
    const world = new CrashWorld(site);
    await world.start();
    return world;
  }

  get life(): Life {
    if (this.#life === undefined) throw new Error('no service runs');
    return this.#life;
  }

  get alive(): boolean {
    return this.#life?.alive === true;
  }

  /** Whoever looks after it starts it again; it may die at once. */
  async start(): Promise<void> {
    const { site } = this;
    const { ctx, config } = site;
    const life = { alive: true } as { -readonly [K in keyof Life]: Life[K] };
    this.#life = life;
    const db = this.#db(life);
    const control = this.#control(life);
    life.processes = createProcesses({ ctx, db, host: 'h', pid: 1, dataDir: '/crash', session: 'crash', onChange: () => undefined });
    await life.processes.join();
    const pool = createNodePool({ db, clock: ctx.clock, strategy: config.scheduler.strategy, reachable: (id) => control.state(id).up, self: life.processes });
    const late: { dispatcher?: Dispatcher } = {};
    life.manager = createManager({ ctx, db, config, control, pool, borrowing: undefined, self: life.processes, handOver: (intents) => late.dispatcher?.handOver(intents) });
    const { recorder, nodes } = life.manager.work;
    const nodeName = (id: number): string => pool.name(id);
    const save = createSaver({ ctx, db, control, recorder, userMb: 1024, repository: createImageRepository({ ctx, db, directory: this.images }) });
    life.dispatcher = late.dispatcher = createDispatcher({ ctx, db, config, control, recorder, save, imagePath: (f) => `/images/${f}`, self: life.processes, elsewhere: (id) => pool.elsewhere(id) });
    const { dispatcher } = life;
    life.monitor = createNodeMonitor({ ctx, db, control, nodes, recorder, nodeName, refreshPool: (rows) => pool.refresh(rows), poll: (id) => dispatcher.poll(id) });
    await life.monitor.start();
  }

  /** The next life begins with the start of a service. */
  async anew(): Promise<void> {
    this.life.alive = false;
    this.step = 0;
    await this.start().catch((e: unknown) => {
      if (this.alive) throw e;
    });
  }

  /** Runs until nothing is open, with a service that is started as often as it dies. */
  async rest(): Promise<void> {
    this.step += 1;
    for (;;) {
      try {
        if (!this.alive) await this.start();
        const { dispatcher, manager, monitor, processes } = this.life;
        while (this.alive && dispatcher.underWay > 0) await new Promise((resolve) => setImmediate(resolve));
        await manager.work.recorder.idle();
        if (!this.alive) continue;
        if ((await this.site.db.query(open))[0]?.n === 0) return;
        // What timers do.
        await processes.beat();
        await this.site.db.query(makeDue);
        await dispatcher.poll();
        await monitor.reload();
      } catch (e) {
        if (this.alive) throw e;
      }
    }
  }

  /** A client that asks until it is answered. `before`: what a refusal is called of what an earlier request, whose answer was lost, has done. */
  async insist<T>(what: () => Promise<T>, before: readonly string[] = []): Promise<T | undefined> {
    for (let attempt = 1; ; attempt += 1) {
      if (!this.alive) await this.rest();
      try {
        return await what();
      } catch (e) {
        if (!this.alive && attempt < TRIES) continue;
        if (attempt > 1 && isFault(e) && before.includes(e.code)) return undefined;
        throw e;
      }
    }
  }

  /** Every moment of a life without a fault, in order. */
  async moments(live: () => Promise<unknown>): Promise<Moment[]> {
    const all: Moment[] = [];
    this.dies = (m) => {
      all.push(m);
      return false;
    };
    await this.anew();
    await live();
    await this.rest();
    this.dies = () => false;
    expect(all, 'a life whose leases have addresses of the pool').toContain('after give-addresses');
    return all;
  }

  /** Kills at these moments, counted from now; those at which it did. */
  killAt(...wanted: number[]): readonly Moment[] {
    const at: Moment[] = [];
    let n = 0;
    this.dies = (m) => {
      n += 1;
      if (!wanted.includes(n)) return false;
      at.push(m);
      return true;
    };
    return at;
  }

  async close(): Promise<void> {
    const life = this.#life;
    if (life?.alive === true) await Promise.all([life.monitor.stop(), life.dispatcher.stop()]);
    await this.site.close();
    rmSync(this.images, { recursive: true, force: true });
  }

  #pass(life: Life, moment: Moment): void {
    if (!life.alive) throw new Error(GONE);
    if (!this.dies(moment)) return;
    life.alive = false;
    throw new Error(GONE);
  }

  #db(life: Life): Db {
    const real = this.site.db;
    const ask = async <Row>(on: Queryable, s: Statement<Row>, values?: readonly unknown[]): Promise<Row[]> => {
      this.#pass(life, `before ${s.name}`);
      const rows = await on.query(s, values);
      // Inside a transaction this is as before the next statement: it is rolled back.
      this.#pass(life, `after ${s.name}`);
      return rows;
    };
    const pass = (moment: Moment): void => this.#pass(life, moment);
    return {
      query: (s, values) => ask(real, s, values),
      async transaction(fn) {
        const made = await real.transaction(async (tx) => {
          const result = await fn({ query: (s, values) => ask(tx, s, values) });
          pass('before COMMIT');
          return result;
        });
        pass('after COMMIT');
        return made;
      },
      close: () => Promise.resolve(),
    };
  }

  /** Nodes hear nothing of a dead service, and it hears nothing of them. */
  #control(life: Life): ControlClient {
    const real = this.site.control;
    const listeners: Array<Parameters<ControlClient['onState']>[0]> = [];
    const seen = new Set<number>();
    const send = async (nodeId: number, r: AgentRequest, handlers: Parameters<ControlClient['call']>[1]): Promise<void> => {
      const hear = async (a: NodeAnswer): Promise<void> => {
        for (const phase of r.op === 'start' && 'done' in a && a.done.ok ? PHASES : []) {
          if (!life.alive || this.#deadAt(life, `before ${phase}`)) return;
          handlers.onProgress?.(nodeId, r.id, phase, this.site.ctx.clock.now());
          await life.manager.work.recorder.idle();
        }
        if (!life.alive || this.#deadAt(life, `after ${r.op}`)) return;
        handlers.onAnswer(a);
      };
      let heard = Promise.resolve();
      try {
        this.#pass(life, `before ${r.op}`);
        await real.call([{ nodeId, requests: [r] }], { ...handlers, onAnswer: (a) => { heard = hear(a); } });
        await heard;
      } catch {
        // Nobody waits for it any more.
      }
    };
    return {
      ...real,
      state: (id) => real.state(id),
      setNodes: (refs) => {
        real.setNodes(refs);
        for (const { id } of refs) {
          if (seen.has(id)) continue;
          seen.add(id);
          for (const l of listeners) l(real.state(id));
        }
      },
      call: async (calls, handlers) => void await Promise.all(calls.flatMap(({ nodeId, requests }) => requests.map((r) => send(nodeId, r, handlers)))),
      ask: async (nodeId, r) => {
        this.#pass(life, `before ${r.op}`);
        const done = await real.ask(nodeId, r);
        this.#pass(life, `after ${r.op}`);
        return done;
      },
      onState: (l) => {
        listeners.push(l);
        real.onState((s) => { if (life.alive && seen.has(s.nodeId)) l(s); });
      },
      onVmEvent: (l) => real.onVmEvent((nodeId, e) => { if (life.alive && !this.#deadAt(life, 'before vm-exited')) l(nodeId, e); }),
    };
  }

  #deadAt(life: Life, moment: Moment): boolean {
    try {
      this.#pass(life, moment);
      return false;
    } catch {
      return true;
    }
  }
}
