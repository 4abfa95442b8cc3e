import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration } from '../../src/lease/duration.ts';

describe('durations', () => {
  it.each([
    ['90', 90], ['90s', 90], ['90m', 5400], ['2h', 7200], ['1d12h', 129_600], ['1w', 604_800], ['PT2H30M', 9000], ['P1D', 86_400],
    ['pt15m', 900], ['P1W', 604_800], [' 1H ', 3600],
  ])('%s is %i seconds', (text, seconds) => expect(parseDuration(text)).toBe(seconds));

  it.each(['', '0', '-5', '1.5h', 'h', 'P', 'PT', '1x', '2h nonsense', '1e9', 'PT0S', '99999999999999999999'])('%j is none', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it('reads back what it writes', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 10 ** 9 }), (s) => parseDuration(formatDuration(s)) === s));
  });

  it('answers a positive number of seconds or nothing, whatever the text', () => {
    fc.assert(fc.property(fc.string(), (text) => {
      const s = parseDuration(text);
      return s === undefined || (Number.isSafeInteger(s) && s > 0);
    }));
  });
});
