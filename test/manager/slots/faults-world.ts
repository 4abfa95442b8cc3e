/**
 * A site on virtual time whose service dies and starts again on the same database, over a batch system and pilots that
 * misbehave as the test says. Only the database, the manager and the workers are the product's own.
 */
import type { HandOver } from '../../../src/manager/deps.ts';
import { createManager, type FullManager } from '../../../src/manager/index.ts';
import { createNodePool } from '../../../src/manager/pool.ts';
import { createInbox, type Inbox } from '../../../src/manager/slots/inbox.ts';
import type { ControlClient, NodeRef } from '../../../src/control/types.ts';
import { oneEach } from '../../../src/pilot/lrm/slots.ts';
import type { JobView, Listing, Lrm } from '../../../src/pilot/lrm/types.ts';
import { configSchema, type Config } from '../../../src/platform/config.ts';
import { realRandom } from '../../../src/platform/real.ts';
import { statement, type Db, type Queryable, type Statement } from '../../../src/store/db.ts';
import { createDispatcher } from '../../../src/workers/dispatcher.ts';
import { createNodeMonitor } from '../../../src/workers/node-monitor.ts';
import { createSlotWorker, type SlotWorker } from '../../../src/workers/slots.ts';
import { manualClock, type ManualClock } from '../../control/client/manual-clock.ts';
import { testContext, type TestContext } from '../../support/context.ts';
import { databaseAway } from '../../support/failing-db.ts';
import { FakeLrm, type FakeJob } from '../../support/fake-lrm.ts';
import { openTestSite, type TestSite } from '../../support/site.ts';
import { testSaving } from '../../support/saving.ts';
import { FakePilot } from './faults-pilot.ts';

export interface LeaseRow { id: string; state: string; final: boolean; reason_code: string | null; slot_id: string; slot_state: string; slot_node_state: string }
export interface SlotLook { id: string; state: string; job_id: string | null; reason_code: string | null; nodes: string[] }

const LEASES = statement<LeaseRow>('world-leases', `
  SELECT l.id, l.state, l.final, l.reason_code, n.slot_id, s.state AS slot_state, n.state AS slot_node_state
    FROM lease l JOIN slot_node n ON n.id = l.slot_node_id JOIN slot s ON s.id = n.slot_id WHERE l.created_at >= $1 ORDER BY l.seq`);
const SLOTS = statement<SlotLook>('world-slots', `
  SELECT s.id, s.state, s.job_id, s.reason_code, ARRAY(SELECT n.state FROM slot_node n WHERE n.slot_id = s.id ORDER BY ordinal) AS nodes FROM slot s WHERE s.created_at >= $1 ORDER BY s.created_at, s.id`);

const KILL_WAIT_MS = 10_000;
const LIVE_JOB = new Set(['queued', 'held', 'starting', 'running', 'ending']);

/** What goes wrong with the database: asked by each statement's name, `COMMIT` among them. */
export interface DatabaseFaults {
  fails: (statement: string) => boolean;
  /** Done, and nobody hears of it: statements on their own, and commits. */
  losesAnswer: (statement: string) => boolean;
  count: number;
}

/** One process of the service. Dead, it changes nothing any more and hears no answer. */
interface Life {
  readonly manager: FullManager;
  readonly slots: SlotWorker;
  readonly inbox: Inbox;
  alive: boolean;
  stop(): Promise<void>;
}

export class World {
  readonly clock: ManualClock = manualClock();
  readonly lrm = new FakeLrm((job, host, part) => this.#pilot(job, host, part));
  readonly pilots: FakePilot[] = [];
  /** Jobs go on after their last pilot. */
  jobsLinger = false;
  /** Ids that were asked to be cancelled. */
  readonly cancelled: string[] = [];
  readonly faults: DatabaseFaults = { fails: () => false, losesAnswer: () => false, count: 0 };
  readonly ctx: TestContext;
  readonly #config: Config;
  readonly #nodes = new Map<string, number>();
  readonly #lives: Life[] = [];
  readonly #overSince = new Map<FakeJob, number>();
  #pending = 0;
  #since = 0;
  #life: Life | undefined;

  private constructor(readonly site: TestSite, config: object) {
    this.ctx = testContext({ clock: this.clock });
    this.#config = configSchema.parse({ scheduler: { mode: 'pilot' }, pilot: { poll: 10, silence: 20, ...config } });
    site.control.answer = (nodeId, r) => {
      const pilot = this.#pilotOn(nodeId);
      if (pilot?.alive !== true || pilot.stuck) return 'silent';
      if (r.op === 'release') pilot.giveBack();
      return undefined;
    };
  }

  static async open(pilot: object = {}): Promise<World> {
    const site = await openTestSite({ nodes: [] });
    await site.monitor.stop();
    const world = new World(site, pilot);
    await world.start();
    return world;
  }

  get service(): Life {
    if (this.#life === undefined) throw new Error('the service is not running');
    return this.#life;
  }

  get alive(): boolean {
    return this.#life !== undefined;
  }

  async start(): Promise<void> {
    const life = await this.#begin();
    this.#life = life;
    void life.slots.start().catch(() => undefined);
    await this.idle();
  }

  /** SIGKILL: whatever it was doing is not done, or done and not heard. */
  kill(): void {
    this.service.alive = false;
    this.#life = undefined;
  }

  /** Until nothing moves any more without time. */
  async idle(): Promise<void> {
    for (let quiet = 0; quiet < 4;) {
      await new Promise((resolve) => setImmediate(resolve));
      quiet = this.#pending === 0 ? quiet + 1 : 0;
    }
  }

  /** Time goes on; pilots and the batch system do what they do meanwhile. */
  async pass(seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i += 1) {
      await this.clock.advance(1_000);
      await this.idle();
      for (const pilot of this.pilots.filter((p) => p.alive)) await pilot.step();
      await this.idle();
      for (const job of this.lrm.jobs) this.#follow(job);
    }
  }

  /** Passes time until `holds`, or throws after so many seconds of it. */
  async until(what: string, seconds: number, holds: () => Promise<boolean>): Promise<void> {
    for (let left = seconds; !(await holds()); left -= 1) {
      if (left <= 0) throw new Error(`${what} did not come true within ${seconds} s: ${await this.#picture()}`);
      await this.pass(1);
    }
  }

  /** What is not over. */
  async #picture(): Promise<string> {
    const jobs = this.liveJobs().map((j) => ({ id: j.jobId, slot: j.request.slotId, state: j.state, hosts: j.hosts }));
    const pilots = this.pilots.filter((p) => p.alive).map((p) => ({ slot: p.slot, host: p.host, state: p.state, line: p.line, stuck: p.stuck }));
    return JSON.stringify({ trouble: this.ctx.lines.filter((l) => l.level === 'error').slice(-3), slots: (await this.slots()).filter((s) => s.state !== 'Ended'), leases: (await this.leases()).filter((l) => !l.final), jobs, pilots });
  }

  leases = (): Promise<LeaseRow[]> => this.site.db.query(LEASES, [new Date(this.#since)]);
  slots = (): Promise<SlotLook[]> => this.site.db.query(SLOTS, [new Date(this.#since)]);
  liveJobs = (): FakeJob[] => this.lrm.jobs.filter((j) => LIVE_JOB.has(j.state));

  /** A node for every part of a job that waits. */
  startJob(job: FakeJob): void {
    const nodes = job.request.parts.reduce((n, p) => n + p.nodes, 0);
    this.lrm.start(job, Array.from({ length: nodes }, (_, i) => `n${job.jobId}x${i}`));
  }

  /** What was is over: the batch system is empty and behaves, and only what comes from here on is shown. */
  async forget(): Promise<void> {
    this.jobsLinger = false;
    Object.assign(this.lrm.behaviour, { submit: 'takes', cancel: 'cancels', list: 'lists', kill: 'term-then-kill', until: null, distort: (jobs: JobView[]) => jobs });
    Object.assign(this.lrm.calls, { submit: 0, cancel: 0, list: 0, shrink: 0 });
    for (const list of [this.lrm.jobs, this.pilots, this.cancelled]) list.length = 0;
    if (!this.alive) await this.start();
    // A batch system that was slow is left in peace for a while; this one is another.
    await this.service.slots.poll();
    await this.pass(1);
    this.#since = this.clock.now();
  }

  async close(): Promise<void> {
    for (const life of this.#lives) await life.stop();
    await this.idle();
    await this.site.close();
  }

  #pilot(job: FakeJob, host: string, part: number): FakePilot {
    const pilot = new FakePilot({
      clock: this.clock, random: realRandom,
      notify: (slot, n, proof) => (this.#life === undefined ? Promise.reject(new Error('connection refused')) : this.#life.inbox.take(slot, n, proof)),
      silent: (p) => this.#cutOff(p, 'it does not answer'),
      gone: (p) => this.#over(p),
    }, job.request.slotId, host, part);
    this.pilots.push(pilot);
    return pilot;
  }

  /** Its VMs belong to the job; its channel is closed. */
  #over(pilot: FakePilot): void {
    const nodeId = this.#nodes.get(`${pilot.host}.${pilot.slot}`);
    if (nodeId !== undefined) this.site.control.node(nodeId).vms.clear();
    this.#cutOff(pilot, 'the pilot has closed the channel');
  }

  #cutOff(pilot: FakePilot, why: string): void {
    const nodeId = this.#nodes.get(`${pilot.host}.${pilot.slot}`);
    if (nodeId !== undefined) this.site.control.setUp(nodeId, false, why);
  }

  #pilotOn(nodeId: number): FakePilot | undefined {
    return this.pilots.findLast((p) => this.#nodes.get(`${p.host}.${p.slot}`) === nodeId);
  }

  /** The script of a job ends when its last pilot does; who has not ended when the grace is over is killed. */
  #follow(job: FakeJob): void {
    const alive = [...job.runs.values()].some((run) => run instanceof FakePilot && run.alive);
    if (job.state === 'running' && !alive && !this.jobsLinger) this.lrm.end(job, 'done', true);
    if (!alive || LIVE_JOB.has(job.state)) return;
    const since = this.#overSince.get(job) ?? this.clock.now();
    this.#overSince.set(job, since);
    if (this.clock.now() - since >= KILL_WAIT_MS) this.lrm.killAll(job);
  }

  async #begin(): Promise<Life> {
    const { ctx, clock } = this;
    const config = this.#config;
    const life = { alive: true } as { -readonly [K in keyof Life]: Life[K] };
    const db = this.#mortalDb(life);
    const control = this.#mortalControl(life);
    const pool = createNodePool({ db, clock, strategy: config.scheduler.strategy, reachable: (id) => control.state(id).up });
    const late: { handOver?: HandOver; reload?: () => Promise<void> } = {};
    const borrowing = { facts: () => life.slots.facts(), wake: () => life.slots.wake(), nodesChanged: () => late.reload?.() ?? Promise.resolve(), hostKeys: () => null };
    life.manager = createManager({ ctx, db, config, control, pool, borrowing, handOver: (intents) => late.handOver?.(intents) });
    const { work } = life.manager;
    const saving = testSaving({ ctx, db, control, recorder: work.recorder }, (take) => this.#count(take));
    const dispatcher = createDispatcher({ ctx, db, config, control, recorder: work.recorder, save: saving.save, imagePath: (f) => `/images/${f}` });
    late.handOver = (intents) => dispatcher.handOver(intents);
    const monitor = createNodeMonitor({
      ctx, db, control, nodes: work.nodes, recorder: work.recorder, nodeName: (id) => pool.name(id), refreshPool: (n) => pool.refresh(n), poll: (id) => dispatcher.poll(id),
    });
    late.reload = () => monitor.reload();
    life.slots = createSlotWorker({ ctx, config, lrm: this.#mortalLrm(life), work: work.slots, control, contacts: () => ['http://127.0.0.1:1'], ca: undefined });
    life.inbox = createInbox({ ctx, db, stored: (ids) => life.slots.heard(ids) });
    life.stop = async () => {
      life.alive = false;
      await Promise.all([life.slots.stop(), monitor.stop(), dispatcher.stop()]);
      saving.remove();
    };
    this.#lives.push(life);
    // The site's owner sees to it that the service starts again.
    for (;;) {
      try {
        await monitor.start();
        break;
      } catch {
        await this.clock.advance(100);
      }
    }
    dispatcher.start();
    return life;
  }

  async #count<T>(what: () => Promise<T>): Promise<T> {
    this.#pending += 1;
    try {
      return await what();
    } finally {
      this.#pending -= 1;
    }
  }

  #mortalDb(life: { alive: boolean }): Db {
    const { faults, site } = this;
    const before = (name: string): void => {
      if (!life.alive) throw new Error('the process is gone');
      faults.count += 1;
      if (faults.fails(name)) throw databaseAway();
    };
    const after = (name: string): void => {
      if (!life.alive) throw new Error('the process is gone');
      if (faults.losesAnswer(name)) throw databaseAway();
    };
    const inside = (tx: Queryable): Queryable => ({
      query: async <Row>(s: Statement<Row>, values?: readonly unknown[]) => {
        before(s.name);
        return tx.query(s, values);
      },
    });
    return {
      query: (s, values) => this.#count(async () => {
        before(s.name);
        const rows = await site.db.query(s, values);
        after(s.name);
        return rows;
      }),
      transaction: (fn) => this.#count(async () => {
        const result = await site.db.transaction(async (tx) => {
          const made = await fn(inside(tx));
          before('COMMIT');
          return made;
        });
        after('COMMIT');
        return result;
      }),
      close: () => Promise.resolve(),
    };
  }

  #mortalLrm(life: { alive: boolean }): Lrm {
    const { lrm } = this;
    // Not counted as pending: the test may make the batch system wait for time to pass.
    const ask = async <T>(what: () => Promise<T>): Promise<T> => {
      if (!life.alive) throw new Error('the process is gone');
      const answer = await what();
      if (!life.alive) throw new Error('the process is gone');
      return answer;
    };
    return {
      name: lrm.name, submit: (j) => ask(() => lrm.submit(j)), list: () => ask(() => this.#list()),
      cancel: (id) => ask(() => {
        this.cancelled.push(id);
        return lrm.cancel(id);
      }),
      facts: () => ask(() => lrm.facts()), shrink: (id, part, keep) => ask(() => lrm.shrink(id, part, keep)),
    };
  }

  /** As adapters do: what is doubled is named, and of each slot one job is shown. */
  async #list(): Promise<Listing> {
    const askedAt = this.clock.now();
    const listing = await this.lrm.list();
    const tookMs = this.clock.now() - askedAt;
    if (listing.kind === 'unavailable') return { ...listing, tookMs };
    const { jobs, others, ignored } = oneEach(listing.jobs);
    return { ...listing, jobs, others, ignored: [...listing.ignored, ...ignored], tookMs };
  }

  #mortalControl(life: { alive: boolean }): ControlClient {
    const { control } = this.site;
    const seen = new Set<number>();
    const listeners: Array<Parameters<ControlClient['onState']>[0]> = [];
    const tell: Parameters<ControlClient['onState']>[0] = (s) => { if (life.alive && seen.has(s.nodeId)) listeners.forEach((l) => l(s)); };
    control.onState(tell);
    return {
      ...control,
      setNodes: (refs: readonly NodeRef[]) => {
        for (const ref of refs) {
          if (!life.alive || seen.has(ref.id)) continue;
          this.#nodes.set(ref.name, ref.id);
          control.setNodes([ref]);
          const pilot = this.#pilotOn(ref.id);
          if (pilot?.alive !== true || pilot.stuck) control.setUp(ref.id, false, 'no pilot has come');
          seen.add(ref.id);
          tell(control.state(ref.id));
        }
      },
      state: (id) => control.state(id),
      call: (calls, handlers) => control.call(calls, { ...handlers, onAnswer: (a) => { if (life.alive) handlers.onAnswer(a); } }),
      ask: (nodeId, r) => (life.alive ? control.ask(nodeId, r) : Promise.reject(new Error('the process is gone'))),
      onState: (l) => void listeners.push(l),
      onVmEvent: (l) => control.onVmEvent((nodeId, e) => { if (life.alive) l(nodeId, e); }),
      close: () => Promise.resolve(),
    };
  }
}
