/** Texts of simple types: what they mean, and which are none. */
import { describe, expect, it } from 'vitest';
import { BUILTIN, type SimpleType } from '../../src/soap/schema/model.ts';
import { NoSuchValue } from '../../src/soap/schema/no-such-value.ts';
import { readSimple, writeSimple } from '../../src/soap/schema/simple.ts';

const type = (local: string): SimpleType => {
  const found = BUILTIN.get(`{http://www.w3.org/2001/XMLSchema}${local}`);
  if (found?.kind !== 'simple') throw new Error(local);
  return found;
};
const read = (local: string, text: string): unknown => readSimple(type(local), text, () => undefined, false);
const write = (local: string, value: unknown): string => writeSimple(type(local), value, () => '');

describe('means', () => {
  it.each<[string, string, unknown]>([
    ['dateTime', '2009-01-01T00:00:00.123Z', 1_230_768_000_123],
    ['dateTime', ' 2009-01-01T00:00:00.1239999\n', 1_230_768_000_123],
    ['dateTime', '2009-01-01T02:00:00+02:00', 1_230_768_000_000],
    ['dateTime', '2008-12-31T18:30:00-05:30', 1_230_768_000_000],
    ['dateTime', '0001-01-01T00:00:00Z', -62_135_596_800_000],
    ['dateTime', '2008-02-29T00:00:00Z', 1_204_243_200_000],
    ['duration', 'PT30M', { minutes: 30 }],
    ['duration', 'P1DT2H', { days: 1, hours: 2 }],
    ['duration', '-P1Y2M', { negative: true, years: 1, months: 2 }],
    ['duration', 'PT0.5S', { seconds: 0.5 }],
    ['boolean', '1', true], ['boolean', ' false ', false],
    ['int', '+7', 7], ['int', '-0', 0], ['long', '9007199254740991', 9_007_199_254_740_991],
    ['double', '1e3', 1000], ['double', '.5', 0.5], ['double', '-INF', -Infinity], ['double', 'NaN', NaN],
    ['anyURI', ' a  b ', 'a b'], ['string', ' a  b ', ' a  b '], ['normalizedString', 'a\nb', 'a b'],
    ['base64Binary', 'aGVs\n bG8=', Buffer.from('hello')], ['hexBinary', '0aFF', Buffer.from([10, 255])],
    ['NMTOKENS', ' a\tb ', ['a', 'b']],
  ])('%s "%s"', (local, text, value) => expect(read(local, text)).toEqual(value));
});

describe('means nothing', () => {
  it.each([
    ['dateTime', '2009-02-29T00:00:00Z'], ['dateTime', '2009-13-01T00:00:00Z'], ['dateTime', '2009-01-01T24:00:00Z'], ['dateTime', '2009-01-01T00:60:00Z'],
    ['dateTime', '0000-01-01T00:00:00Z'], ['dateTime', '2009-01-01'], ['dateTime', '2009-01-01T00:00:00+15:00'], ['dateTime', '12009-01-01T00:00:00Z'], ['dateTime', ''],
    ['duration', 'P'], ['duration', 'PT'], ['duration', 'P1DT'], ['duration', '30M'], ['duration', 'P-1D'], ['duration', 'P1.5D'], ['duration', 'PT9999999999999S'], ['duration', ''],
    ['boolean', 'TRUE'], ['boolean', ''], ['int', '2147483648'], ['int', '1.0'], ['int', ''], ['short', '-32769'], ['unsignedByte', '256'], ['positiveInteger', '0'],
    ['long', '9007199254740992'], ['double', '1,5'], ['double', 'Infinity'], ['double', '0x10'], ['double', ''], ['decimal', '1e3'],
    ['base64Binary', 'a'], ['base64Binary', 'a===', ], ['base64Binary', 'ä==='], ['hexBinary', '0'], ['hexBinary', 'zz'], ['QName', 'p:x'], ['date', 'today'],
  ])('%s "%s"', (local, text) => expect(() => read(local, text)).toThrow(NoSuchValue));

  it.each<[string, unknown]>([
    ['int', 1.5], ['int', 2 ** 31], ['int', '1'], ['dateTime', NaN], ['dateTime', Date.parse('9999-12-31T23:59:59.999Z') + 1], ['dateTime', new Date(0)],
    ['duration', {}], ['duration', { minutes: -1 }], ['duration', { days: 0.5 }], ['decimal', 1e30], ['decimal', Infinity], ['boolean', 'true'], ['string', 1], ['base64Binary', 'x'], ['QName', 'a:b'], ['NMTOKENS', 'a'],
  ])('as a value of %s: %s', (local, value) => expect(() => write(local, value)).toThrow(NoSuchValue));
});

describe('is written', () => {
  it.each<[string, unknown, string]>([
    ['double', 256, '256.0'], ['double', 0.1, '0.1'], ['double', 1e21, '1E21'], ['double', 1e-7, '1E-7'], ['double', -0, '-0.0'], ['double', -Infinity, '-INF'],
    ['dateTime', 0, '1970-01-01T00:00:00.000Z'], ['duration', { seconds: 3600 }, 'PT3600S'], ['duration', { minutes: 90 }, 'PT90M'], ['duration', { negative: true, days: 1, seconds: 0.25 }, '-P1DT0.25S'],
    ['boolean', true, 'true'], ['base64Binary', Buffer.from('hello'), 'aGVsbG8='],
  ])('%s %s as %s', (local, value, text) => {
    expect(write(local, value)).toBe(text);
    expect(read(local, text)).toEqual(value);
  });
});
