/** Values of simple types: text to value and back. */
import type { QName } from '../names.ts';
import type { Duration } from './codec.ts';
import type { Primitive, SimpleType } from './model.ts';

/** Reads a prefixed name where the text stands. */
export type ResolveName = (text: string) => QName | undefined;
/** A prefixed name for what is being written. */
export type WriteName = (name: QName) => string;

/** The text is no value of the type; `message` says why, for a sentence after the element's name. */
export class NoSuchValue extends Error {
  override readonly name = 'NoSuchValue';
}

/** `strict` also checks lengths, ranges of restrictions and patterns, which grid containers never did. */
export function readSimple(type: SimpleType, raw: string, resolve: ResolveName, strict: boolean): unknown {
  if (type.variety === 'union') return readUnion(type, raw, resolve, strict);
  const text = whitespace(type, raw);
  if (type.variety === 'list') {
    const [item] = type.members;
    const items = text === '' ? [] : text.split(' ').map((part) => (item === undefined ? part : readSimple(item, part, resolve, strict)));
    if (strict) checkLength(type, items.length);
    return items;
  }
  const { enumeration } = type.facets;
  if (enumeration !== undefined && type.primitive !== 'QName' && !enumeration.includes(text)) throw new NoSuchValue(`${shown(text)} is not one of ${enumeration.join(', ')}`);
  const value = READERS[type.primitive](text, resolve);
  if (typeof value === 'number' && type.primitive === 'integer') checkBuiltinRange(type, value);
  if (strict) checkFacets(type, text, value);
  return value;
}

/** @throws NoSuchValue when the value is none of the type's */
export function writeSimple(type: SimpleType, value: unknown, name: WriteName): string {
  if (type.variety === 'union') return writeUnion(type, value, name);
  if (type.variety === 'list') {
    if (!Array.isArray(value)) throw new NoSuchValue('a list is an array');
    const [item] = type.members;
    return value.map((v: unknown) => (item === undefined ? String(v) : writeSimple(item, v, name))).join(' ');
  }
  const text = WRITERS[type.primitive](value, name);
  const { enumeration } = type.facets;
  if (enumeration !== undefined && type.primitive !== 'QName' && !enumeration.includes(text)) throw new NoSuchValue(`${shown(text)} is not one of ${enumeration.join(', ')}`);
  if (typeof value === 'number' && type.primitive === 'integer') checkBuiltinRange(type, value);
  return text;
}

function readUnion(type: SimpleType, raw: string, resolve: ResolveName, strict: boolean): unknown {
  for (const member of type.members) {
    try {
      return readSimple(member, raw, resolve, true);
    } catch (e) {
      if (!(e instanceof NoSuchValue)) throw e;
    }
  }
  if (strict || type.members.length === 0) throw new NoSuchValue(`${shown(raw)} is no value of its type`);
  return raw;
}

function writeUnion(type: SimpleType, value: unknown, name: WriteName): string {
  for (const member of type.members) {
    try {
      return writeSimple(member, value, name);
    } catch (e) {
      if (!(e instanceof NoSuchValue)) throw e;
    }
  }
  throw new NoSuchValue('no member of the union has this value');
}

function whitespace(type: SimpleType, text: string): string {
  if (type.variety === 'atomic' && type.primitive === 'string') return text;
  if (type.variety === 'atomic' && type.primitive === 'normalizedString') return text.replace(/[\t\n\r]/g, ' ');
  return /^[ \t\n\r]|[ \t\n\r]$|[\t\n\r]| {2}/.test(text) ? text.replace(/[ \t\n\r]+/g, ' ').replace(/^ | $/g, '') : text;
}

const wrong = (text: string, what: string): NoSuchValue => new NoSuchValue(`${shown(text)} is no ${what}`);
const shown = (text: string): string => `"${text.length > 60 ? `${text.slice(0, 60)}…` : text}"`;

const READERS: Readonly<Record<Primitive, (text: string, resolve: ResolveName) => unknown>> = {
  string: (text) => text,
  normalizedString: (text) => text,
  token: (text) => text,
  boolean: (text) => {
    if (text === 'true' || text === '1') return true;
    if (text === 'false' || text === '0') return false;
    throw wrong(text, 'boolean');
  },
  integer: (text) => {
    const value = /^[+-]?\d{1,20}$/.test(text) ? Number(text) : NaN;
    if (!Number.isSafeInteger(value)) throw wrong(text, 'integer, or too large');
    return value === 0 ? 0 : value;
  },
  decimal: (text) => {
    if (!/^[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})$/.test(text)) throw wrong(text, 'number');
    return Number(text);
  },
  float: (text) => {
    if (/^[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,4})?$/.test(text)) return Number(text);
    if (text === 'INF') return Infinity;
    if (text === '-INF') return -Infinity;
    if (text === 'NaN') return NaN;
    throw wrong(text, 'number');
  },
  dateTime: readDateTime,
  duration: readDuration,
  calendar: (text) => {
    if (!/^[0-9:.+Z-]{2,40}$/.test(text)) throw wrong(text, 'date or time');
    return text;
  },
  QName: (text, resolve) => {
    const name = resolve(text);
    if (name === undefined) throw wrong(text, 'name whose prefix is declared');
    return name;
  },
  base64Binary: (text) => {
    const packed = text.replaceAll(' ', '');
    if (packed.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(packed)) throw wrong(text, 'base64');
    return Buffer.from(packed, 'base64');
  },
  hexBinary: (text) => {
    if (text.length % 2 !== 0 || !/^[0-9A-Fa-f]*$/.test(text)) throw wrong(text, 'hexadecimal octets');
    return Buffer.from(text, 'hex');
  },
};

const ofType = <T>(kind: 'string' | 'number' | 'boolean', write: (value: T) => string) => (value: unknown): string => {
  if (typeof value !== kind) throw new NoSuchValue(`a ${kind} is expected, not ${value === null ? 'null' : typeof value}`);
  return write(value as T);
};
const octets = (encoding: 'base64' | 'hex') => (value: unknown): string => {
  if (!Buffer.isBuffer(value)) throw new NoSuchValue('octets are expected');
  return value.toString(encoding);
};
const exact = (value: string): string => value;

const WRITERS: Readonly<Record<Primitive, (value: unknown, name: WriteName) => string>> = {
  string: ofType('string', exact),
  normalizedString: ofType('string', exact),
  token: ofType('string', exact),
  boolean: ofType('boolean', String),
  integer: ofType<number>('number', (n) => {
    if (!Number.isSafeInteger(n)) throw new NoSuchValue(`${n} is no integer`);
    return String(n);
  }),
  decimal: ofType<number>('number', (n) => {
    if (!Number.isFinite(n) || /e/.test(String(n))) throw new NoSuchValue(`${n} is no decimal`);
    return String(n);
  }),
  float: ofType<number>('number', writeFloat),
  dateTime: ofType<number>('number', (ms) => {
    if (!(ms >= YEAR_1 && ms <= YEAR_9999)) throw new NoSuchValue(`${ms} is no time within the years 1 to 9999`);
    return new Date(ms).toISOString();
  }),
  duration: (value) => writeDuration(value as Duration),
  calendar: ofType('string', exact),
  QName: (value, name) => {
    if (typeof value !== 'object' || value === null) throw new NoSuchValue('a qualified name is expected');
    return name(value as QName);
  },
  base64Binary: octets('base64'),
  hexBinary: octets('hex'),
};

/** Whole numbers keep their `.0`, as grid containers write them. */
function writeFloat(n: number): string {
  if (Number.isNaN(n)) return 'NaN';
  if (!Number.isFinite(n)) return n > 0 ? 'INF' : '-INF';
  const text = Object.is(n, -0) ? '-0' : String(n);
  return /^-?\d+$/.test(text) ? `${text}.0` : text.replace('e', 'E').replace('E+', 'E');
}

const YEAR_1 = Date.parse('0001-01-01T00:00:00Z');
const YEAR_9999 = Date.parse('9999-12-31T23:59:59.999Z');
const DATE_TIME = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,30}))?(Z|[+-]\d\d:\d\d)?$/;

/** Without a time zone it is UTC, as grid containers take it. What is finer than a millisecond is cut off. */
function readDateTime(text: string): number {
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

const DURATION = /^(-)?P(?:(\d{1,9})Y)?(?:(\d{1,9})M)?(?:(\d{1,9})D)?(?:T(?:(\d{1,12})H)?(?:(\d{1,12})M)?(?:(\d{1,12}(?:\.\d{1,9})?)S)?)?$/;
const PARTS = ['years', 'months', 'days', 'hours', 'minutes', 'seconds'] as const;

function readDuration(text: string): Duration {
  const m = DURATION.exec(text);
  if (m === null || text.endsWith('P') || text.endsWith('T')) throw wrong(text, 'duration like PT30M');
  const found: { -readonly [K in keyof Duration]: Duration[K] } = m[1] === undefined ? {} : { negative: true };
  for (const [i, part] of PARTS.entries()) {
    const n = m[i + 2];
    if (n !== undefined) found[part] = Number(n);
  }
  return found;
}

function writeDuration(d: Duration): string {
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

/** Undefined when it has years or months, which have no fixed length. */
export function durationMs(d: Duration): number | undefined {
  if ((d.years ?? 0) !== 0 || (d.months ?? 0) !== 0) return undefined;
  const seconds = (d.days ?? 0) * 86_400 + (d.hours ?? 0) * 3600 + (d.minutes ?? 0) * 60 + (d.seconds ?? 0);
  return (d.negative === true ? -1000 : 1000) * seconds;
}

/** The range of `xsd:short` and the like, which is part of the type and not a restriction of it. */
function checkBuiltinRange(type: SimpleType, value: number): void {
  let builtin = type;
  while (builtin.base !== undefined) builtin = builtin.base;
  const { min, max } = builtin.facets;
  if ((min !== undefined && value < min) || (max !== undefined && value > max)) throw new NoSuchValue(`${value} is outside ${min ?? '…'} to ${max ?? '…'}`);
}

function checkFacets(type: SimpleType, text: string, value: unknown): void {
  const { pattern, min, max, minExclusive, maxExclusive } = type.facets;
  if (pattern !== undefined && !pattern.test(text)) throw new NoSuchValue(`${shown(text)} does not match ${pattern.source}`);
  checkLength(type, Buffer.isBuffer(value) ? value.length : [...text].length);
  if (typeof value !== 'number') return;
  const outside = (min !== undefined && value < min) || (max !== undefined && value > max)
    || (minExclusive !== undefined && value <= minExclusive) || (maxExclusive !== undefined && value >= maxExclusive);
  if (outside) throw new NoSuchValue(`${value} is outside the range of its type`);
}

function checkLength(type: SimpleType, length: number): void {
  const { minLength, maxLength } = type.facets;
  if ((minLength !== undefined && length < minLength) || (maxLength !== undefined && length > maxLength)) throw new NoSuchValue(`${length} is no length of its type`);
}
