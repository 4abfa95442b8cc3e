import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chargedMinutes, reservedMinutes, usedMs } from '../../src/accounting/charge.ts';

const MINUTE = 60_000;
const HOUR = 3600;

describe('charge', () => {
  test('a started minute counts', () => {
    expect(chargedMinutes([{ start: 0, stop: 1 }], 0, 60)).toBe(1);
    expect(chargedMinutes([{ start: 0, stop: MINUTE }], 0, 60)).toBe(1);
    expect(chargedMinutes([{ start: 0, stop: MINUTE + 1 }], 0, 60)).toBe(2);
  });

  test('a VM that never ran costs nothing', () => {
    expect(chargedMinutes([], 0, HOUR)).toBe(0);
    expect(chargedMinutes([{ start: 5, stop: 5 }], 5, HOUR)).toBe(0);
  });

  test('rounding is up to the granularity, once for all intervals', () => {
    const twice = [{ start: 0, stop: 10 * MINUTE }, { start: 20 * MINUTE, stop: 30 * MINUTE }];
    expect(chargedMinutes(twice, 0, 60)).toBe(20);
    expect(chargedMinutes(twice, 0, HOUR)).toBe(60);
    expect(chargedMinutes(twice, 0, 90)).toBe(20);
    expect(chargedMinutes(twice, 0, 1)).toBe(20);
  });

  test('an open interval counts until now, and a clock that went back costs nothing', () => {
    expect(chargedMinutes([{ start: 0, stop: null }], 5 * MINUTE, 60)).toBe(5);
    expect(chargedMinutes([{ start: 10, stop: null }], 0, 60)).toBe(0);
  });

  test('reserved time is counted while the lease lives', () => {
    expect(reservedMinutes(90, true, 60)).toBe(2);
    expect(reservedMinutes(90, true, HOUR)).toBe(60);
    expect(reservedMinutes(90, false, HOUR)).toBe(0);
  });

  test('overlapping intervals, a second open one and a negative one are bugs, not bills', () => {
    expect(() => usedMs([{ start: 0, stop: 10 }, { start: 9, stop: 20 }], 0)).toThrow('overlap');
    expect(() => usedMs([{ start: 0, stop: null }, { start: 9, stop: 20 }], 0)).toThrow('overlap');
    expect(() => usedMs([{ start: 5, stop: 4 }], 0)).toThrow('stops before it starts');
  });
});

describe('for all intervals that do not overlap', () => {
  const arbIntervals = fc.array(fc.tuple(fc.nat(10_000_000), fc.nat(10_000_000)), { maxLength: 8 }).map((pairs) => {
    let at = 0;
    return pairs.map(([gap, length]) => {
      const start = at + gap;
      at = start + length;
      return { start, stop: at };
    });
  });
  const arbGranularity = fc.integer({ min: 1, max: 7200 });

  test('the charge covers the time used and is less than one step more', () => {
    fc.assert(fc.property(arbIntervals, arbGranularity, (intervals, granularity) => {
      const used = intervals.reduce((sum, i) => sum + i.stop - i.start, 0) / MINUTE;
      const charged = chargedMinutes(intervals, 0, granularity);
      const step = Math.max(1, Math.ceil(granularity / 60));
      expect(charged % step).toBe(0);
      expect(charged).toBeGreaterThanOrEqual(used);
      expect(charged).toBeLessThan(used + 1 + step);
    }));
  });

  test('the order in which they are named does not matter', () => {
    fc.assert(fc.property(arbIntervals, (intervals) => {
      expect(usedMs([...intervals].reverse(), 0)).toBe(usedMs(intervals, 0));
    }));
  });
});
