import { beforeEach, expect, it } from 'vitest';
import type { LeasePhase } from '../../src/lease/phases.ts';
import { holdPhases, type PhaseHolder } from '../../src/manager/phases-held.ts';
import type { Report } from '../../src/manager/recorder.ts';
import { manualClock, type ManualClock } from '../control/client/manual-clock.ts';

let clock: ManualClock;
let written: string[];
let holder: PhaseHolder<Report>;
beforeEach(() => {
  clock = manualClock();
  written = [];
  holder = holdPhases<Report>(clock, (r) => {
    written.push(r.kind === 'phase' ? r.phase : r.kind);
    return Promise.resolve();
  });
});

const said = { lease: 'i-1', generation: 1, node: 'n1', at: 0, requestId: null };
const phase = (name: LeasePhase): Report => ({ ...said, kind: 'phase', phase: name });
const exit: Report = { ...said, lease: 'i-2', kind: 'vm-exited', reason: '' };

it('phases wait for what is said next, and go before it', async () => {
  const waits = [holder.report(phase('propagate-begun')), holder.report(phase('propagated'))];
  expect([written, holder.held]).toEqual([[], 2]);
  await holder.report(exit);
  expect([written, holder.held]).toEqual([['propagate-begun', 'propagated', 'vm-exited'], 0]);
  await Promise.all(waits);
  await clock.advance(10_000);
  expect(written.length).toBe(3);
});

it('phases after which nothing is said go by themselves', async () => {
  const first = holder.report(phase('propagate-begun'));
  await clock.advance(150);
  const second = holder.report(phase('propagated'));
  expect(written).toEqual([]);
  await clock.advance(50);
  await Promise.all([first, second]);
  expect(written).toEqual(['propagate-begun', 'propagated']);
});

it('many phases do not wait, nor what the service has when it ends', async () => {
  for (let i = 0; i < 100; i += 1) void holder.report(phase('propagated'));
  expect([written.length, holder.held]).toEqual([64, 36]);
  holder.letGo();
  expect([written.length, holder.held]).toEqual([100, 0]);
});

it('whoever reports hears that it could not be written', async () => {
  const away = holdPhases<Report>(clock, () => Promise.reject(new Error('no database')));
  const waits = away.report(phase('propagated'));
  const refused = expect(waits).rejects.toThrow('no database');
  await clock.advance(200);
  await refused;
});
