/** A site in pilot mode whose batch system and pilots are the test's own words. */
import type { JobRequest, JobView, Lrm, SubmitAnswer } from '../../../src/pilot/lrm/types.ts';
import type { NotificationAnswer, PilotMessage } from '../../../src/pilot/protocol.ts';
import type { Clock } from '../../../src/platform/context.ts';
import { statement, type Db } from '../../../src/store/db.ts';
import { openTestSite, type TestSite } from '../../support/site.ts';

export interface WordsLrm extends Lrm {
  readonly submitted: JobRequest[];
  readonly cancelled: string[];
  readonly shrunk: Array<{ jobId: string; part: number; keep: readonly string[] }>;
  readonly jobs: Map<string, JobView>;
  /** Host → part of its job, where that is not the first. */
  readonly partOf: Map<string, number>;
  onSubmit: (job: JobRequest) => SubmitAnswer | Promise<SubmitAnswer>;
  away: boolean;
}

export function wordsLrm(): WordsLrm {
  let next = 100;
  const lrm: WordsLrm = {
    name: 'slurm', submitted: [], cancelled: [], shrunk: [], jobs: new Map(), partOf: new Map(), away: false,
    onSubmit(job) {
      const jobId = String(next += 1);
      lrm.jobs.set(jobId, { jobId, slotId: job.slotId, state: 'queued', native: 'PENDING', reason: 'Resources', position: 1, expectedStart: null, hosts: [], requeued: false });
      return { kind: 'submitted', jobId };
    },
    async submit(job) {
      lrm.submitted.push(job);
      return lrm.onSubmit(job);
    },
    cancel(jobId) {
      lrm.cancelled.push(jobId);
      return Promise.resolve(lrm.jobs.delete(jobId) ? { kind: 'cancelled' } : { kind: 'gone' });
    },
    list: () => Promise.resolve(lrm.away ? { kind: 'unavailable', reason: 'it is away', tookMs: 1 } : { kind: 'listing', jobs: [...lrm.jobs.values()], ignored: [], tookMs: 1 }),
    facts: () => Promise.resolve({ lrm: 'slurm', flavour: 'slurm', version: '22.05', graceS: 30, nodes: 16, heterogeneous: true, shrinks: true, remembers: true, epilogue: '/x' }),
    shrink(jobId, part, keep) {
      lrm.shrunk.push({ jobId, part, keep });
      const job = lrm.jobs.get(jobId);
      if (job !== undefined) lrm.jobs.set(jobId, { ...job, hosts: job.hosts.filter((h) => keep.includes(h) || (lrm.partOf.get(h) ?? 0) !== part) });
      return Promise.resolve({ kind: 'cancelled' });
    },
  };
  return lrm;
}

export interface PilotSite {
  readonly site: TestSite;
  readonly lrm: WordsLrm;
  /** The job of the only slot that lives, now on these hosts. */
  run(...hosts: string[]): Promise<string>;
  /** What the pilot on `host` says, stored and applied. */
  say(slotId: string, host: string, message: Partial<PilotMessage> & Pick<PilotMessage, 'state'>, part?: number): Promise<PilotMessage>;
  /** A sign of life; resolves with what the pilot is told. */
  heartbeat(slotId: string, host: string): Promise<NotificationAnswer>;
  reserved(slotId: string, host: string, part?: number): Promise<void>;
  slot(): Promise<{ id: string; state: string; job_id: string | null; reason_code: string | null; reason: string | null; node_states: string[]; hosts: string[] }>;
  /** Until `what` holds; rejects after some seconds with what it was last. */
  until<T>(read: () => Promise<T>, holds: (value: T) => boolean): Promise<T>;
  states(): Promise<string[]>;
}

const SLOT = statement<Awaited<ReturnType<PilotSite['slot']>>>('test-slot', `
  SELECT s.id, s.state, s.job_id, s.reason_code, s.reason, s.hosts, ARRAY(SELECT n.state FROM slot_node n WHERE n.slot_id = s.id ORDER BY ordinal) AS node_states
    FROM slot s ORDER BY s.created_at DESC, s.id LIMIT 1`);
const STATES = statement<{ state: string }>('test-lease-states', 'SELECT state FROM lease ORDER BY seq');

export async function openPilotSite(config: object = {}, lrm = wordsLrm(), over: { clock?: Clock; seenDb?: (db: Db) => Db } = {}): Promise<PilotSite> {
  const site = await openTestSite({ lrm, nodes: [], ...over, config: { scheduler: { mode: 'pilot' }, pilot: { poll: 3600 }, ...config } });
  const sequence = new Map<string, number>();
  const counters = new Map<string, number>();
  const hex = (n: number): string => site.ctx.random.bytes(n).toString('hex');
  const pilotOf = (slotId: string, host: string): string => Buffer.from(`${slotId.slice(-6)}${host.slice(-2)}`.padEnd(8)).toString('hex');

  async function until<T>(read: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
    const end = performance.now() + 60_000;
    for (;;) {
      const value = await read();
      if (holds(value)) return value;
      if (performance.now() > end) throw new Error(`still ${JSON.stringify(value)}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async function send(slotId: string, host: string, m: Partial<PilotMessage> & Pick<PilotMessage, 'state'>, part: number): Promise<{ message: PilotMessage; answer: NotificationAnswer }> {
    const key = `${slotId} ${host}`;
    const seq = (sequence.get(key) ?? 0) + 1;
    sequence.set(key, seq);
    const now = site.ctx.clock.now();
    const message: PilotMessage = { id: hex(16), seq, at: now, code: 0, ...m };
    const pilot = pilotOf(slotId, host);
    const nc = (counters.get(key) ?? 0) + 1;
    counters.set(key, nc);
    const answer = await site.inbox.take(slotId, { v: 2, slot: slotId, host, part, pilot, sentAt: now, messages: [message] }, { cnonce: pilot, nc });
    return { message, answer };
  }

  const self: PilotSite = {
    site, lrm, until,
    async run(...hosts) {
      const { job_id: jobId } = await until(self.slot, (s) => s.job_id !== null);
      const job = lrm.jobs.get(jobId ?? '');
      if (job === undefined) throw new Error('the batch system has no such job');
      lrm.jobs.set(job.jobId, { ...job, state: 'running', native: 'RUNNING', reason: null, position: null, hosts });
      await site.slots.poll();
      return job.slotId;
    },
    async say(slotId, host, m, part = 0) {
      const { message } = await send(slotId, host, m, part);
      return message;
    },
    heartbeat: async (slotId, host) => (await send(slotId, host, { state: 'alive' }, 0)).answer,
    async reserved(slotId, host, part = 0) {
      const now = site.ctx.clock.now();
      if (part > 0) lrm.partOf.set(host, part);
      await self.say(slotId, host, {
        state: 'reserved', stamps: { 'pilot-start': now - 20, notify: now - 5 },
        reserved: { memoryMb: 128, until: now + 7_200_000, version: '0.0.0' },
      }, part);
    },
    slot: async () => {
      const [row] = await site.db.query(SLOT);
      if (row === undefined) throw new Error('there is no slot');
      return row;
    },
    states: async () => (await site.db.query(STATES)).map((r) => r.state),
  };
  return self;
}
