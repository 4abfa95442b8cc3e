/** Times and durations of XML Schema. */
import type { Duration } from './codec.ts';
import { NoSuchValue, wrong } from './no-such-value.ts';

const YEAR_1 = Date.parse('0001-01-01T00:00:00Z');
const YEAR_9999 = Date.parse('9999-12-31T23:59:59.999Z');
const DATE_TIME = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,30}))?(Z|[+-]\d\d:\d\d)?$/;

/** Without a time zone it is UTC, as grid containers take it. What is finer than a millisecond is cut off. */
export function readDateTime(text: string): number {
  const m = DATE_TIME.exec(text);
  if (m === null) throw wrong(text, 'time like 2009-01-31T12:00:00Z');
  const [year, month, day, hour, minute, second] = m.slice(1, 7).map(Number) as [number, number, number, number, number, number];
  const local = new Date(0);
  local.setUTCFullYear(year, month - 1, day);
  const inMonth = year > 0 && local.getUTCMonth() === month - 1 && local.getUTCDate() === day;
  if (!inMonth || hour > 23 || minute > 59 || second > 59) throw wrong(text, 'time of the calendar');
  const ms = local.getTime() + hour * 3_600_000 + minute * 60_000 + second * 1000 + Number((m[7] ?? '').padEnd(3, '0').slice(0, 3));
  return ms - offsetMs(text, m[8]);
}

function offsetMs(text: string, zone: string | undefined): number {
  if (zone === undefined || zone === 'Z') return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(4));
  if (hours > 14 || minutes > 59 || (hours === 14 && minutes > 0)) throw wrong(text, 'time with a zone within 14 hours');
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

export function writeDateTime(ms: number): string {
  if (!(ms >= YEAR_1 && ms <= YEAR_9999)) throw new NoSuchValue(`${ms} is no time within the years 1 to 9999`);
  return new Date(ms).toISOString();
}

const DURATION = /^(-)?P(?:(\d{1,9})Y)?(?:(\d{1,9})M)?(?:(\d{1,9})D)?(?:T(?:(\d{1,12})H)?(?:(\d{1,12})M)?(?:(\d{1,12}(?:\.\d{1,9})?)S)?)?$/;
const PARTS = ['years', 'months', 'days', 'hours', 'minutes', 'seconds'] as const;

export function readDuration(text: string): Duration {
  const m = DURATION.exec(text);
  if (m === null || text.endsWith('P') || text.endsWith('T')) throw wrong(text, 'duration like PT30M');
  const found: { -readonly [K in keyof Duration]: Duration[K] } = m[1] === undefined ? {} : { negative: true };
  for (const [i, part] of PARTS.entries()) {
    const n = m[i + 2];
    if (n !== undefined) found[part] = Number(n);
  }
  return found;
}

export function writeDuration(d: Duration): string {
  const part = (n: number | undefined, unit: string): string => {
    if (n === undefined) return '';
    if (!(n >= 0) || n >= 1e12 || (unit !== 'S' && !Number.isInteger(n))) throw new NoSuchValue(`${n}${unit} is no part of a duration`);
    return `${Number.isInteger(n) ? n : n.toFixed(9).replace(/0+$/, '')}${unit}`;
  };
  const date = part(d.years, 'Y') + part(d.months, 'M') + part(d.days, 'D');
  const time = part(d.hours, 'H') + part(d.minutes, 'M') + part(d.seconds, 'S');
  if (date === '' && time === '') throw new NoSuchValue('a duration has one part at least');
  return `${d.negative === true ? '-' : ''}P${date}${time === '' ? '' : `T${time}`}`;
}
