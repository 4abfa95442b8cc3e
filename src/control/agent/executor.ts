/**
 * Takes requests, from any number of connections, and answers each once.
 *
 *   taken:   refused when its generation is lower than one seen; answered again when its id is remembered; attached when
 *            it is under way; else acknowledged and put into its lease's lane
 *   its turn: performed unless a higher generation was seen meanwhile or its deadline has passed
 *   ended:   the lease's record is written with the answer, then the answer goes out
 *
 * Questions (info, list, console, read-saved, status) change nothing and wait for nobody.
 */
import type { AgentErrorCode, AgentRequest, Done, DoneResult } from '../protocol.ts';
import { within } from './clock.ts';
import type { Clock } from './clock.ts';
import { AgentFault, asAgentError } from './fault.ts';
import { Lanes } from './lanes.ts';
import type { Log } from './log.ts';
import { Operation } from './operation.ts';
import type { LeaseRequest, Reply } from './operation.ts';
import { infoOf } from './records.ts';
import type { LeaseRecord, Records } from './records.ts';
import type { Vms } from './vms.ts';

/** What a driver may still do after its operation was broken off, before the lease's next operation begins. */
const SETTLE_MS = 60_000;

/** For ending VMs beyond the grace that their guests have. */
const END_ALL_MS = 60_000;

/** Failures that the same request may repair when it comes again: they are not remembered. */
const REPEATABLE: ReadonlySet<AgentErrorCode> = new Set(['ImageMissing', 'ImageCorrupt', 'StaleGeneration', 'Retiring', 'BadRequest']);

export type Question = Exclude<AgentRequest, LeaseRequest>;

export interface ExecutorParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly records: Records;
  readonly vms: Vms;
  readonly parallel: number;
  readonly ask: (question: Question) => Promise<DoneResult>;
}

export class Executor {
  readonly #parts: ExecutorParts;
  readonly #lanes: Lanes;
  readonly #underWay = new Map<string, Map<string, Operation>>();
  readonly #questions = new Set<Promise<void>>();
  #retiring: string | undefined;
  /** No VM is made any more; those that are here may still be spoken of. */
  #givenBack: string | undefined;
  #count = 0;
  #endings = 0;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    this.#lanes = new Lanes(parts.parallel);
  }

  /** Requests taken and not yet answered. */
  get count(): number {
    return this.#count;
  }

  submit(request: AgentRequest, reply: Reply): void {
    if (!('generation' in request)) return this.#question(request, reply);
    const { id, lease, generation } = request;
    const same = this.#underWay.get(lease)?.get(id);
    if (same !== undefined && same.answered === undefined) return same.listen(reply);
    const remembered = this.#remembered(request);
    if (remembered !== undefined) {
      reply.ack(id);
      return reply.done(remembered);
    }
    const refusal = this.#refusal(request);
    if (refusal !== undefined) return reply.done(failure(id, refusal, { received: this.#parts.clock.now() }));
    this.#parts.records.see(lease, generation);
    this.#supersede(request);
    if (request.op === 'remove' || request.op === 'shutdown') this.#hasten(lease, request.graceMs ?? 0);
    this.#take(new Operation(request, this.#parts.clock), reply);
  }

  /** A connection has gone: nobody waits for its answers any more, the work goes on. */
  leave(reply: Reply): void {
    for (const operations of this.#underWay.values()) for (const op of operations.values()) op.leave(reply);
  }

  /** From now on everything new is refused; resolves when all that was taken has ended. */
  async retire(why: string): Promise<void> {
    this.#retiring ??= why;
    await this.idle();
  }

  /**
   * Makes no VM any more, breaks off what makes one, and removes every VM under the generation that was seen last. Resolves
   * when each is gone or its removal has failed.
   */
  async endAll(graceMs: number, why: string): Promise<void> {
    this.#givenBack ??= why;
    for (const operations of this.#underWay.values()) {
      for (const op of operations.values()) if (op.request.op !== 'remove') op.breakOff(new AgentFault('Retiring', why));
    }
    const { records, clock } = this.#parts;
    await Promise.all(records.live().map(({ lease }) => new Promise<void>((resolve) => {
      this.#hasten(lease, graceMs);
      this.#endings += 1;
      const request: LeaseRequest = {
        op: 'remove', id: `end-all-${this.#endings}`, lease, generation: records.seen(lease), graceMs, deadlineMs: graceMs + END_ALL_MS,
      };
      this.#take(new Operation(request, clock), { ack: () => undefined, progress: () => undefined, done: () => resolve() });
    })));
  }

  async idle(): Promise<void> {
    await this.#lanes.idle();
    await Promise.all(this.#questions);
  }

  #refusal(request: LeaseRequest): AgentFault | undefined {
    if (this.#retiring !== undefined) return new AgentFault('Retiring', this.#retiring);
    if (this.#givenBack !== undefined && 'vm' in request) return new AgentFault('Retiring', this.#givenBack);
    const seen = this.#parts.records.seen(request.lease);
    return request.generation < seen ? stale(request, seen) : undefined;
  }

  #remembered({ id, lease }: LeaseRequest): Done | undefined {
    return this.#parts.records.get(lease)?.answers.find((d) => d.id === id);
  }

  #take(op: Operation, reply: Reply): void {
    const { id, lease } = op.request;
    const ofLease = this.#underWay.get(lease) ?? new Map<string, Operation>();
    this.#underWay.set(lease, ofLease.set(id, op));
    this.#count += 1;
    op.listen(reply);
    this.#lanes.add(lease, async () => {
      try {
        await this.#run(op);
      } finally {
        this.#count -= 1;
        if (ofLease.get(id) === op) ofLease.delete(id);
        if (ofLease.size === 0) this.#underWay.delete(lease);
      }
    });
  }

  /** A destroy does not wait for a start that it makes pointless, and nothing for a copy of a VM that goes on. */
  #supersede({ op: kind, lease, generation }: LeaseRequest): void {
    for (const op of this.#underWay.get(lease)?.values() ?? []) {
      if (op.request.generation >= generation || op.request.op === 'remove') continue;
      if (kind === 'remove' || op.request.op === 'copy') op.breakOff(stale(op.request, generation));
    }
  }

  /** What ends a VM does not wait for the grace of one before it that has more. */
  #hasten(lease: string, graceMs: number): void {
    for (const op of this.#underWay.get(lease)?.values() ?? []) op.hasten(graceMs);
  }

  async #run(op: Operation): Promise<void> {
    const { records, vms, log, clock } = this.#parts;
    const { id, lease, op: kind, requestId } = op.request;
    // Its first sending may have been answered at its deadline and ended only now.
    const remembered = this.#remembered(op.request);
    if (remembered !== undefined) return op.answer(remembered);
    try {
      const seen = records.seen(lease);
      if (op.request.generation < seen) throw stale(op.request, seen);
      if (op.fault !== undefined) throw op.fault;
      const after = await vms.perform(op);
      this.#end(op, after, (record) => ({ id, ok: true, result: { vm: infoOf(record) }, stamps: op.stamps }));
      log.info('operation done', { lease, op: kind, id, requestId, ms: clock.now() - (op.stamps.received ?? clock.now()) });
    } catch (e) {
      const fault = op.fault ?? e;
      const error = asAgentError(fault);
      log.warn('operation failed', { lease, op: kind, id, requestId, code: error.code, why: error.message });
      this.#end(op, records.of(lease), () => failure(id, fault, op.stamps));
    }
    if (op.fault === undefined) return;
    await within(clock, SETTLE_MS, op.settled(), () => new AgentFault('DriverFailed', 'the driver does not return'))
      .catch(() => log.error('driver does not return', { lease, op: kind, id }));
  }

  #end(op: Operation, after: LeaseRecord, answer: (record: LeaseRecord) => Done): void {
    const { records, clock, log } = this.#parts;
    op.stamps.finished = clock.now();
    const done = op.answered ?? answer({ ...after, generation: Math.max(after.generation, records.seen(after.lease)) });
    try {
      records.save({ ...after, answers: remembers(op.request, done) ? [...after.answers, done] : after.answers });
    } catch (e) {
      // What was done is done and is answered so; a restarted agent finds the VM through its earlier record.
      log.error('record cannot be written', { lease: after.lease, why: String(e) });
    }
    op.answer(done);
  }

  #question(question: Question, reply: Reply): void {
    const { id } = question;
    const stamps = { received: this.#parts.clock.now() };
    reply.ack(id);
    this.#count += 1;
    const asked = within(this.#parts.clock, question.deadlineMs, this.#parts.ask(question), () =>
      new AgentFault('DeadlineExceeded', `${question.op} did not finish within ${question.deadlineMs} ms`))
      .then(
        (result) => reply.done({ id, ok: true, result, stamps: { ...stamps, finished: this.#parts.clock.now() } }),
        (e: unknown) => reply.done(failure(id, e, { ...stamps, finished: this.#parts.clock.now() })),
      )
      .finally(() => {
        this.#count -= 1;
        this.#questions.delete(asked);
      });
    this.#questions.add(asked);
  }
}

/** A remove is repeated until it succeeds, so its failure is no last word. */
function remembers(request: LeaseRequest, done: Done): boolean {
  // The file of a copied or saved disk does not outlive the agent: asked again, it is there still or is made again.
  if (request.op === 'copy' || (request.op === 'save' && done.ok)) return false;
  // A VM that has not ended in time ends a little later.
  if (request.op === 'shutdown') return done.ok;
  return done.ok || (request.op !== 'remove' && !REPEATABLE.has(done.error.code));
}

function failure(id: string, e: unknown, stamps: Done['stamps']): Done {
  return { id, ok: false, error: asAgentError(e), stamps };
}

function stale(request: LeaseRequest, seen: number): AgentFault {
  return new AgentFault('StaleGeneration', `${request.op} of ${request.lease} has generation ${request.generation}; ${seen} was seen`);
}
