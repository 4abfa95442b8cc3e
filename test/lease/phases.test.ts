import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BORROWED_BREAKDOWN, breakdown, LEASE_PHASES, SLOT_PHASES, summary, type Moment, type Moments } from '../../src/lease/phases.ts';

const named = (m: Moments): Record<string, number> => Object.fromEntries(breakdown(m).map((r) => [r.name, r.ms]));

const OWNED: Moments = { accepted: 1000, placed: 1010, sent: 1011, received: 1015, 'propagate-begun': 1016, propagated: 1040, 'start-begun': 1041, started: 1100, finished: 1101, recorded: 1110 };
const BORROWED: Moments = {
  accepted: 1000, placed: 1010, 'submit-begun': 1020, submitted: 1090, 'job-running': 2000, 'pilot-start': 1900, 'reduce-begun': 1950, reduced: 2300, notify: 2310,
  reported: 2320, sent: 2325, received: 2330, propagated: 2340, started: 2400, recorded: 2410,
};

describe('one lease', () => {
  test('on a node of the service’s own', () => {
    expect(named(OWNED)).toEqual({ proc: 10, invoke: 5, propagate: 25, create: 60, post: 10, total: 110 });
  });

  test('on a borrowed node: the message to the agent counts from when the node was reported', () => {
    expect(named(BORROWED)).toEqual({
      proc: 10, handover: 10, torque: 880, pilot: 410, ping: 10, slot: 1300, invoke: 10, propagate: 10, create: 60, post: 10, vm: 90, total: 1410,
    });
  });

  test('at the end: a pilot that is told to go, and one whose signal came before anyone decided anything', () => {
    const end: Moments = { ...BORROWED, 'end-asked': 5000, ended: 5200, 'release-decided': 5210, 'restore-begun': 5230, restored: 5400 };
    expect(named(end)).toMatchObject({ destroy: 200, sigterm: 20, restore: 170 });
    expect(named({ ...end, sigterm: 5215 })).toMatchObject({ sigterm: 5 });
    expect(named({ ...end, sigterm: 4900 })).toMatchObject({ sigterm: 20 });
    const { 'restore-begun': _begun, ...early } = end;
    expect(named({ ...early, sigterm: 4900 })).not.toHaveProperty('sigterm');
  });
});

const MOMENTS: readonly Moment[] = [...LEASE_PHASES, ...SLOT_PHASES, 'end-asked', 'ended'];
const moments = fc.dictionary(fc.constantFrom(...MOMENTS), fc.integer({ min: 0, max: 10_000 })) as fc.Arbitrary<Moments>;

describe('any moments', () => {
  test('give no negative step, each step once, in the order of the table', () => {
    fc.assert(fc.property(moments, (m) => {
      const rows = breakdown(m);
      expect(rows.every((r) => r.ms >= 0)).toBe(true);
      const order = rows.map((r) => BORROWED_BREAKDOWN.findIndex((s) => s.name === r.name));
      expect(order).toEqual([...new Set(order)].sort((a, b) => a - b));
    }));
  });

  test('in order of time, the steps of a group fill what spans them', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 9, maxLength: 9 }), (gaps) => {
      const path: Moment[] = ['accepted', 'placed', 'submit-begun', 'pilot-start', 'notify', 'reported', 'received', 'propagated', 'started', 'recorded'];
      let at = 0;
      const m = Object.fromEntries(path.map((p, i) => [p, (at += i === 0 ? 0 : gaps[i - 1] ?? 0)])) as Moments;
      const ms = named(m) as Record<'torque' | 'pilot' | 'ping' | 'slot' | 'invoke' | 'propagate' | 'create' | 'post' | 'vm' | 'proc' | 'handover' | 'total', number>;
      expect(ms.torque + ms.pilot + ms.ping).toBe(ms.slot);
      expect(ms.invoke + ms.propagate + ms.create + ms.post).toBe(ms.vm);
      expect(ms.proc + ms.handover + ms.slot + ms.vm).toBe(ms.total);
    }));
  });
});

describe('a group', () => {
  test('mean and maximum are over its leases, the critical path is of the one that was ready last', () => {
    const quick: Moments = { ...BORROWED, 'pilot-start': 1500, notify: 2200, reported: 2210, received: 2220, propagated: 2230, started: 2300, recorded: 2310, 'restore-begun': 9000, restored: 9900 };
    const rows = Object.fromEntries(summary([BORROWED, quick]).map((r) => [r.name, r]));
    expect(rows['torque']).toMatchObject({ mean: (880 + 480) / 2, max: 880, critical: 880 });
    expect(rows['pilot']).toMatchObject({ mean: (410 + 700) / 2, max: 700, critical: 410 });
    expect(rows['restore']).toMatchObject({ mean: 900, max: 900, critical: 900 });
  });

  test('the mean lies within, the critical path is one of the leases’ own', () => {
    fc.assert(fc.property(fc.array(moments, { maxLength: 5 }), (leases) => {
      for (const row of summary(leases)) {
        const all = leases.flatMap((m) => breakdown(m).filter((r) => r.name === row.name).map((r) => r.ms));
        expect(row.max).toBe(Math.max(...all));
        expect(row.mean).toBeGreaterThanOrEqual(Math.min(...all));
        expect(row.mean).toBeLessThanOrEqual(row.max);
        if (row.critical !== null) expect(all).toContain(row.critical);
      }
    }));
  });
});
