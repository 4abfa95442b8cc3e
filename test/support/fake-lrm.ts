/**
 * Batch systems that misbehave on demand. `FakeLrm` is one in this process: tests start, end and lose its jobs, and say what
 * it answers. `fakeSlurmCommands` makes commands that a whole service can be configured with.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CancelAnswer, JobRequest, JobState, JobView, Listing, Lrm, LrmFacts, SubmitAnswer } from '../../src/pilot/lrm/types.ts';

/** What runs on one node of a job: a real or a fake pilot. */
export interface NodeRun {
  signal(name: 'SIGTERM' | 'SIGKILL'): void;
}

export interface FakeJob {
  readonly jobId: string;
  readonly request: JobRequest;
  state: JobState;
  native: string;
  reason: string | null;
  hosts: readonly string[];
  requeued: boolean;
  readonly runs: Map<string, NodeRun>;
  readonly partOf: Map<string, number>;
}

export interface Behaviour {
  /** `lost-answer`: the job is made, the answer is `unknown`. `lost-question`: it is not made. */
  submit: 'takes' | 'rejects' | 'lost-answer' | 'lost-question';
  /** `ignores`: says that it has cancelled, and has not. */
  cancel: 'cancels' | 'unknown' | 'ignores';
  list: 'lists' | 'unavailable';
  /** What an end of a running job sends: as it should; SIGKILL without warning; SIGTERM that nothing follows. */
  kill: 'term-then-kill' | 'kill-only' | 'term-only';
  /** Each answer waits for this. */
  until: Promise<void> | null;
  /** The listing's last word: lies, doubled jobs, missing ones. */
  distort: (jobs: JobView[]) => JobView[];
}

const OVER: readonly JobState[] = ['done', 'failed', 'cancelled', 'timeout', 'preempted', 'node-failed'];

export class FakeLrm implements Lrm {
  readonly name = 'slurm';
  readonly jobs: FakeJob[] = [];
  /** Job ids are not given twice, whatever is forgotten. */
  #submitted = 0;
  readonly behaviour: Behaviour = { submit: 'takes', cancel: 'cancels', list: 'lists', kill: 'term-then-kill', until: null, distort: (jobs) => jobs };
  readonly calls = { submit: 0, cancel: 0, list: 0, shrink: 0 };
  facts_: LrmFacts = {
    lrm: 'slurm', flavour: 'slurm', version: 'fake', graceS: 5, nodes: 16, heterogeneous: true, shrinks: true, remembers: true, epilogue: '/etc/slurm/epilog',
  };

  /** @param onStart called for each node of a job that starts */
  constructor(private readonly onStart: (job: FakeJob, host: string, part: number) => NodeRun = () => ({ signal: () => undefined })) {}

  async submit(request: JobRequest): Promise<SubmitAnswer> {
    this.calls.submit += 1;
    await this.behaviour.until;
    if (this.behaviour.submit === 'rejects') return { kind: 'rejected', reason: 'the fake refuses it' };
    if (this.behaviour.submit === 'lost-question') return { kind: 'unknown', reason: 'the fake did not hear it' };
    const job: FakeJob = { jobId: String((this.#submitted += 1)), request, state: 'queued', native: 'PENDING', reason: 'Resources', hosts: [], requeued: false, runs: new Map(), partOf: new Map() };
    this.jobs.push(job);
    if (this.behaviour.submit === 'lost-answer') return { kind: 'unknown', reason: 'the fake\'s answer was lost' };
    return { kind: 'submitted', jobId: job.jobId };
  }

  async cancel(jobId: string): Promise<CancelAnswer> {
    this.calls.cancel += 1;
    await this.behaviour.until;
    const job = this.jobs.find((j) => j.jobId === jobId);
    if (this.behaviour.cancel === 'unknown') return { kind: 'unknown', reason: 'the fake does not say' };
    if (job === undefined || OVER.includes(job.state)) return { kind: 'gone' };
    if (this.behaviour.cancel === 'cancels') this.end(job, 'cancelled');
    return { kind: 'cancelled' };
  }

  async list(): Promise<Listing> {
    this.calls.list += 1;
    await this.behaviour.until;
    if (this.behaviour.list === 'unavailable') return { kind: 'unavailable', reason: 'the fake has no list', tookMs: 1 };
    const waiting = this.jobs.filter((j) => j.state === 'queued');
    const views = this.jobs.map((j): JobView => ({
      jobId: j.jobId, slotId: j.request.slotId, state: j.state, native: j.native, reason: j.reason, position: j.state === 'queued' ? waiting.indexOf(j) + 1 : null,
      expectedStart: null, hosts: j.hosts, requeued: j.requeued,
    }));
    return { kind: 'listing', jobs: this.behaviour.distort(views), ignored: [], tookMs: 1 };
  }

  facts(): Promise<LrmFacts> {
    return Promise.resolve(this.facts_);
  }

  async shrink(jobId: string, part: number, keep: readonly string[]): Promise<CancelAnswer> {
    this.calls.shrink += 1;
    await this.behaviour.until;
    const job = this.jobs.find((j) => j.jobId === jobId);
    if (job === undefined || OVER.includes(job.state)) return { kind: 'gone' };
    const goes = job.hosts.filter((h) => job.partOf.get(h) === part && !keep.includes(h));
    for (const host of goes) this.kill(job, host);
    job.hosts = job.hosts.filter((h) => !goes.includes(h));
    return { kind: 'cancelled' };
  }

  /** The job of a slot, the latest. @throws Error when there is none */
  jobOf(slotId: string): FakeJob {
    const job = this.jobs.findLast((j) => j.request.slotId === slotId);
    if (job === undefined) throw new Error(`the fake has no job of ${slotId}`);
    return job;
  }

  /** Begins on these nodes, in the order of its parts. */
  start(job: FakeJob, hosts: readonly string[]): void {
    const parts = job.request.parts.flatMap((p, part) => Array.from({ length: p.nodes }, () => part));
    if (hosts.length !== parts.length) throw new Error(`a job of ${parts.length} nodes was given ${hosts.length}`);
    Object.assign(job, { state: 'running', native: 'RUNNING', reason: null, hosts: [...hosts] });
    hosts.forEach((host, i) => {
      job.partOf.set(host, parts[i] ?? 0);
      job.runs.set(host, this.onStart(job, host, parts[i] ?? 0));
    });
  }

  /** Ends, with signals as `behaviour.kill` says; `quietly`: its processes have ended by themselves. */
  end(job: FakeJob, state: JobState, quietly = false): void {
    const { kill } = this.behaviour;
    for (const run of quietly ? [] : job.runs.values()) {
      if (kill !== 'kill-only') run.signal('SIGTERM');
      // The grace between the two is the test's own to give: it calls `killAll` when that is over.
      if (kill === 'kill-only') run.signal('SIGKILL');
    }
    Object.assign(job, { state, native: state.toUpperCase() });
  }

  /** The end of the grace; never comes with `term-only`. */
  killAll(job: FakeJob): void {
    if (this.behaviour.kill === 'term-only') return;
    for (const host of job.runs.keys()) this.kill(job, host);
  }

  /** SIGTERM while the job goes on: the grace before a preemption. */
  warn(job: FakeJob): void {
    for (const run of job.runs.values()) run.signal('SIGTERM');
  }

  hold(job: FakeJob): void {
    Object.assign(job, { state: 'held', native: 'PENDING', reason: 'JobHeldUser' });
  }

  requeue(job: FakeJob): void {
    for (const host of [...job.runs.keys()]) this.kill(job, host);
    Object.assign(job, { state: 'queued', native: 'PENDING', reason: 'BeginTime', hosts: [], requeued: true });
  }

  /** Is in no list any more. Its processes are not told. */
  vanish(job: FakeJob): void {
    this.jobs.splice(this.jobs.indexOf(job), 1);
  }

  private kill(job: FakeJob, host: string): void {
    job.runs.get(host)?.signal('SIGKILL');
    job.runs.delete(host);
  }
}

export type Fault = { readonly exit?: number; readonly stderr?: string; readonly delayMs?: number; readonly silent?: boolean };

/** Commands of Slurm over files in `dir` (test/fixtures/lrm/bin/lrm.mjs). */
export interface FakeSlurmCommands {
  /** For the section `[slurm]` of a configuration. */
  readonly settings: Readonly<Record<'sbatch' | 'squeue' | 'scancel' | 'scontrol' | 'srun', string>>;
  /** Takes effect with the next command. */
  faults(faults: Partial<Record<'sbatch' | 'squeue' | 'scancel' | 'scontrol', Fault>>): void;
}

/** @param dir of the test; the caller ends the jobs and removes it */
export function fakeSlurmCommands(dir: string, options: { readonly nodes: readonly string[]; readonly killWaitS?: number; readonly epilog?: string }): FakeSlurmCommands {
  const state = join(dir, 'state');
  mkdirSync(join(state, 'jobs'), { recursive: true });
  mkdirSync(join(dir, 'bin'));
  writeFileSync(join(state, 'config.json'), JSON.stringify({ killWaitS: 5, ...options }));
  const main = fileURLToPath(new URL('../fixtures/lrm/bin/lrm.mjs', import.meta.url));
  const settings = Object.fromEntries((['sbatch', 'squeue', 'scancel', 'scontrol', 'srun'] as const).map((verb) => {
    const file = join(dir, 'bin', verb);
    writeFileSync(file, `#!/bin/sh\nexec '${process.execPath}' '${main}' '${state}' ${verb} "$@"\n`);
    chmodSync(file, 0o755);
    return [verb, file];
  })) as FakeSlurmCommands['settings'];
  return { settings, faults: (faults) => writeFileSync(join(state, 'faults.json'), JSON.stringify(faults)) };
}
