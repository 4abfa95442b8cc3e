/**
 * A batch system: it queues jobs, gives them machines, starts a pilot on each, ends jobs with SIGTERM, a grace and SIGKILL, and runs its
 * epilogue on a node whose job is over. It also loses jobs, lies, forgets, preempts and kills without a word, as the faults have it.
 */
import { oneEach } from '../../../src/pilot/lrm/slots.ts';
import type { CancelAnswer, JobRequest, JobState, JobView, Listing, Lrm, LrmFacts, SubmitAnswer } from '../../../src/pilot/lrm/types.ts';
import type { Machine } from '../node/machine.ts';
import { startPilot, runEpilogue, type PilotRun } from '../node/pilot.ts';
import { never, type Process } from './process.ts';
import type { Dice } from './random.ts';
import type { Site } from './site.ts';

export interface Job {
  readonly jobId: string;
  readonly request: JobRequest;
  state: JobState;
  reason: string | null;
  hosts: string[];
  requeued: boolean;
  /** In no list any more. */
  vanished: boolean;
  readonly runs: Map<string, PilotRun>;
  /** Of each of its hosts. */
  readonly parts: Map<string, number>;
  /** Which run this is; what was set for an earlier one is void. */
  run: number;
}

const GRACE_MS = 10_000;
/** From a free machine to the pilot's first instruction. */
const START_MS = 2_000;
const NODE_FAIL_MS = 20_000;
const LIVE: ReadonlySet<JobState> = new Set<JobState>(['queued', 'held', 'starting', 'running', 'ending']);
const NATIVE: Readonly<Record<JobState, string>> = {
  queued: 'PENDING', held: 'PENDING', starting: 'CONFIGURING', running: 'RUNNING', ending: 'COMPLETING', done: 'COMPLETED', failed: 'FAILED', cancelled: 'CANCELLED',
  timeout: 'TIMEOUT', preempted: 'PREEMPTED', 'node-failed': 'NODE_FAIL',
};

/** How it answers, as shares of all answers. */
export interface Mood {
  rejects: number;
  loses: number;
  slow: number;
  lies: number;
}
export const HONEST: Readonly<Mood> = { rejects: 0, loses: 0, slow: 0, lies: 0 };

export class BatchSystem {
  readonly jobs: Job[] = [];
  readonly mood: Mood = { ...HONEST };
  readonly #dice: Dice;
  #submitted = 0;
  /** Goes up whenever its list changes. */
  changes = 0;

  constructor(private readonly site: Site) {
    this.#dice = site.dice.fork('batch');
  }

  /** Its commands, as one process of the service calls them. */
  of(process: Process): Lrm {
    const ask = async <T>(answer: () => T): Promise<T> => {
      if (this.#dice.chance(this.mood.slow)) await new Promise<void>((resolve) => process.clock.after(this.#dice.int(100, 40_000), resolve));
      if (!process.alive) return never<T>();
      this.site.network.onMessage(process, process);
      return process.alive ? answer() : never<T>();
    };
    return {
      name: 'slurm',
      submit: (r) => ask(() => this.#submit(r)), cancel: (id) => ask(() => this.#cancel(id)), shrink: (id, part, keep) => ask(() => this.#shrink(id, part, keep)),
      list: async () => {
        const begun = process.clock.monotonic();
        const listing = await ask(() => this.#list());
        return { ...listing, tookMs: process.clock.monotonic() - begun };
      },
      facts: () => ask((): LrmFacts => ({
        lrm: 'slurm', flavour: 'slurm', version: '22.05', graceS: GRACE_MS / 1000, nodes: this.site.machines.length, heterogeneous: true, shrinks: true, remembers: true, epilogue: '/x',
      })),
    };
  }

  get isHonest(): boolean {
    const { rejects, loses, slow, lies } = this.mood;
    return rejects + loses + slow + lies === 0;
  }

  live(): Job[] {
    return this.jobs.filter((j) => LIVE.has(j.state));
  }

  running(): Job[] {
    return this.jobs.filter((j) => j.state === 'running');
  }

  pilots(): PilotRun[] {
    return this.jobs.flatMap((j) => [...j.runs.values()]).filter((p) => p.process.alive);
  }

  #submit(request: JobRequest): SubmitAnswer {
    if (this.#dice.chance(this.mood.rejects)) return { kind: 'rejected', reason: 'Invalid account' };
    if (this.#dice.chance(this.mood.loses / 2)) return { kind: 'unknown', reason: 'it was not heard' };
    const job: Job = { jobId: String((this.#submitted += 1)), request, state: 'queued', reason: 'Resources', hosts: [], requeued: false, vanished: false, runs: new Map(), parts: new Map(), run: 0 };
    this.jobs.push(job);
    this.changes += 1;
    this.site.trace.add('job', job.jobId, request.slotId);
    this.#soon();
    return this.#dice.chance(this.mood.loses) ? { kind: 'unknown', reason: 'its answer was lost' } : { kind: 'submitted', jobId: job.jobId };
  }

  #cancel(jobId: string): CancelAnswer {
    const job = this.jobs.find((j) => j.jobId === jobId);
    if (this.#dice.chance(this.mood.loses)) return { kind: 'unknown', reason: 'it does not say' };
    if (job === undefined || !LIVE.has(job.state)) return { kind: 'gone' };
    if (!this.#dice.chance(this.mood.lies)) this.end(job, 'cancelled');
    return { kind: 'cancelled' };
  }

  #shrink(jobId: string, part: number, keep: readonly string[]): CancelAnswer {
    const job = this.jobs.find((j) => j.jobId === jobId);
    if (job?.state !== 'running') return { kind: 'gone' };
    for (const host of job.hosts.filter((h) => job.parts.get(h) === part && !keep.includes(h))) this.#leave(job, host);
    return { kind: 'cancelled' };
  }

  #list(): Listing {
    if (this.#dice.chance(this.mood.loses)) return { kind: 'unavailable', reason: 'no answer', tookMs: 0 };
    const waiting = this.jobs.filter((j) => j.state === 'queued');
    let views = this.jobs.filter((j) => !j.vanished).map((j): JobView => ({
      jobId: j.jobId, slotId: j.request.slotId, state: j.state, native: NATIVE[j.state], reason: j.reason, position: j.state === 'queued' ? waiting.indexOf(j) + 1 : null, expectedStart: null,
      hosts: [...j.hosts], requeued: j.requeued,
    }));
    if (this.#dice.chance(this.mood.lies)) {
      views = this.#dice.pick([views.filter((_, i) => i % 2 === 0), [], [...views, ...views], views.map((v) => ({ ...v, state: 'done' as const, native: 'COMPLETED' }))]);
    }
    const { jobs, others, ignored } = oneEach(views);
    return { kind: 'listing', jobs, others, ignored, tookMs: 0 };
  }

  /** Starts what waits, in order, where machines are free. */
  #soon(): void {
    this.site.time.after(START_MS, () => {
      for (const job of this.jobs.filter((j) => j.state === 'queued')) {
        const free = this.site.machines.filter((m) => m.up && !this.#taken(m));
        const nodes = job.request.parts.flatMap((p, part) => Array.from({ length: p.nodes }, () => part));
        if (free.length < nodes.length) return;
        this.#start(job, free.slice(0, nodes.length), nodes);
      }
    });
  }

  #taken(machine: Machine): boolean {
    return this.jobs.some((j) => j.hosts.includes(machine.name) && (LIVE.has(j.state) || j.runs.get(machine.name)?.process.alive === true));
  }

  #start(job: Job, machines: readonly Machine[], parts: readonly number[]): void {
    Object.assign(job, { state: 'running', reason: null, hosts: machines.map((m) => m.name), run: job.run + 1 });
    this.changes += 1;
    const { run } = job;
    this.site.trace.add('job runs', job.jobId, job.hosts.join());
    job.runs.clear();
    machines.forEach((machine, i) => {
      job.parts.set(machine.name, parts[i] ?? 0);
      const argv = job.request.parts[parts[i] ?? 0]?.argv ?? [];
      const pilot = startPilot(this.site, machine, argv, job.request.credentials);
      job.runs.set(machine.name, pilot);
      pilot.process.atEnd(() => {
        // What is over is not kept: each is a whole program.
        if (job.runs.get(machine.name) === pilot) job.runs.delete(machine.name);
        this.#exited(job, run);
      });
    });
    this.site.time.after(job.request.walltimeS * 1000, () => { if (job.run === run && job.state === 'running') this.end(job, 'timeout'); });
  }

  /** The job's script ends with the last of its pilots. */
  #exited(job: Job, run: number): void {
    if (job.run !== run || [...job.runs.values()].some((p) => p.process.alive)) return;
    if (job.state !== 'running') return this.#soon();
    const failed = this.site.machines.some((m) => job.hosts.includes(m.name) && !m.up);
    // That a node does not answer is noticed after a while.
    if (failed) return void this.site.time.after(NODE_FAIL_MS, () => { if (job.run === run && job.state === 'running') this.end(job, 'node-failed'); });
    job.state = 'done';
    this.changes += 1;
    this.#epilogue(job, job.hosts);
    this.#soon();
  }

  /** SIGTERM, and when the grace is over SIGKILL. */
  end(job: Job, state: JobState): void {
    const waited = job.state === 'queued' || job.state === 'held';
    this.changes += 1;
    job.state = state;
    job.reason = state === 'timeout' ? 'TimeLimit' : null;
    this.site.trace.add('job ends', job.jobId, state);
    if (waited) return;
    const { run } = job;
    for (const pilot of job.runs.values()) pilot.signal();
    this.site.time.after(GRACE_MS, () => { if (job.run === run) this.kill(job); });
  }

  /** Without a word. */
  kill(job: Job): void {
    this.changes += 1;
    if (LIVE.has(job.state)) job.state = 'failed';
    for (const host of job.hosts) this.#leave(job, host);
    this.#soon();
  }

  /** SIGTERM while the job goes on: a preemption begins. */
  warn(job: Job): void {
    for (const pilot of job.runs.values()) pilot.signal();
    const { run } = job;
    this.site.time.after(GRACE_MS, () => { if (job.run === run && job.state === 'running') this.end(job, 'preempted'); });
  }

  requeue(job: Job): void {
    for (const host of [...job.hosts]) this.#leave(job, host);
    this.changes += 1;
    Object.assign(job, { state: 'queued', reason: 'BeginTime', hosts: [], requeued: true, run: job.run + 1 });
    this.#soon();
  }

  /** For a while no list has it. */
  lose(job: Job, ms: number): void {
    const vanish = (vanished: boolean): void => {
      this.changes += 1;
      job.vanished = vanished;
    };
    vanish(true);
    this.site.time.after(ms, () => vanish(false));
  }

  #leave(job: Job, host: string): void {
    this.changes += 1;
    job.runs.get(host)?.process.kill();
    if (LIVE.has(job.state)) job.hosts = job.hosts.filter((h) => h !== host);
    this.#epilogue(job, [host]);
  }

  /** What a killed pilot has left is given back. */
  #epilogue(job: Job, hosts: readonly string[]): void {
    for (const m of this.site.machines) if (hosts.includes(m.name) && m.up) runEpilogue(this.site, m, job.request.slotId);
  }
}
