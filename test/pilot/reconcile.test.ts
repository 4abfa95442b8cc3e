import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JobState, JobView } from '../../src/pilot/lrm/types.ts';
import { POLLS_TO_GO, reconcile, type JobFacts, type KnownSlot } from '../../src/pilot/reconcile.ts';
import { SLOT_STATES, slotAfter, type SlotState } from '../../src/pilot/states.ts';

const JOB_STATES: readonly JobState[] = ['queued', 'held', 'starting', 'running', 'ending', 'done', 'failed', 'cancelled', 'timeout', 'preempted', 'node-failed'];
const LIVE = SLOT_STATES.filter((s) => s !== 'Ended');
const slot = (over: Partial<KnownSlot> = {}): KnownSlot => ({
  id: 'sl-000000000001', state: 'Queued', jobId: '7', nativeState: 'PENDING', position: 1, reason: 'Resources', expectedStart: null, hosts: [],
  missingPolls: 0, submittedAt: 100, releasedAt: null, ...over,
});
const job = (over: Partial<JobView> = {}): JobView => ({
  jobId: '7', slotId: 'sl-000000000001', state: 'queued', native: 'PENDING', reason: 'Resources', position: 1, expectedStart: null, hosts: [], requeued: false, ...over,
});
const none = new Set<string>();

const anySlot = fc.record({
  state: fc.constantFrom(...LIVE), jobId: fc.option(fc.constantFrom('7', '8')), missingPolls: fc.integer({ min: 0, max: 3 }),
  submittedAt: fc.option(fc.integer({ min: 0, max: 200 })), releasedAt: fc.option(fc.integer({ min: 0, max: 200 })),
}).map((o) => slot(o));
const anyJob = fc.record({ state: fc.constantFrom(...JOB_STATES), jobId: fc.constantFrom('7', '8'), requeued: fc.boolean() }).map((o) => job(o));

describe('properties', () => {
  it('every step is one that the table of slots has', () => {
    fc.assert(fc.property(anySlot, fc.option(anyJob), fc.integer({ min: 0, max: 300 }), (s, j, askedAt) => {
      for (const { step } of reconcile([s], j === null ? [] : [j], askedAt, none).steps) expect(slotAfter(s.state, step.trigger), `${s.state} ${step.trigger}`).toBeDefined();
    }));
  });

  it('a list that says the same again changes nothing', () => {
    fc.assert(fc.property(anySlot, anyJob, (s, j) => {
      const { notes } = reconcile([s], [j], 300, none);
      const after: KnownSlot = notes[0] === undefined ? s : { ...s, ...renamed(notes[0].facts) };
      if (notes.length > 0) expect(reconcile([after], [j], 300, none).notes).toEqual([]);
    }));
  });

  it('a list that was asked for before the submission ends no slot', () => {
    fc.assert(fc.property(anySlot.filter((s) => s.state !== 'Releasing' && s.missingPolls === 0), (s) => {
      expect(reconcile([{ ...s, submittedAt: 500 }], [], 400, none).steps).toEqual([]);
    }));
  });

  it('every live slot whose job is gone ends within two lists', () => {
    fc.assert(fc.property(anySlot.filter((s) => s.state !== 'Requested'), (first) => {
      let s = first;
      for (let poll = 1; poll <= POLLS_TO_GO; poll += 1) {
        const { steps, notes } = reconcile([s], [], 1000 + poll, none);
        if (steps.length > 0) return;
        expect(poll, `${s.state} after ${poll} lists`).toBeLessThan(POLLS_TO_GO);
        s = { ...s, ...renamed(notes[0]?.facts) };
      }
    }));
  });
});

const renamed = (f: JobFacts | undefined): Partial<KnownSlot> => (f === undefined ? {} : f);

describe('several jobs under one name', () => {
  it('the slot’s own counts, and the others are strays while they live and it is listed', () => {
    const others = [job({ jobId: '9', state: 'running' }), job({ jobId: '8', state: 'cancelled' })];
    const { strays, notes, steps } = reconcile([slot({ position: 3 })], [...others, job()], 300, none);
    expect(strays).toEqual([{ slotId: 'sl-000000000001', jobId: '9' }]);
    expect(notes[0]?.facts).toMatchObject({ jobId: '7', position: 1 });
    expect(steps).toEqual([]);
    expect(reconcile([slot()], others, 300, none).strays, 'its own is not listed: nobody knows whose they are').toEqual([]);
  });

  it('that are not the slot’s own do not keep it from being lost', () => {
    const { steps } = reconcile([slot({ missingPolls: 1 })], [job({ jobId: '9', state: 'running' })], 300, none);
    expect(steps[0]?.step).toMatchObject({ trigger: 'gone', code: 'Server.BatchJobLost' });
  });

  it('the first is taken for a slot whose submission was not answered', () => {
    const { steps, strays } = reconcile([slot({ state: 'Submitting', jobId: null })], [job({ jobId: '9' }), job({ jobId: '8' })], 300, none);
    expect(steps[0]).toMatchObject({ step: { trigger: 'submitted' }, facts: { jobId: '9' } });
    expect(strays).toEqual([]);
  });
});

describe('one list', () => {
  it.each<[SlotState, JobState, string | undefined]>([
    ['Queued', 'running', 'running'], ['Submitting', 'running', 'running'], ['Submitting', 'queued', 'submitted'], ['Requested', 'queued', 'submitted'],
    ['Queued', 'queued', undefined], ['Queued', 'held', undefined], ['Queued', 'starting', undefined], ['Ready', 'running', undefined], ['Ready', 'ending', undefined],
    ['Ready', 'cancelled', 'gone'], ['Queued', 'failed', 'gone'], ['Starting', 'preempted', 'gone'], ['Releasing', 'done', 'gone'], ['Releasing', 'running', undefined],
  ])('%s and a job that is %s: %s', (state, jobState, trigger) => {
    expect(reconcile([slot({ state })], [job({ state: jobState })], 300, none).steps[0]?.step.trigger).toBe(trigger);
  });

  it('tells a job that waits for the first time from one that was put back', () => {
    expect(reconcile([slot({ state: 'Ready' })], [job({ requeued: true })], 300, none).steps[0]?.step.trigger).toBe('requeued');
    expect(reconcile([slot({ state: 'Ready' })], [job()], 300, none).steps).toEqual([]);
  });

  it('a job that ends as it should gives no reason', () => {
    expect(reconcile([slot({ state: 'Releasing', releasedAt: 1 })], [job({ state: 'cancelled' })], 300, none).steps[0]?.step).toEqual({ trigger: 'gone', code: null, reason: null });
  });

  it('a submission under way is not missed', () => {
    expect(reconcile([slot({ state: 'Submitting', jobId: null, missingPolls: 5 })], [], 300, new Set(['sl-000000000001'])).steps).toEqual([]);
  });
});
