/** Times as EC2 clients write them, and as EC2 answers them. Milliseconds since the epoch inside. */

const EXTENDED = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?$/;
const BASIC = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;
const HTTP_DATE = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;

/** ISO 8601, with or without zone: old boto leaves the `Z` out and means UTC. */
export function parseIso(text: string): number | undefined {
  const m = EXTENDED.exec(text) ?? BASIC.exec(text);
  if (m === null) return undefined;
  const [year, month, day, hour, minute, second] = m.slice(1, 7).map(Number) as [number, number, number, number, number, number];
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 60) return undefined;
  const at = Date.UTC(year, month - 1, day, hour, minute, second);
  return at - zoneOffset(m[7]);
}

/** The `Date` header: an HTTP date, or ISO 8601 as some clients send it. */
export function parseDateHeader(text: string): number | undefined {
  if (!HTTP_DATE.test(text)) return parseIso(text);
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : at;
}

/**
 * `2026-11-22T14:41:03.000Z`: EC2 answers whole seconds. A page of instances repeats few times many times over, and
 * formatting them was a sixth of its cost, so the last ones are kept.
 */
export function isoSeconds(ms: number): string {
  const second = Math.floor(ms / 1000);
  let text = formatted.get(second);
  if (text === undefined) {
    if (formatted.size >= MAX_FORMATTED) formatted.clear();
    formatted.set(second, text = new Date(second * 1000).toISOString());
  }
  return text;
}
const MAX_FORMATTED = 1000;
const formatted = new Map<number, string>();

/** `20261122T144103Z` */
export function isoBasic(ms: number): string {
  return isoSeconds(ms).replace(/[-:]|\.000/g, '');
}

function daysIn(year: number, month: number): number {
  return month === 2 ? (year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28) : [4, 6, 9, 11].includes(month) ? 30 : 31;
}

function zoneOffset(zone: string | undefined): number {
  if (zone === undefined || zone === 'Z') return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
  return (zone.startsWith('-') ? -minutes : minutes) * 60_000;
}
